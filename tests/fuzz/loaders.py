"""Files of data, valid and damaged, and what must come of them.

A case is a seed. A reader returns finite arrays that fit together, exactly those that were written
if the file is whole, or raises a ValueError of one line that names the file; in seconds, and in
bounded memory.
"""

import csv
import functools
import gzip
import io
import itertools
import random
import shutil
import warnings

import numpy as np

from accel.datasets import Dataset, load_file, load_gas_ethanol

from . import mutations
from .limits import bounded

_SENSORS = (
    58539.1, 55278.9, 15716.9, 15765.2, 4163.70, 3917.64, 21013.4, 21879.8,
    60053.6, 53430.7, 18348.7, 14993.5, 5943.63, 5863.35, 24965.9, 22155.8,
)  # fmt: skip
_GAS_MEAN, _GAS_DEVIATION, _GAS_ROWS = 114.9503, 86.6206, 2565
_GAS_AWAY = _GAS_DEVIATION * (_GAS_ROWS / (_GAS_ROWS - 1)) ** 0.5  # of all rows but the first
_CELLS = (
    "", "nan", "NA", "?", "-inf", "-", "1e400", "1e-400", "0x10", "1_000", "\uff11", "1,5", '"',
    '""', '"1"', '"1', "#1", "1 2", "\x00", "é", "\u22121", "1d5", "True", "1+2j", " 3 ", "9" * 30,
    "\t1", "1e5 ", "+1", ".5", "5.", "1e", "'1'", "\xa01", "1\x0c", "1\x85",
)  # fmt: skip
_NOTHING = ("", "nan", "-nan", "na", "n/a", "#n/a", "#na", "<na>", "none", "null", "?")
_LINES = (
    "", " ", "\t", "#1,2,3", ";;;", ",,,", '"', '""', "\x0c", "\x1a", "a,b,c", "1,2\u20283", "1\r2",
    "\ufeff1,2,3", "\x00", "1" * 5000, ",".join("1" * 3000),
)  # fmt: skip


def read_or_refuse(read, path, **limits):
    """Return the result of ``read``, or None if it refuses the file as it should."""
    with warnings.catch_warnings(record=True) as noted, bounded(**limits):
        warnings.simplefilter("always")
        try:
            content = read(path)
        except ValueError as error:
            text, content = str(error), None
            assert str(path) in text, f"the path is missing: {text!r}"
            assert len(text.splitlines()) == 1, f"not one line: {text!r}"
            assert len(text) < 1000, f"too long: {text!r}"
    noted = [warning for warning in noted if warning.category is not ResourceWarning]
    assert not noted, f"a warning: {noted[0].message}"
    return content


def _check_dataset(data, expected=None):
    assert type(data) is Dataset
    X, y = data.X, data.y
    assert X.dtype == y.dtype
    assert X.dtype in (np.float32, np.float64)
    assert (X.ndim, y.ndim) in ((2, 1), (2, 2))
    assert len(X) == len(y)
    assert X.size > 0
    assert y.size > 0
    assert np.isfinite(X).all()
    assert np.isfinite(y).all()
    assert len(data.feature_names) == X.shape[1]
    if expected is not None:
        np.testing.assert_array_equal(X, expected[0])
        np.testing.assert_array_equal(y, expected[1])


def _load(path, content, expected, load=load_file):
    path.write_bytes(content)
    data = read_or_refuse(load, path)
    assert data is not None or expected is None, "a whole file is refused"
    if data is not None:
        _check_dataset(data, expected)
    return data


# Tables -----------------------------------------------------------------------------------------


def _table(rng, rows=None, columns=None):
    shape = rows or rng.randint(1, 8), columns or rng.randint(2, 6)
    values = [[rng.gauss(0, 1) * 10 ** rng.randint(-9, 9) for _ in range(shape[1])]
              for _ in range(shape[0])]  # fmt: skip
    return np.array(values)


def check_csv(seed, folder):
    """Tables of all kinds; one that is read has the numbers that Python's csv reader gives."""
    rng = random.Random(seed)
    table = _table(rng)
    if rng.random() < 0.3:
        table = np.round(table)
    delimiter, end = rng.choice(",;\t"), rng.choice(("\n", "\r\n", "\n", "\r"))
    number = rng.choice((repr, "{:.17g}".format, "{:.17e}".format, "+{!r}".format))
    quote = rng.choice(("{}", "{}", '"{}"', " {} "))
    cells = [[quote.format(number(float(abs(v)))) for v in row] for row in table]
    table = abs(table)
    header = rng.random() < 0.5
    if header:
        cells.insert(0, [rng.choice(("a", "x y", "é", '"q"', "1a")) + str(j)
                         for j in range(table.shape[1])])  # fmt: skip
    target = rng.choice((None, None, 0, -1, table.shape[1] - 1, "0"))
    whole = rng.random() < 0.25
    if not whole and rng.random() < 0.6:
        row = rng.choice(cells)
        row[rng.randrange(len(row))] = rng.choice(_CELLS)
        if rng.random() < 0.2:
            row.append("1") if rng.random() < 0.5 else row.pop()
    lines = [delimiter.join(row) for row in cells]
    for _ in range(rng.randrange(3)):
        blank = "" if whole else rng.choice(_LINES)
        lines.insert(rng.randrange(len(lines) + 1), blank)
    text = end.join(lines) + rng.choice(("", end, end + end))
    encoding = "utf-8" if whole else rng.choice(("utf-8",) * 6 + ("utf-16", "latin-1", "utf-8-sig"))
    content = text.encode(encoding, errors="replace")
    if whole and rng.random() < 0.3:
        content = b"\xef\xbb\xbf" + content
    if not whole and rng.random() < 0.4:
        content = mutations.damaged(rng, content)
    column = (-1 if target is None else int(target)) % table.shape[1]
    expected = (np.delete(table, column, axis=1), table[:, column]) if whole else None
    drop, name = rng.random() < 0.3, rng.choice(("input.csv", "input.csv", "input.csv.gz"))
    read = functools.partial(load_file, target=target, drop_missing=drop)
    packed = gzip.compress(content, 1) if name.endswith(".gz") else content
    if packed is not content and rng.random() < 0.1:
        packed, expected = mutations.damaged(rng, packed), None
        _load(folder / name, packed, expected, read)
        return
    data = _load(folder / name, packed, expected, read)
    if data is not None:
        _check_as_python_reads(content.decode("utf-8-sig"), data, target, drop)


def _number(cell, drop):
    return np.nan if drop and cell.strip().lower() in _NOTHING else float(cell.strip())


def _check_as_python_reads(text, data, target, drop):
    lines = [line for line in io.StringIO(text, newline=None) if line.strip()]
    first, *lines = itertools.dropwhile(lambda line: line.startswith("#"), lines)
    delimiter = max(",;\t", key=first.count)
    rows, header = list(csv.reader(lines, delimiter=delimiter)), []
    (cells,) = csv.reader([first], delimiter=delimiter)
    columns = {*data.feature_names, *data.target_names}
    unnamed = columns <= {"y", *(f"x{j}" for j in range(len(columns)))}
    if unnamed if drop else len(rows) < len(data.y):  # the first line is no header
        rows.insert(0, cells)
    else:
        header = [cell.strip() for cell in cells]
    table = np.array([[_number(cell, drop) for cell in row] for row in rows])
    column = -1 if target is None else header.index(target) if target in header else int(target)
    column %= table.shape[1]
    first = list(table[:, 0] - table[0, 0])
    index = header[:1] == [""] and table[0, 0] in (0, 1) and first == list(range(len(first)))
    left_out = [column, 0] if index else [column]
    used = np.delete(table, 0, axis=1) if index else table
    table = table[~np.isnan(used).any(axis=1)] if drop else table
    np.testing.assert_array_equal(data.X, np.delete(table, left_out, axis=1))
    np.testing.assert_array_equal(data.y, table[:, column])


# Arrays -----------------------------------------------------------------------------------------

_SOUND = ("<f8", "<f4", ">f8", "<i4", "|u1", "|b1", "<f2", "<u8")
_FOREIGN = ("<c16", "|S3", "<U4", "<M8[s]", "<m8[s]", "|O", "f8,f8", "|V8", "g")


def _array(rng, shape, dtype):
    values = np.array([rng.gauss(0, 1) * 50 for _ in range(int(np.prod(shape)))]).reshape(shape)
    if dtype not in _SOUND:
        array = np.zeros(shape, dtype)
        if dtype == "|O":
            array[...] = 1.5
        return array
    with np.errstate(all="ignore"):
        array = (abs(values) if dtype[1] == "u" else values).astype(dtype)
    return np.asfortranarray(array) if rng.random() < 0.3 else array


def _one_type(X, y):
    dtype = np.float32 if X.dtype == y.dtype == np.float32 else np.float64
    return X.astype(dtype), y.astype(dtype)


def check_npy(seed, folder):
    """One array, of any dtype, order and header."""
    rng = random.Random(seed)
    whole = rng.random() < 0.2
    dtype = rng.choice(_SOUND if whole or rng.random() < 0.8 else _FOREIGN)
    shape = (rng.randint(1, 6), rng.randint(2, 5))
    if not whole and rng.random() < 0.2:
        shape = rng.choice(((), (3,), (0, 3), (3, 0), (3, 1), (2, 2, 2)))
    table = _array(rng, shape, dtype)
    version = rng.choice((None, (1, 0), (2, 0), (3, 0)))
    content, expected = mutations.npy(table, version=version), None
    if whole:
        expected = _one_type(table[:, :-1], table[:, -1])
    else:
        harm = rng.choice((mutations.damaged, mutations.header_damaged, mutations.header_damaged))
        content = harm(rng, content)
        if rng.random() < 0.05:
            content = rng.choice((mutations.zipped(rng, [("X.npy", content)]), b""))
    _load(folder / "input.npy", content, expected)


def check_npz(seed, folder):
    """X and y in a zip, the arrays or the zip damaged."""
    rng = random.Random(seed)
    whole = rng.random() < 0.2
    n, d, k = rng.randint(1, 6), rng.randint(1, 5), rng.randint(1, 3)
    X = _array(rng, (n, d), rng.choice(_SOUND if whole or rng.random() < 0.9 else _FOREIGN))
    shape = (n,) if rng.random() < 0.5 else (n, k)
    y = _array(rng, shape, rng.choice(_SOUND if whole or rng.random() < 0.9 else _FOREIGN))
    files = [("X.npy", mutations.npy(X)), ("y.npy", mutations.npy(y)), ("z.npy", b"hello")]
    content = mutations.zipped(rng, files[: rng.choice((2, 2, 3))])
    if not whole:
        content = mutations.archive_damaged(rng, content)
    _load(folder / "input.npz", content, _one_type(X, y) if whole else None)


# The archive of UCI -----------------------------------------------------------------------------


@functools.cache
def _gas_lines():
    """As many lines as the archive has of ethanol, with its means; most features are absent."""
    pairs = " ".join(f"{8 * j + 1}:{mean}" for j, mean in enumerate(_SENSORS))
    rows = []
    for i in range(_GAS_ROWS):
        away = _GAS_AWAY * (-1) ** i if i else 0
        rows.append(f"1;{_GAS_MEAN + away:.6f} {pairs}")
    return rows


_PAIRS = (
    "1:", ":1", "1:1:1", "129:1", "0:1", "-1:1", "1.5:1", "1:nan", "1:1e999", "3:1 2:1", "2:1 2:1",
    "\x00", "1:1_0", "x:1", "1;1", "1:0x1", "1" * 400 + ":1", "\u0661:1", "1:1\r2:2",
)  # fmt: skip


def check_uci(seed, folder):
    """The zip or its folder; whole ones have the means that were published."""
    rng = random.Random(seed)
    full = rng.random() < 0.15
    whole = full and rng.random() < 0.5
    lines = list(_gas_lines() if full else _gas_lines()[: rng.randint(1, 12)])
    for _ in range(0 if whole else rng.randint(0, 2)):
        at = rng.randrange(len(lines))
        words = lines[at].split(" ")
        words[rng.randrange(len(words))] = rng.choice(_PAIRS)
        lines[at] = rng.choice((" ", " ", "  ", "\t")).join(words)
    for _ in range(rng.randint(0, 3)):  # other gases
        lines.insert(rng.randrange(len(lines) + 1), f"{rng.randint(2, 6)};1.0 1:2.5")
    end, parts = rng.choice(("\n", "\r\n", " \n")), rng.randint(1, 3)
    texts = [end.join(part).encode() for part in (lines[j::parts] for j in range(parts))]
    if not whole:
        texts = [mutations.damaged(rng, t) if t and rng.random() < 0.3 else t for t in texts]
    name = "{}batch{}.dat".format
    files = [(name("Dataset/", number), text) for number, text in enumerate(texts, 1)]
    if not whole and rng.random() < 0.2:
        files.append(
            (name("", rng.choice(("", "٣", "99999999999999999999", "01", "-1"))), texts[0])
        )
    if rng.random() < 0.25:
        place = folder / "input"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for file, text in files:
            (place / file.rpartition("/")[2]).write_bytes(text)
    else:
        place = folder / "input.zip"
        content = mutations.zipped(rng, files)
        if not whole and rng.random() < 0.7:
            content = mutations.archive_damaged(rng, content)
        place.write_bytes(content)
    data = read_or_refuse(load_gas_ethanol, place)
    assert data is not None or not whole, "a whole archive is refused"
    if data is not None:
        _check_dataset(data)
        assert (data.X.shape, data.y.shape) == ((_GAS_ROWS, 128), (_GAS_ROWS,))
