"""What the first lines of a text table say about the others: its delimiter, names, and width.

Training and prediction read their tables by it, so that a file means the same to both.
"""

import contextlib
import csv
import itertools
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from accel._files import npy, paths, texts
from accel._support import validation
from accel.datasets import columns

__all__ = [
    "COMMA", "DAMAGED", "MISSING", "TRUTH", "Empty", "Fault", "Layout", "is_word", "layout_of",
    "number_in", "uneven",
]  # fmt: skip

_log = logging.getLogger("accel")

#: What reading a text raises if it is damaged or something else.
DAMAGED = (*npy.DAMAGED, csv.Error)

#: What stands for a missing value, in small letters: all that pandas takes for one, and UCI's "?".
MISSING = frozenset(
    ["", "?", "na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "none", "null",
     "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"]
)  # fmt: skip
#: The numbers that truth values are, in small letters.
TRUTH = {"true": "1", "false": "0"}
#: A number with a decimal comma, or thousands with one.
COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
# A quote opens a cell at its beginning only; elsewhere it is a letter, as an inch in size 5".
_QUOTED = re.compile(r'(?<![^,;\t\n])"[^"]*(?:""[^"]*)*"')
_OPENING = re.compile(r'(?<![^,;\t\n])"')
_OPEN = "the first line opens a quote that it does not close"
_LINES = 100  # of a header
_END = "\u2403 end of the lines"  # a line of one cell; within another cell, a quote is open


class Fault(ValueError):
    """What is wrong with a table, in words."""


class Empty(Fault):
    """A table has no rows."""


def _records(lines: Iterator[str], delimiter: str, line: int) -> Iterator[tuple[int, list[str]]]:
    """Rows of cells, each after the number of its first line, where that of the first is given.

    ``csv`` takes a quote that is never closed for the rest of the file, and says so only in its
    strict mode, which refuses other things as well.

    Raises
    ------
    Fault
        If a quote is not closed.
    """
    reader = csv.reader(itertools.chain(lines, [_END]), delimiter=delimiter)
    before = line - 1
    for cells in reader:
        if cells == [_END]:
            return
        if cells and cells[-1].endswith(_END):
            raise Fault(f"line {line} opens a quote that is not closed")
        yield line, cells
        line = before + reader.line_num + 1


class Layout(NamedTuple):
    """What the first lines of a table say about the others."""

    path: Path
    delimiter: str
    header: list[str] | None
    skipped: int  # the number of lines before the first row of numbers
    width: int  # the number of columns
    doubtful: bool  # whether the header has numbers and text where the row below has them, too

    def records(
        self, lines: Iterator[str], wanted: Sequence[int]
    ) -> Iterator[tuple[int, list[str]]]:
        """The rows of these lines as text, each after the number of the line in which it begins.

        Parameters
        ----------
        lines : iterator of str
            From the first row on.
        wanted : sequence of int
            The columns that hold numbers.

        Raises
        ------
        Fault
            If a quote is not closed, or swallows rows. Other cells that have line ends in them are
            logged.
        """
        long = 0
        for line, cells in _records(lines, self.delimiter, self.skipped + 1):
            if any("\n" in cell for cell in cells):
                parts = [part for cell in cells for part in cell.split("\n")[1:] if part.strip()]
                if any(self._is_row(part, wanted) for part in parts):
                    raise Fault(f"line {line} has a quote with whole rows in it: is it closed?")
                long = long or (line if parts else 0)
            if cells:
                yield line, cells
        if long:
            _log.warning(
                "%s: line %d has a cell in quotes that goes on in the next line; if it should not, "
                "a quote is not closed",
                paths.text(self.path),
                long,
            )

    def _is_row(self, line: str, wanted: Sequence[int]) -> bool:
        """Whether a line of a cell looks like a row of its own."""
        cells = line.split(self.delimiter)
        numbers = [cells[j].strip() for j in wanted] if len(cells) == self.width else []
        return any(map(_is_number, numbers)) and not any(map(is_word, numbers))

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows as text, each after the number of the line in which it begins."""
        with texts.opened(self.path, newline="") as stream:
            lines = itertools.islice(stream, self.skipped, None)
            for line, cells in _records(lines, self.delimiter, self.skipped + 1):
                if cells:
                    yield line, cells

    def column(self, j: int) -> str:
        """A column for a message: its name, or its number if it has no name of its own."""
        name = self.header[j] if self.header and j < len(self.header) else ""
        alone = name and self.header and self.header.count(name) == 1
        return f"column {validation.shown(name)}" if alone else f"column {j + 1}"

    def cell(self, row: int, j: int) -> str:
        """Where the file has the number in this row and column of the table, both from 0."""
        with contextlib.suppress(*DAMAGED):  # csv raises on numbers of very many digits
            line, _ = next(itertools.islice(self.rows(), row, None))
            return f"line {line}, {self.column(j)}"
        return f"row {row + 1} of numbers, {self.column(j)}"

    def kept(
        self,
        lines: Iterator[str],
        wanted: Sequence[int],
        drop: bool,
        truths: Collection[int] = (),
    ) -> Iterator[str]:
        """The lines again, with these columns only, those of truth values as numbers.

        If rows are to be dropped, with NaN for what lacks.
        """
        for _, cells in self.records(lines, wanted):
            if len(cells) != self.width:
                raise Fault(self.unlike(cells))
            some = [cells[j].strip() for j in wanted]
            if truths:
                some = [
                    TRUTH.get(cell.lower(), cell) if j in truths else cell
                    for j, cell in zip(wanted, some, strict=True)
                ]
            if drop:
                some = ["nan" if cell.lower() in MISSING else cell for cell in some]
            yield self.delimiter.join(some)

    def unlike(self, cells: list[str]) -> str:
        """Say that a row has not as many cells as the header, or the first row."""
        first = "the header has" if self.header else "the first row has"
        return f"{first} {self.width} columns, the rows have {len(cells)}"


def uneven(line: int, cells: list[str], width: int) -> str:
    """Say that a row has not as many cells as those before it, which have ``width``."""
    if cells[0].lstrip().startswith("#"):
        return f"line {line} begins with #: comments may stand before the table only"
    return f"line {line} has {len(cells)} columns, the rows before it have {width}"


def number_in(cell: str) -> float | None:
    """The number in a cell of a row as NumPy reads it: Python's, in ASCII, without underscores."""
    if "_" in cell or not cell.isascii():
        return None
    with contextlib.suppress(ValueError):
        return float(cell)
    return None


def _is_number(cell: str) -> bool:
    """Whether Python reads a cell as a number."""
    with contextlib.suppress(ValueError):
        float(cell)
        return True
    return False


def is_word(cell: str) -> bool:
    """Whether a cell is neither a number nor the mark of a missing one."""
    number = _is_number(cell) or COMMA.fullmatch(cell)
    return not number and cell.lower() not in MISSING


def _is_known(cell: str) -> bool:
    """Whether a cell is a number that is not missing."""
    return cell.lower() not in MISSING and _is_number(cell)


def _cells(lines: Sequence[str], delimiter: str) -> tuple[list[str], int]:
    """The cells of the first row, and of how many lines it is.

    Spaces and line ends become one space. No lines are said if a quote is not closed.
    """
    reader = csv.reader([*lines, _END], delimiter=delimiter)
    cells = next(reader, [])
    if reader.line_num > len(lines):
        return [], 0
    return [" ".join(cell.split()) for cell in cells], reader.line_num


def _delimiter(path: Path, first: str) -> str:
    """What separates the cells: the most frequent of three outside quotes."""
    bare = _QUOTED.sub("q", first)
    if "\t" in bare and ".tsv" in [suffix.lower() for suffix in path.suffixes[-2:]]:
        return "\t"
    parts = bare.strip().split(";")
    if len(parts) > 1 and all(COMMA.fullmatch(part.strip()) for part in parts):
        return ";"
    return max(",;\t", key=bare.count)


class _First(NamedTuple):
    """The first row of a file, and what stands above it."""

    comment: str  # the last line above it that begins with #
    skipped: int  # the number of lines above it
    delimiter: str
    cells: list[str]
    used: int  # the number of its lines
    ahead: list[str]  # the lines that were taken, its own first


def _first_row(path: Path, lines: Iterator[str]) -> _First:
    skipped, ahead, comment = 0, list[str](), ""
    for line in lines:
        if not ahead and (not line.strip() or line.startswith("#")):
            comment, skipped = line.strip() or comment, skipped + 1
            continue
        ahead.append(line)  # more than one if a name in quotes has a line end in it
        if len(ahead) == _LINES or not _OPENING.search(_QUOTED.sub("q", "".join(ahead))):
            break
    delimiter = _delimiter(path, "".join(ahead))
    cells, used = _cells(ahead, delimiter)
    if ahead and not used:
        raise ValueError(_OPEN)
    return _First(comment, skipped, delimiter, cells, used, ahead)


def layout_of(
    path: Path, lines: Iterator[str], model: Sequence[str] = ()
) -> tuple[Layout, Iterator[str]]:
    """Read the header, if there is one.

    Parameters
    ----------
    path : Path
        For the messages.
    lines : iterator of str
        Of the whole file.
    model : sequence of str
        The names of a model's features: a first line that has them all is a header.

    Returns
    -------
    layout : Layout
    rows : iterator of str
        The lines from the first row of numbers on.

    Raises
    ------
    Empty
        If there are no rows.
    ValueError
        If a quote is not closed.
    """
    comment, skipped, delimiter, cells, used, ahead = _first_row(path, lines)
    counted = [str(j) for j in range(len(cells))]
    above, _ = _cells([comment.lstrip("# ")], delimiter)
    words, header, doubtful = any(map(is_word, cells)), None, False
    named = bool(model) and set(model) <= set(columns.unique(cells))
    if words or named or ["", *counted[:-1]] == cells != [""]:
        header, skipped = cells, skipped + used
        ahead = _until_row(itertools.chain(ahead[used:], lines))
        if words and not named and any(map(_is_known, cells)):
            doubtful = _alike(cells, _cells(ahead[-1:], delimiter)[0])
            _log.warning(
                "%s: line %d, where some cells are numbers, is taken for the header",
                paths.text(path),
                skipped,
            )
    elif used > 1:
        raise ValueError(_OPEN)
    elif len(above) == len(cells) > 1 and any(map(is_word, above)) and any(map(_is_number, cells)):
        header = above  # a comment in front of the numbers, as NumPy writes the names
    if not any(line.strip() for line in ahead):
        raise Empty("it has no rows of numbers")
    if header is None and cells == counted and len(cells) > 2:
        _log.warning(
            "%s: line %d, which counts the columns, is taken for numbers; a header must have a "
            "cell that is no number",
            paths.text(path),
            skipped + 1,
        )
    layout = Layout(path, delimiter, header, skipped, len(header or cells), doubtful)
    return layout, itertools.chain(ahead, lines)


def _alike(cells: Sequence[str], below: Sequence[str]) -> bool:
    """Whether a row has text wherever the row above it has."""
    pairs = zip(cells, below, strict=False)
    return len(cells) == len(below) and all(is_word(b) for a, b in pairs if is_word(a))


def _until_row(lines: Iterator[str]) -> list[str]:
    """The next lines up to the first that is not blank, or up to the end."""
    ahead = []
    for line in lines:
        ahead.append(line)
        if line.strip():
            break
    return ahead
