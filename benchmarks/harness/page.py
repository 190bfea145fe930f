"""``report.md`` and ``report.html``: one Markdown, as it is and as a page that needs no other file.

The Markdown is the suite's own and plain: headings, paragraphs and tables, with bold and code in
them. All text is escaped in the HTML.
"""

import base64
import html
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 78em; margin: 2em auto; padding: 0 1em;
  color: #222; }
img { max-width: 100%; }
table { border-collapse: collapse; margin: 1em 0; font-size: 0.85em; }
th, td { border-bottom: 1px solid #ddd; padding: 0.2em 0.6em; text-align: left;
  vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
"""
_TITLE = "implicit-accel: benchmarks"
_CELLS = re.compile(r"(?<!\\)\|")


class Chapter(NamedTuple):
    """A group: its title, its Markdown, and SVG drawings by their titles."""

    title: str
    text: str
    drawings: dict[str, bytes]


def write(folder: Path, chapters: Sequence[Chapter]) -> list[Path]:
    """Write both pages."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "report.md", folder / "report.html"]
    paths[0].write_text(markdown(chapters), encoding="utf-8")
    paths[1].write_text(page(chapters), encoding="utf-8")
    return paths


def markdown(chapters: Sequence[Chapter]) -> str:
    """All chapters, without their drawings."""
    parts = [f"# {_TITLE}", *(f"## {chapter.title}\n\n{chapter.text}" for chapter in chapters)]
    return "\n\n".join(parts) + "\n"


def page(chapters: Sequence[Chapter]) -> str:
    """One self-contained HTML file."""
    body = [f"<h1>{html.escape(_TITLE)}</h1>"]
    for chapter in chapters:
        body.append(f"<h2>{html.escape(chapter.title)}</h2>")
        body += [_image(title, drawing) for title, drawing in chapter.drawings.items()]
        body += _blocks(chapter.text)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(_TITLE)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _image(title: str, drawing: bytes) -> str:
    # As an image, not inline: the ids inside two drawings may be the same.
    source = f"data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}"
    return f'<p><img alt="{html.escape(title)}" src="{source}"></p>'


def _blocks(text: str) -> Iterator[str]:
    """Headings, tables and paragraphs of a text as HTML."""

    def sort(line: str) -> str:
        return "table" if line.startswith("|") else "heading" if line.startswith("#") else "text"

    for block in text.split("\n\n"):
        for kind, lines in groupby(filter(str.strip, block.splitlines()), key=sort):
            if kind == "table":
                yield _table(list(lines))
            elif kind == "heading":
                for line in lines:
                    level = len(line) - len(line.lstrip("#"))
                    yield f"<h{level}>{_inline(line.lstrip('# '))}</h{level}>"
            else:
                yield f"<p>{_inline(' '.join(lines))}</p>"


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in _CELLS.split(line.strip())[1:-1]] for line in lines]
    names, rule, body = rows[0], rows[1], rows[2:]
    styles = [' class="number"' if cell.endswith(":") else "" for cell in rule]

    def line(tag: str, cells: list[str]) -> str:
        made = (
            f"<{tag}{style}>{_inline(cell)}</{tag}>"
            for cell, style in zip(cells, styles, strict=False)
        )
        return f"<tr>{''.join(made)}</tr>"

    made = "\n".join(line("td", cells) for cells in body)
    return f"<table><thead>{line('th', names)}</thead>\n<tbody>\n{made}\n</tbody></table>"


def _inline(text: str) -> str:
    escaped = html.escape(text.replace("\\|", "|"))
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escaped)


def cell(value: object) -> str:
    """A text for a cell of a Markdown table: on one line, its bars escaped."""
    return " ".join(str(value).split()).replace("|", "\\|")


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], text: Collection[int] = (0,)
) -> str:
    """A Markdown table; the columns whose places are in `text` are text, the others numbers."""
    return "\n".join([head(header, text), *map(row, rows)])


def head(header: Sequence[str], text: Collection[int] = (0,)) -> str:
    """The first two lines of a Markdown table."""
    rule = ["---" if place in text else "---:" for place in range(len(header))]
    return f"{row(header)}\n|{'|'.join(rule)}|"


def row(cells: Iterable[object]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(map(cell, cells))} |"
