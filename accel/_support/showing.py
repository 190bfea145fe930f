"""What values show of themselves: one short line and, in notebooks, HTML with all texts escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

from accel._support.validation import cut

__all__ = ["line", "shape", "summary", "table", "widths"]

_WIDTHS = 8  # the most that are shown of a network
_LONG = 1000  # characters of a text in a table


class _HasTable(Protocol):
    def to_pandas(self) -> Any: ...


def line(value: object, /, **facts: object) -> str:
    """Return the ``repr`` of a value, ``Kind(name=fact, ...)``; what is long of a fact is cut."""
    told = ", ".join(f"{name}={cut(str(fact))}" for name, fact in facts.items())
    return f"{type(value).__name__}({told})"


def shape(array: object) -> str:
    """Return the shape of an array, or the kind of what has none."""
    return str(getattr(array, "shape", type(array).__name__))


def widths(given: Sequence[int]) -> str:
    """Return the widths of a network, of a deep one the first and the last."""
    if len(given) <= _WIDTHS:
        return str(tuple(given))
    ends = map(str, (*given[:3], "...", *given[-2:]))
    return f"({', '.join(ends)})"


def table(facts: Mapping[str, object]) -> str:
    """Return a table of two columns, names and values."""
    rows = (
        f'<tr><th style="text-align: left">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(str(value)[:_LONG])}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table>{''.join(rows)}</table>"


def summary(shown: _HasTable) -> str:
    """Return the ``repr``, and below it the table as pandas shows it, where that is installed."""
    text = f"<pre>{escape(repr(shown))}</pre>"
    try:
        frame = shown.to_pandas()
    except ImportError:
        return text
    return text + (frame._repr_html_() or "")  # None if the user wants no HTML of pandas
