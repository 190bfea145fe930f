"""Reader of tables that are text, .csv and .tsv, plain or compressed; says where a fault is."""

import contextlib
import csv
import io
import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from accel._files import npy, paths, texts
from accel._files.paths import unreadable
from accel._support import validation
from accel._support.arrays import Array
from accel.datasets import columns
from accel.datasets.columns import Columns, Wanted

__all__ = ["read_table"]

_log = logging.getLogger("accel")

_DAMAGED = (*npy.DAMAGED, csv.Error)

#: What stands for a missing value, in small letters: those of pandas, R, Excel and UCI.
_MISSING = frozenset(
    ["", "?", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "none", "null"]
)  # fmt: skip
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d\d")
_QUOTED = re.compile(r'"[^"]*"')
_OPEN = "the first line opens a quote that it does not close"
_LINES = 100  # of a header
_TOLD = 5  # columns that a message lists


class _Fault(ValueError):
    """What is wrong with a table, in words."""


class _Layout(NamedTuple):
    """What the first lines of a table say about the others."""

    path: Path
    delimiter: str
    header: list[str] | None
    skipped: int  # the number of lines before the first row of numbers
    width: int  # the number of columns

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows as text, each after the number of the line in which it begins."""
        with texts.opened(self.path, newline="") as stream:
            lines = itertools.islice(stream, self.skipped, None)
            reader, line = csv.reader(lines, delimiter=self.delimiter), self.skipped + 1
            for cells in reader:
                if cells:
                    yield line, cells
                line = self.skipped + reader.line_num + 1

    def column(self, j: int) -> str:
        """A column for a message: its name, or its number if it has no name of its own."""
        name = self.header[j] if self.header and j < len(self.header) else ""
        alone = name and self.header and self.header.count(name) == 1
        return f"column {validation.shown(name)}" if alone else f"column {j + 1}"

    def cell(self, row: int, j: int) -> str:
        """Where the file has the number in this row and column of the table, both from 0."""
        with contextlib.suppress(*_DAMAGED):  # csv raises on numbers of very many digits
            line, _ = next(itertools.islice(self.rows(), row, None))
            return f"line {line}, {self.column(j)}"
        return f"row {row + 1} of numbers, {self.column(j)}"

    def kept(self, lines: Iterator[str], wanted: Sequence[int], drop: bool) -> Iterator[str]:
        """The lines again, with these columns only, and if they are dropped, NaN for what lacks."""
        for cells in csv.reader(lines, delimiter=self.delimiter):
            if not cells:
                continue
            if len(cells) != self.width:
                raise _Fault(self._uneven(cells))
            some = [cells[j].strip() for j in wanted]
            if drop:
                some = ["nan" if cell.lower() in _MISSING else cell for cell in some]
            yield self.delimiter.join(some)

    def _uneven(self, cells: list[str]) -> str:
        first = "the header has" if self.header else "the first row has"
        return f"{first} {self.width} columns, the rows have {len(cells)}"

    def fault(self, wanted: Sequence[int] | None, drop: bool) -> str:
        """Where these columns are not numbers, and why; empty if that cannot be found."""
        tally = _Tally(self, range(self.width) if wanted is None else wanted, drop)
        with contextlib.suppress(*_DAMAGED):
            width = 0
            for line, cells in self.rows():
                width = width or len(cells)
                if len(cells) != width:
                    if cells[0].lstrip().startswith("#"):
                        return (
                            f"line {line} begins with #: comments may stand before the table only"
                        )
                    return f"line {line} has {len(cells)} columns, the rows before it have {width}"
                if self.header and width != self.width:
                    return self._uneven(cells)
                tally.add(line, cells)
        return tally.told()


class _Tally:
    """Counts of the cells that are no numbers, by column."""

    def __init__(self, layout: _Layout, wanted: Sequence[int], drop: bool) -> None:
        self._layout, self._wanted, self._drop = layout, wanted, drop
        self._rows, self._first = 0, ""
        self._missing: dict[int, int] = {}
        self._texts: dict[int, int] = {}
        self._examples: dict[int, str] = {}
        self._lacking = ""

    def add(self, line: int, cells: list[str]) -> None:
        """Count a row."""
        self._rows += 1
        for j in self._wanted:
            cell = cells[j]
            if cell.strip().lower() in _MISSING:
                self._missing[j] = self._missing.get(j, 0) + 1
                self._lacking = self._lacking or f"line {line}, {self._layout.column(j)}: no value"
            elif not _is_number(cell) or "_" in cell or not cell.isascii():
                self._texts[j] = self._texts.get(j, 0) + 1
                self._examples.setdefault(j, cell)
                if not self._first:
                    what = f"could not convert string {validation.shown(cell)} to a number"
                    self._first = f"line {line}, {self._layout.column(j)}: {what}"

    def told(self) -> str:
        """Say what is wrong and what to do about it; empty if nothing is."""
        said = [self._first] if self._first else [self._lacking] if self._lacking else []
        if self._texts:
            said.append(self._of_texts())
        if self._missing and not self._drop and said:
            counts = ((self._layout.column(j), count) for j, count in self._missing.items())
            said += [columns.counted(counts), columns.REMEDY]
        return "; ".join(filter(None, said))

    def _of_texts(self) -> str:
        """What to do about text."""
        example = next(iter(self._examples.values())).strip()
        if self._layout.width == 1:
            return "there is one column: cells must be separated by commas, semicolons or tabs"
        if _COMMA.fullmatch(example):
            return "write decimals with a point and thousands without a comma, as in 1234.5"
        full = [
            j for j, count in self._texts.items() if count + self._missing.get(j, 0) == self._rows
        ]
        names = ", ".join(columns.short(self._layout.column(j)) for j in full[:_TOLD])
        more = f" and {len(full) - _TOLD} more" if len(full) > _TOLD else ""
        dated = any(_DATE.match(self._examples[j].strip()) for j in full)
        dates = "; a date can be a number of days" if dated else ""
        if full:
            return f"text in {names}{more}: {columns.IN_PLACE_OF_TEXT}{dates}"
        counts = ", ".join(
            f"{count} in {columns.short(self._layout.column(j))}"
            for j, count in itertools.islice(self._texts.items(), _TOLD)
        )
        more = f" and in {len(self._texts) - _TOLD} more" if len(self._texts) > _TOLD else ""
        return f"cells that are no numbers: {counts}{more}"


def _is_number(cell: str) -> bool:
    with contextlib.suppress(ValueError):
        float(cell)
        return True
    return False


def _is_word(cell: str) -> bool:
    """Whether a cell is neither a number nor the mark of a missing one."""
    number = _is_number(cell) or _COMMA.fullmatch(cell)
    return not number and cell.lower() not in _MISSING


def _cells(text: str, delimiter: str) -> list[str]:
    """The cells of a line, or of the lines of a header; spaces and line ends become one space."""
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    return [" ".join(cell.split()) for cell in next(rows, [])]


def _delimiter(path: Path, first: str) -> str:
    """What separates the cells: the most frequent of three outside quotes."""
    bare = _QUOTED.sub("", first)
    if "\t" in bare and ".tsv" in [suffix.lower() for suffix in path.suffixes[-2:]]:
        return "\t"
    parts = bare.strip().split(";")
    if len(parts) > 1 and all(_COMMA.fullmatch(part.strip()) for part in parts):
        return ";"
    return max(",;\t", key=bare.count)


def _layout(path: Path, lines: Iterator[str]) -> tuple[_Layout, Iterator[str]]:
    """Read the header, if there is one.

    Parameters
    ----------
    path : Path
        For the messages.
    lines : iterator of str
        Of the whole file.

    Returns
    -------
    layout : _Layout
    rows : iterator of str
        The lines from the first row of numbers on.
    """
    skipped, ahead, comment = 0, [], ""
    for line in lines:
        if not line.strip() or line.startswith("#"):
            comment, skipped = line.strip() or comment, skipped + 1
            continue
        ahead.append(line)  # more than one if a name in quotes has a line end in it
        if "".join(ahead).count('"') % 2 == 0:
            break
        if len(ahead) == _LINES:
            raise ValueError(_OPEN)
    first = "".join(ahead)
    if first.count('"') % 2:
        raise ValueError(_OPEN)
    delimiter = _delimiter(path, first)
    cells = _cells(first, delimiter)
    counted = [str(j) for j in range(len(cells))]
    above = _cells(comment.lstrip("# "), delimiter)
    header = None
    if len(above) == len(cells) > 1 and any(map(_is_word, above)) and any(map(_is_number, cells)):
        header = above  # a comment in front of the numbers, as NumPy writes the names
    elif any(map(_is_word, cells)) or ["", *counted[:-1]] == cells != [""]:
        header, skipped = cells, skipped + len(ahead)
        ahead = _until_row(lines)
        if any(_is_number(cell) and not cell.isdecimal() for cell in cells):
            _log.warning(
                "%s: line %d, where some cells are numbers, is taken for the header",
                paths.text(path),
                skipped,
            )
    if header is not cells and "\n" in first.rstrip("\n"):
        raise ValueError(_OPEN)
    if not any(line.strip() for line in ahead):
        raise ValueError("it has no rows of numbers")
    if header is None and cells == counted and len(cells) > 2:
        _log.warning(
            "%s: line %d, which counts the columns, is taken for numbers; a header must have a "
            "cell that is no number",
            paths.text(path),
            skipped + 1,
        )
    layout = _Layout(path, delimiter, header, skipped, len(header or cells))
    return layout, itertools.chain(ahead, lines)


def _until_row(lines: Iterator[str]) -> list[str]:
    """The next lines up to the first that is not blank, or up to the end."""
    ahead = []
    for line in lines:
        ahead.append(line)
        if line.strip():
            break
    return ahead


def _numbers(
    layout: _Layout, rows: Iterator[str], wanted: Sequence[int] | None, drop: bool
) -> Array:
    """The table (n, m) of these columns, or of all.

    Raises
    ------
    ValueError
        One of ``_DAMAGED``, which says in ``fault`` of the layout where the fault is.
    """
    table: Array = np.loadtxt(
        rows if wanted is None else layout.kept(rows, wanted, drop),
        delimiter=layout.delimiter,
        comments=None,
        quotechar='"',
        ndmin=2,
        encoding="utf-8",
    )
    if wanted is not None and table.shape[1] != len(wanted):
        raise _Fault("a cell has a delimiter in it")
    return table


def _refused(
    layout: _Layout | None, path: Path, error: Exception, wanted: Sequence[int] | None, drop: bool
) -> ValueError:
    """What to raise for a file that cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        return unreadable(path, f"{error}; {texts.foreign(path)}")
    fault = "" if layout is None else layout.fault(wanted, drop)
    return unreadable(path, fault or error)


def read_table(path: Path, asked: Wanted) -> Columns:
    """A table of numbers, separated by commas, semicolons or tabs, with or without a header.

    The first line is the header if one of its cells is neither a number nor missing, or if its
    first cell is empty and the others count the columns from 0, as pandas writes them. Lines in
    front of the table that begin with # are skipped; the last of them is the header if it has as
    many cells as the numbers below it. The target is the last column, or those asked for. A first
    column without a name that counts the rows is an index, as pandas and R write it: it is left
    out, unless it is asked for, and a warning is logged.

    Parameters
    ----------
    path : Path
        Compressed if it ends so.
    asked : Wanted
    """
    where, drop = paths.text(path), asked.drop_missing
    layout, chosen, taken = None, None, None
    with contextlib.ExitStack() as stack:
        try:
            layout, rows = _layout(path, stack.enter_context(texts.opened(path)))
        except _DAMAGED as error:
            raise _refused(None, path, error, None, drop) from error
        if asked != Wanted():  # a slip in a name is told before what is wrong with other columns
            columns.width(where, np.empty((1, layout.width)))
            chosen = columns.choose(where, asked, layout.width, layout.header)
            if chosen.features is not None:
                taken = chosen.features + chosen.targets
            elif drop:
                taken = list(range(layout.width))
        try:
            table = _numbers(layout, rows, taken, drop)
        except _DAMAGED as error:
            raise _refused(layout, path, error, taken, drop) from error
    header = layout.header
    if taken is None:
        if header is not None and len(header) != table.shape[1]:
            raise ValueError(
                f"{where}: the header has {len(header)} columns, the rows have {table.shape[1]}"
            )
        taken = list(range(columns.width(where, table)))
    chosen = chosen or columns.choose(where, asked, len(taken), header)
    return columns.split(where, table, taken, header, chosen, drop, layout)
