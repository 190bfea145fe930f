"""Checks of arguments: a bad one raises an error of one line with its name and its value."""

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NoReturn

import numpy as np

from accel._support import arrays, frames
from accel._support.arrays import Array

#: The largest number of factors of a network, and the largest depth of an end-to-end rule.
MOST_DEPTH = 10_000

#: The most characters of a value that a message shows.
SHOWN = 80

_MANY, _LONG = 30, 1000  # how many names a message lists, and how many characters of them


def cut(text: str) -> str:
    """Return as much of a text as a message shows of a value."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def shown(value: object) -> str:
    """``repr(value)`` on one line, of at most 80 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # for example of an integer of more than 4300 digits
        text = f"a {type(value).__name__} that cannot be shown"
    return cut(text)


def real(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """A finite real number with ``least <= value``, ``above < value < below``.

    Raises
    ------
    TypeError
        If it is not a real number; a bool is not.
    ValueError
        If it is not finite or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    bounds = [f">= {least:g}"] if least is not None else []
    bounds += [f"> {above:g}"] if above is not None else []
    bounds += [f"< {below:g}"] if below is not None else []
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if (
        not math.isfinite(number)
        or (least is not None and number < least)
        or (above is not None and number <= above)
        or (below is not None and number >= below)
    ):
        raise ValueError(f"{name} must be {' and '.join(['finite', *bounds])}, got {shown(value)}")
    return number


def integer(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """An integer with ``least <= value <= most``.

    Raises
    ------
    TypeError
        If it is not an integer; a bool is not, nor is 1e6.
    ValueError
        If it is out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    number = int(value)
    if number < least or (most is not None and number > most):
        upper = "" if most is None else f" and <= {most}"
        raise ValueError(f"{name} must be >= {least}{upper}, got {shown(value)}")
    return number


def count(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """A number of steps: an integer, or a float without a fraction, such as 1e6.

    Raises
    ------
    TypeError, ValueError
        As ``integer``.
    """
    if isinstance(value, float | np.floating) and value.is_integer():
        value = int(value)
    return integer(name, value, least=least, most=most)


def depth(value: object, *, least: int = 1) -> int:
    """A number of factors, limited so that a slip does not ask for years or terabytes.

    Raises
    ------
    TypeError, ValueError
        As ``integer``.
    """
    return integer("depth", value, least=least, most=MOST_DEPTH)


def members(name: str, value: Any, of: str = "", most: int = 1_000_000) -> list[Any]:
    """The items of an iterable, which may be infinite.

    Raises
    ------
    TypeError
        If it is not iterable; ``of`` says what its items should be.
    ValueError
        If it yields nothing, or more than ``most``.
    """
    try:
        listed = list(islice(value, most + 1))
    except TypeError:
        wanted = f" of {of}" if of else ""
        raise TypeError(f"{name} must be a sequence{wanted}, got {shown(value)}") from None
    if not listed:
        raise ValueError(f"{name} must not be empty")
    if len(listed) > most:
        raise ValueError(f"{name} must hold at most {most}, got more")
    return listed


def choice(name: str, value: object, options: Iterable[str]) -> str:
    """One of the names in ``options``.

    Raises
    ------
    TypeError
        If it is not a string.
    ValueError
        If it is not one of them; the message lists them and suggests a similar one.
    """
    known = list(options)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(known)}, got {shown(value)}")
    if value not in known:
        unknown(name, value, known)
    return value


def listed(names: Iterable[str]) -> str:
    """Names with commas between; only the first ones of many.

    Names that come from a file may be any text, and are escaped where they are not printable.
    """
    many = [name if name.isprintable() else repr(name) for name in names]
    text = ", ".join(many[:_MANY])
    text = text if len(text) <= _LONG else f"{text[:_LONG]}..."
    return text if len(many) <= _MANY else f"{text} and {len(many) - _MANY} more"


def suggestion(value: str, known: Sequence[str]) -> str:
    """The end of a message that suggests the known name most like a misspelt one, or nothing."""
    close = difflib.get_close_matches(value.lower()[:_LONG], known[:_LONG], n=1)
    return f"; did you mean {shown(close[0])}?" if close else ""


def unknown(name: str, value: str, known: list[str]) -> NoReturn:
    """Raise ValueError for a name that is not among the known ones."""
    raise ValueError(
        f"{name} must be one of {listed(known)}, got {shown(value)}{suggestion(value, known)}"
    )


def flag(name: str, value: object) -> bool:
    """True or False.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def float_dtype(name: str, value: object) -> np.dtype[Any]:
    """``float32`` or ``float64`` as a dtype of this machine's byte order.

    Raises
    ------
    TypeError
        If it is another dtype, or not a dtype.
    """
    try:
        dtype = None if value is None else np.dtype(value)  # type: ignore[call-overload]
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise TypeError(f"{name} must be float32 or float64, got {shown(value)}")
    return np.dtype(f"f{dtype.itemsize}")


def _array(name: str, value: object, device: bool) -> Any:
    """A NumPy array, or with ``device`` a CuPy array, of what is no data frame."""
    try:
        on_device = arrays.on_device(value)
    except Exception as error:  # the library that the array belongs to may raise anything
        raise ValueError(f"{name} cannot be read: {' '.join(str(error).split())}") from error
    try:
        if on_device:
            array = arrays.as_device(name, value)
            return array if device else arrays.to_host(array)
        try:
            return arrays.as_host(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must be a rectangular array, got {shown(value)}") from error
    except (BufferError, RuntimeError) as error:  # from the library that the array belongs to
        raise ValueError(f"{name} cannot be read: {' '.join(str(error).split())}") from error


def numeric(name: str, value: object, *, ndim: tuple[int, ...], device: bool = False) -> Array:
    """An array of real numbers that is not empty, its number of dimensions being one of ``ndim``.

    The values are not read, and an array is not copied. One on a GPU becomes a CuPy array if
    ``device`` is true, else it is copied to the host. The columns of a data frame must hold numbers
    or truth values, without missing ones.

    Raises
    ------
    TypeError
        If the entries are not real numbers but objects, strings, dates or complex numbers.
    ValueError
        If it is ragged, masked, empty or of another dimension, has missing values, or cannot be
        shared.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} must not have masked entries, got {shown(value)}")
    is_frame = frames.is_frame(value)
    array: Array = frames.as_array(name, value) if is_frame else _array(name, value, device)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype} in {shown(value)}")
    if array.ndim not in ndim:
        wanted = " or ".join(str(n) for n in ndim)
        raise ValueError(f"{name} must have {wanted} dimensions, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array


def all_finite(name: str, array: Array, original: Array | None = None) -> None:
    """Check that no entry is NaN or infinite.

    Parameters
    ----------
    name : str
    array : array of floats
    original : array, optional
        What the array was converted from: the message shows the value as it was passed.

    Raises
    ------
    ValueError
        Naming the first such entry.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(array.sum())
    if math.isfinite(total):  # a sum keeps NaN and inf, and needs no mask as large as the array
        return
    bad = (~np.isfinite(array)).nonzero()
    if len(bad[0]):
        where = tuple(int(i[0]) for i in bad)
        value = (array if original is None else original)[where].item()
        place = ", ".join(map(str, where))
        raise ValueError(f"{name} must be finite in {array.dtype}, got {name}[{place}] = {value}")


def unrounded(
    name: str, array: Array, dtype: np.dtype[Any], given: object, advice: str, first: int = 0
) -> None:
    """Check that every integer has its exact value in ``dtype``.

    Parameters
    ----------
    name : str
    array : array of real numbers
        On the host or on a GPU.
    dtype : dtype
        float32 or float64.
    given : object
        What the array was made of. NumPy makes floats of integers that are beside fractions, and
        may round them.
    advice : str
        What to do about it: the end of the message.
    first : int
        The row number, for the message, of the first row of the array.

    Raises
    ------
    TypeError
        Naming the first integer that would be rounded.
    """
    rounded = _first_rounded(array, 2 ** (np.finfo(dtype).nmant + 1))
    if rounded is None:
        rounded = _first_rounded_before(array, given)
    if rounded is not None:
        (row, *column), value = rounded
        place = ", ".join(map(str, (first + row, *column)))
        raise TypeError(
            f"{name} must not hold integers that {dtype} would round, got {name}[{place}] = "
            f"{value}: {advice}"
        )


def _first_rounded(array: Array, most: int) -> tuple[list[int], int] | None:
    """The place and value of the first integer that a float dtype would round; None if none is.

    All integers up to ``most``, a power of two, are exact in that dtype. A larger one is if it has
    no more binary digits, trailing zeros apart.
    """
    if array.dtype.kind not in "iu" or np.iinfo(array.dtype).max <= most:
        return None
    signed = array.dtype.kind == "i"
    if int(array.max()) <= most and (not signed or int(array.min()) >= -most):
        return None
    beyond = array > most
    if signed:
        beyond = beyond | (array < -most)
    values = arrays.to_host(array[beyond])
    sizes = values.astype(np.uint64)  # for negative values 2**64 less the size
    sizes = np.where(values < 0, ~sizes + np.uint64(1), sizes)
    odd = sizes // (sizes & (~sizes + np.uint64(1)))
    bad = np.flatnonzero(odd >= most)
    if not len(bad):
        return None
    place = [int(arrays.to_host(i)[bad[0]]) for i in beyond.nonzero()]
    return place, int(values[bad[0]])


def _first_rounded_before(array: Array, given: Any) -> tuple[list[int], int] | None:
    """Like ``_first_rounded``, for integers that were rounded when ``given`` became the array."""
    if array.dtype.kind != "f" or isinstance(given, np.ndarray) or hasattr(given, "__dlpack__"):
        return None
    most = 2 ** (np.finfo(array.dtype).nmant + 1)
    if arrays.on_device(array) or not max(array.max(), -array.min()) >= most:  # or NaN
        return None
    if hasattr(given, "dtypes"):  # a data frame, every column of which has a dtype of its own
        polars = hasattr(given, "get_columns")
        columns = given.get_columns() if polars else [column for _, column in given.items()]
        for j, column in enumerate(columns):
            part = np.asarray(column, dtype=getattr(column.dtype, "numpy_dtype", None))
            rounded = _first_rounded(part, most)
            if rounded is not None:
                (row,), value = rounded
                return [row, j], value
        return None
    whole = np.asarray(given, dtype=object)
    if whole.shape == array.shape:
        for place, value in np.ndenumerate(whole):
            if isinstance(value, numbers.Integral) and int(value) != int(array[place]):
                return list(place), int(value)
    return None
