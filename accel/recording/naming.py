"""From what ``record=`` is given to quantities: names, names with constants, values, functions."""

import ast
import re
from dataclasses import fields
from typing import Any

from accel._support import validation
from accel.recording.layers import Alignment, Balancedness, StepSize
from accel.recording.others import Function, LossOn, Snapshots
from accel.recording.quantity import Model, Quantity
from accel.recording.sharpness import EndToEndSharpness, Sharpness
from accel.recording.spectra import (
    EffectiveRank,
    NuclearNorm,
    Schatten,
    SingularValues,
    StableRank,
)

__all__ = ["HISTORY", "NAMES", "by_name", "check_quantities", "names_in", "quantities"]

#: The quantities that have a name: those that need nothing but numbers.
NAMES: dict[str, type[Quantity]] = {
    "singular_values": SingularValues,
    "effective_rank": EffectiveRank,
    "stable_rank": StableRank,
    "nuclear_norm": NuclearNorm,
    "schatten": Schatten,
    "balancedness": Balancedness,
    "alignment": Alignment,
    "step_size": StepSize,
    "sharpness": Sharpness,
    "end_to_end_sharpness": EndToEndSharpness,
    "snapshots": Snapshots,
}
#: What every history has, whatever ``record`` asks for.
HISTORY = ("step", "loss", "gradient_norm", "weight_norm", "seconds")
#: What has a name only in the history.
_VALUES = {
    "validation_loss": "accel.recording.LossOn(problem), or give validation=problem",
    "distance": "accel.recording.DistanceTo(W)",
}
_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*(\(.*\))?\s*", re.DOTALL)


def by_name(text: str) -> Quantity:
    """Make a quantity from its name, with constants in parentheses if there are any.

    Parameters
    ----------
    text : str
        As ``"sharpness"``, ``"schatten(0.5)"``, ``"singular_values(5, factors=True)"``.

    Returns
    -------
    Quantity

    Raises
    ------
    TypeError, ValueError
        If there is no such quantity, or its constants are wrong.

    Examples
    --------
    >>> import accel
    >>> accel.recording.by_name("schatten(0.5)")
    Schatten(q=0.5)
    """
    match = _CALL.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(
            f"record must hold names, as sharpness or schatten(0.5), got {validation.shown(text)}"
        )
    name, constants = match.groups()
    if name in _VALUES:
        raise ValueError(f"record must hold {_VALUES[name]}, since {name} needs more than numbers")
    if name not in NAMES:
        validation.unknown("record", name, list(NAMES))
    kind = NAMES[name]
    try:
        call = ast.parse(f"f{constants or '()'}", mode="eval").body
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "f":
            raise ValueError
        given = [ast.literal_eval(value) for value in call.args]
        named = {str(part.arg): ast.literal_eval(part.value) for part in call.keywords}
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(
            f"record must hold names with numbers in parentheses, as schatten(0.5), "
            f"got {validation.shown(text)}"
        ) from None
    try:
        return kind(*given, **named)
    except TypeError as error:
        if not re.search(r"__init__\(\)", str(error)):
            raise
        taken = ", ".join(part.name for part in fields(kind)) or "nothing"
        raise TypeError(f"{name} takes {taken}, got {validation.shown(text)}") from None


def names_in(text: str) -> list[str]:
    """Split a text at the commas that are outside of parentheses, as the command line has it."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def quantities(record: Any, validation_problem: Any = None) -> tuple[Quantity, ...]:
    """Check ``record`` and ``validation`` as ``train`` takes them, and make quantities of them.

    Raises
    ------
    TypeError, ValueError
        If one is none, or two would have the same name.
    """
    if record is None:
        record = []
    if isinstance(record, str | Quantity) or callable(record):
        record = [record]
    if not (isinstance(record, list | tuple) and not record):
        record = validation.members("record", record, "names, quantities or functions")
    made: list[Quantity] = []
    for given in record:
        if isinstance(given, str):
            made.append(by_name(given))
        elif isinstance(given, Quantity):
            made.append(given)
        elif callable(given) and not isinstance(given, type):
            made.append(Function(given))
        else:
            raise TypeError(
                "record must hold names, quantities or functions f(step, network), "
                f"got {validation.shown(given)}"
            )
    if validation_problem is not None:
        made.append(LossOn(validation_problem))
    names = [quantity.name for quantity in made]
    for name in names:
        if names.count(name) > 1:
            raise _twice(name)
    return tuple(made)


def _twice(name: str) -> ValueError:
    return ValueError(
        f"record must name everything once, got {validation.shown(name)} twice: "
        "accel.recording.Function(f, label) names a function"
    )


def check_quantities(chosen: tuple[Quantity, ...], model: Model) -> None:
    """Raise if a quantity is not to be had of a model, or has a name that the history has."""
    taken: set[str] = set()
    for quantity in chosen:
        quantity.check(model)
        for name in quantity.outputs(model) or [quantity.name]:
            if name in HISTORY:
                raise ValueError(f"record must not name {name}, which every history has")
            if name in taken:
                raise _twice(name)
            taken.add(name)
