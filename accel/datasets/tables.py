"""Reader of tables that are text, .csv and .tsv, plain or compressed; says where a fault is."""

import contextlib
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from accel._files import paths, texts
from accel._files.paths import unreadable
from accel._support import validation
from accel._support.arrays import Array
from accel.datasets import columns
from accel.datasets.columns import Columns, Wanted
from accel.datasets.layouts import (
    COMMA,
    DAMAGED,
    MISSING,
    TRUTH,
    Fault,
    Layout,
    layout_of,
    number_in,
    uneven,
)

__all__ = ["read_table"]

_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d\d")
_TOLD = 5  # columns that a message lists


def _fault(layout: Layout, wanted: Sequence[int] | None, drop: bool) -> tuple[str, Collection[int]]:
    """Where these columns are not numbers, and why, and those that are truth values.

    Nothing is said if no fault can be found; then there may be truth values in place of numbers.
    """
    tally = _Tally(layout, range(layout.width) if wanted is None else wanted, drop)
    try:
        width = 0
        for line, cells in layout.rows():
            width = width or len(cells)
            if len(cells) != width:
                return uneven(line, cells, width), ()
            if layout.header and width != layout.width:
                return layout.unlike(cells), ()
            tally.add(line, cells)
    except Fault as error:
        return tally.told() or str(error), ()
    except DAMAGED:
        return tally.told(), ()
    return tally.told(), tally.truths()


class _Tally:
    """Counts of the cells that are no numbers, by column."""

    def __init__(self, layout: Layout, wanted: Sequence[int], drop: bool) -> None:
        self._layout, self._wanted, self._drop = layout, wanted, drop
        self._rows = 0
        self._missing: dict[int, int] = {}
        self._truths: dict[int, int] = {}
        self._texts: dict[int, int] = {}
        self._examples: dict[int, tuple[int, str]] = {}  # a line, and a text in it
        self._lacking = ""

    def add(self, line: int, cells: list[str]) -> None:
        """Count a row."""
        self._rows += 1
        for j in self._wanted:
            cell = cells[j]
            if cell.strip().lower() in MISSING:
                self._missing[j] = self._missing.get(j, 0) + 1
                self._lacking = self._lacking or f"line {line}, {self._layout.column(j)}: no value"
            elif number_in(cell) is None:
                self._texts[j] = self._texts.get(j, 0) + 1
                self._examples.setdefault(j, (line, cell))
                if cell.strip().lower() in TRUTH:
                    self._truths[j] = self._truths.get(j, 0) + 1

    def truths(self) -> list[int]:
        """The columns that hold truth values, and nothing else but what is missing."""
        return [j for j in self._truths if self._filled(j, self._truths[j])]

    def _filled(self, j: int, count: int) -> bool:
        """Whether so many cells are all of a column, but for what is missing."""
        return count + self._missing.get(j, 0) == self._rows

    def told(self) -> str:
        """Say what is wrong and what to do about it; empty if nothing is."""
        truths = self.truths()
        others = {j: count for j, count in self._texts.items() if j not in truths}
        said = [self._lacking] if self._lacking and not self._drop else []
        if others:
            first = next(iter(others))
            line, cell = self._examples[first]
            what = f"could not convert string {validation.shown(cell)} to a number"
            said = [f"line {line}, {self._layout.column(first)}: {what}", self._of_texts(others)]
        if self._missing and not self._drop and said:
            counts = ((self._layout.column(j), count) for j, count in self._missing.items())
            said += [columns.counted(counts), columns.REMEDY]
        return "; ".join(filter(None, said))

    def _of_texts(self, counts: dict[int, int]) -> str:
        """What to do about text, of which there is so much in these columns."""
        example = self._examples[next(iter(counts))][1].strip()
        if self._layout.width == 1:
            return "there is one column: cells must be separated by commas, semicolons or tabs"
        if COMMA.fullmatch(example):
            return "write decimals with a point and thousands without a comma, as in 1234.5"
        full = [j for j, count in counts.items() if self._filled(j, count)]
        names = ", ".join(columns.short(self._layout.column(j)) for j in full[:_TOLD])
        more = f" and {len(full) - _TOLD} more" if len(full) > _TOLD else ""
        dated = any(_DATE.match(self._examples[j][1].strip()) for j in full)
        dates = "; a date can be a number of days" if dated else ""
        if full:
            return f"text in {names}{more}: {columns.IN_PLACE_OF_TEXT}{dates}"
        told = ", ".join(
            f"{count} in {columns.short(self._layout.column(j))}"
            for j, count in itertools.islice(counts.items(), _TOLD)
        )
        more = f" and in {len(counts) - _TOLD} more" if len(counts) > _TOLD else ""
        return f"cells that are no numbers: {told}{more}"


def _numbers(
    layout: Layout,
    rows: Iterator[str],
    wanted: Sequence[int] | None,
    drop: bool,
    truths: Collection[int] = (),
) -> Array:
    """The table (n, m) of these columns, or of all; some may hold truth values.

    Raises
    ------
    ValueError
        One of ``DAMAGED``; ``_fault`` says where the fault is.
    """
    table: Array = np.loadtxt(
        rows if wanted is None else layout.kept(rows, wanted, drop, truths),
        delimiter=layout.delimiter,
        comments=None,
        quotechar='"',
        ndmin=2,
        encoding="utf-8",
    )
    if wanted is not None and table.shape[1] != len(wanted):
        raise Fault("a cell has a delimiter in it")
    return table


def _refused(path: Path, error: Exception) -> ValueError:
    """What to raise for a file that cannot be read, if no line of it is to blame."""
    if isinstance(error, UnicodeDecodeError):
        return unreadable(path, f"{error}; {texts.foreign(path)}")
    return unreadable(path, error)


def _with_truths(
    layout: Layout, error: Exception, wanted: Sequence[int] | None, drop: bool
) -> Array:
    """The table of a file that is no table of numbers, if it lacks nothing but numbers for truths.

    Raises
    ------
    ValueError
        If it lacks other things: which, or else the error.
    """
    path = layout.path
    if isinstance(error, UnicodeDecodeError):
        raise _refused(path, error) from error
    fault, truths = _fault(layout, wanted, drop)
    if fault or not truths:
        raise unreadable(path, fault or error) from error
    all_or_some = range(layout.width) if wanted is None else wanted
    try:
        with texts.opened(path) as stream:
            rows = itertools.islice(stream, layout.skipped, None)
            return _numbers(layout, rows, all_or_some, drop, truths)
    except DAMAGED as again:
        raise _refused(path, again) from again


def read_table(path: Path, asked: Wanted) -> Columns:
    """A table of numbers, separated by commas, semicolons or tabs, with or without a header.

    The first line is the header if one of its cells is neither a number nor missing, or if its
    first cell is empty and the others count the columns from 0, as pandas writes them. Lines in
    front of the table that begin with # are skipped; the last of them is the header if it has as
    many cells as the line below it, none of which is a word. The target is the last column, or
    those asked for. A first column without a name that counts the rows is an index, as pandas and R
    write it: it is left out, unless it is asked for, and a warning is logged. In a column that has
    nothing but "True" and "False", in any case of letters, these are 1 and 0.

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
            layout, rows = layout_of(path, stack.enter_context(texts.opened(path)))
        except DAMAGED as error:
            raise _refused(path, error) from error
        if asked != Wanted():  # a slip in a name is told before what is wrong with other columns
            columns.width(where, np.empty((1, layout.width)))
            chosen = columns.choose(where, asked, layout.width, layout.header)
            if chosen.features is not None:
                taken = chosen.features + chosen.targets
            elif drop:
                taken = list(range(layout.width))
        try:
            table = _numbers(layout, rows, taken, drop)
        except DAMAGED as error:
            table = _with_truths(layout, error, taken, drop)
    header = layout.header
    if layout.doubtful and not {*(asked.features or ()), *(asked.target or ())} & {*(header or ())}:
        raise ValueError(
            f"{where}: line {layout.skipped} has numbers and text as the line below it: no header? "
            "put a line with names above it, or if it is the header, choose columns by its names"
        )
    if taken is None:
        if header is not None and len(header) != table.shape[1]:
            raise ValueError(
                f"{where}: the header has {len(header)} columns, the rows have {table.shape[1]}"
            )
        taken = list(range(columns.width(where, table)))
    chosen = chosen or columns.choose(where, asked, len(taken), header)
    return columns.split(where, table, taken, header, chosen, drop, layout)
