"""What notebooks show of results: HTML in which every text is escaped."""

from collections.abc import Mapping
from html import escape
from typing import Any, Protocol


class _HasTable(Protocol):
    def to_pandas(self) -> Any: ...


def table(facts: Mapping[str, object]) -> str:
    """Return a table of two columns, names and values."""
    rows = (
        f'<tr><th style="text-align: left">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(str(value))}</td></tr>'
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
