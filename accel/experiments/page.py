"""``report.html``: one self-contained file, made of ``report.json`` and the drawings."""

import base64
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from accel._reports.text import duration
from accel.experiments.summary import (
    claim_text,
    described,
    has_published,
    summary,
    verdict_on,
)

__all__ = ["difference", "render"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em;
  color: #222; }
img { max-width: 100%; }
table { border-collapse: collapse; margin: 1em 0; font-size: 0.9em; }
th, td { border-bottom: 1px solid #ddd; padding: 0.25em 0.7em; text-align: left;
  vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bad { color: #b00020; font-weight: bold; }
.good { color: #1b6e2d; }
code { background: #f3f3f3; padding: 0 0.2em; }
nav ul { columns: 2; }
"""
_QUICK_ALONE = (
    "A quick run: every curve has a fiftieth of its steps, and says little of runs of full length."
)

_BANDED = (
    "A claim that hangs on which rate just survives is judged at 0.5, 0.7 and 0.9 times the "
    "largest rate that survives, each from a seed of its own, and holds if it does at each of them."
)

Values = Mapping[str, Any]
Cell = tuple[str, str]  # style and text


def _number(value: float | None, style: str = "") -> Cell:
    return f"number {style}".strip(), "-" if value is None else f"{value:.3g}"


#: What is typed, an address, or a preprint.
_MARKED = re.compile(r"`([^`]+)`|(https?://[^\s<>`]*[^\s<>`.,;:)])|arXiv[: ](\d{4}\.\d{4,5})")


def _escaped(text: object) -> str:
    return html.escape(str(text))


def _linked(target: str, text: str) -> str:
    return f'<a href="{_escaped(target)}">{_escaped(text)}</a>'


def _rich(text: str) -> str:
    """Escape a text, but for code in backticks, and links to what it names."""

    def marked(found: re.Match[str]) -> str:
        code, address, preprint = found.groups()
        if code:
            return f"<code>{_escaped(code)}</code>"
        return _linked(address or f"https://arxiv.org/abs/{preprint}", found[0])

    parts, end = [], 0
    for found in _MARKED.finditer(text):
        parts += [_escaped(text[end : found.start()]), marked(found)]
        end = found.end()
    return "".join([*parts, _escaped(text[end:])])


def _tag(name: str, text: str) -> str:
    return f"<{name}>{_rich(text)}</{name}>\n"


def _section(anchor: str, title: str, content: str) -> str:
    """A part of the page that the contents lead to."""
    return f'<section id="{_escaped(anchor)}">\n{_tag("h2", title)}{content}</section>\n'


def _table(header: Sequence[str], rows: Iterable[Sequence[Cell | str]]) -> str:
    def cell(value: Cell | str) -> str:
        style, text = value if isinstance(value, tuple) else ("", value)
        return f'<td class="{style}">{_rich(text)}</td>' if style else _tag("td", text).strip()

    head = "".join(_tag("th", name).strip() for name in header)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>\n"


def difference(line: Values) -> str:
    """Describe what was tried for a line that is far from the published value.

    Parameters
    ----------
    line : dict
        Of a figure in ``report.json``.

    Returns
    -------
    str
    """
    if line["ours"] is None:
        where = " at every learning rate tried" if line.get("trials") else ""
        begin = f"{line['label']}: diverged{where}."
    else:
        begin = f"{line['label']}: ours is {line['ratio']:.3g} times the published value."
    parts = [begin]
    if (trials := line.get("trials")) and not line.get("rate_given"):
        rates = [trial["rate"] for trial in trials]
        parts.append(
            f"Tried: {len(rates)} learning rates from {min(rates):.3g} to {max(rates):.3g}, of "
            f"which {line['learning_rate']:.3g} is the best."
        )
        if line["next_rate_diverges_at"] is not None:
            parts.append(f"The next larger one diverged at step {line['next_rate_diverges_at']}.")
    reached = line.get("published_value_reached_at")
    if reached is not None:
        parts.append(f"The published end value is reached at step {reached}.")
    parts.append("What the notes do not explain remains unexplained.")
    return " ".join(parts)


def _next_rate(line: Values) -> Cell:
    if line["at_edge_of_grid"]:
        return "bad", "edge of the grid"
    if line.get("rate_given"):
        return "", "not searched"
    step = line["next_rate_diverges_at"]
    return "", "survives, worse" if step is None else f"diverges at step {step}"


def _start(line: Values) -> str:
    width = "" if line["width"] is None else f", width {line['width']}"
    return f"{line['init']}, std {line['scale']:.3g}{width}"


def _lines(figure: Values, judged: bool) -> str:
    published = judged and "about" not in figure
    header = ["line", "published", "ours", "ratio"] if published else ["line", "ours"]
    searched = all("learning_rate" in line for line in figure["lines"])
    if searched:
        header += ["learning rate", "next larger rate", "rates tried", "initial factors", "steps"]
    rows: list[list[Cell | str]] = []
    for line in figure["lines"]:
        ours = ("number bad", "diverged") if line["ours"] is None else _number(line["ours"])
        row: list[Cell | str] = [line["label"], ours]
        if published:
            row.insert(1, _number(line["published"]))
            row.append(_number(line["ratio"], "bad" if line["off"] else ""))
        if searched:
            row += [
                _number(line["learning_rate"]),
                _next_rate(line),
                _number(len(line["trials"]) if "trials" in line else None),
                _start(line),
                ("number", str(line["steps"])),
            ]
        rows.append(row)
    return _table(header, rows)


def _common(figure: Values) -> str:
    if not figure.get("common_rates"):
        return ""
    rows: list[list[Cell | str]] = [
        [
            _number(family["learning_rate"]),
            "; ".join(
                f"{label}: {'diverged' if end is None else format(end, '.3g')}"
                for label, end in family["distances"].items()
            ),
            ("number", f"{family['largest_over_smallest'] or math.nan:.4g}"),
        ]
        for family in figure["common_rates"]
    ]
    header = ("common rate", "distance at the last step", "largest over smallest")
    return _tag("h3", "At one learning rate") + _table(header, rows)


def _place(place: Values) -> str:
    return f"{place['share']:g} of the limit, seed {place['seed']}"


def _bands(figure: Values) -> str:
    """The ends of lines at fixed shares of the largest rate that survives, and from other seeds."""
    banded = [line for line in figure["lines"] if line.get("band")]
    if not banded:
        return ""
    rows: list[list[Cell | str]] = []
    for line in banded:
        cells = (
            ("number bad", "diverged") if place["distance"] is None else _number(place["distance"])
            for place in line["band"]
        )
        rows.append([line["label"], *cells])
    # At depth 1 all seeds are one, so that another line may know more of them.
    seeded = max(banded, key=lambda line: len({place["seed"] for place in line["band"]}))
    header = ["line", *map(_place, seeded["band"])]
    told = (
        "The limit is the largest rate tried at which a line survives. Rules that rescale the "
        "gradient stand at their best rate. The pale areas of the drawing span these runs."
    )
    lowered = [line["label"] for line in banded if line.get("limit_lowered")]
    if lowered:
        told += (
            f" Of {', '.join(lowered)} it is a lower one: the largest survived by chance, since "
            "runs at shares of it diverged. It was lowered until none did."
        )
    heading = _tag("h3", "Over rates and seeds: distance at the last step")
    return heading + _tag("p", told) + _table(header, rows)


def _crossings(figure: Values) -> str:
    return _items(
        f"{crossing['below']} does not end below {crossing['above']}."
        if crossing["from_step"] is None
        else f"{crossing['below']} lies below {crossing['above']} from step "
        f"{crossing['from_step']} on."
        for crossing in figure.get("crossings", ())
    )


def _items(texts: Iterable[str]) -> str:
    listed = "".join(_tag("li", text) for text in texts)
    return f"<ul>\n{listed}</ul>\n" if listed else ""


def _figure(figure: Values, drawing: bytes | None, judged: bool) -> str:
    if figure["skipped"]:
        return _tag("p", f"Not run: {figure['skipped']}")
    parts = []
    if drawing is not None:
        source = f"data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}"
        parts.append(f'<p><img alt="{_escaped(described(figure))}" src="{source}"></p>\n')
    parts += [_lines(figure, judged), _common(figure), _bands(figure), _crossings(figure)]
    parts.append(_items(figure["notes"]))
    off = [difference(line) for line in figure["lines"] if line["off"]]
    if off:
        parts += [_tag("h3", "More than a factor of 2 from the published value"), _items(off)]
    return "".join(parts)


def _checks(report: Values) -> str:
    rows: list[list[Cell | str]] = []
    for figure in report["figures"]:
        for check in figure["checks"]:
            style = {True: "good", False: "bad", None: ""}[check["holds"]]
            rows.append([figure["key"], claim_text(check), (style, verdict_on(check))])
    if not rows:
        return ""
    table = _table(("figure", "claim", "here"), rows)
    return table + _tag("p", _BANDED) if any(map(_is_banded, report["figures"])) else table


def _is_banded(figure: Values) -> bool:
    return any(check.get("held") for check in figure["checks"])


def _costs(report: Values) -> str:
    seconds = report["seconds"]
    total = (
        f"Training took {duration(seconds['training'])} in all sittings, this sitting "
        f"{duration(seconds['this_sitting'])} with everything."
    )
    stages = [
        [stage["stage"], *(("number", str(stage[name])) for name in ("models", "steps")),
         ("number", f"{stage['seconds']:.1f}")]
        for stage in seconds["stages"]
    ]  # fmt: skip
    header = ("stage", "models", "steps", "seconds")
    return _tag("p", total) + (_table(header, stages) if stages else "")


def _introduction(report: Values) -> str:
    """Say what the figures are, where they are from, and what "ours" is."""
    settings, data = report["settings"], report["data"]
    if not has_published(report):
        told = " ".join(figure["about"] for figure in report["figures"])
        told += f" By accel reproduce with seed {settings['seed']}, finished {report['finished']}."
        return _tag("p", told) + (_tag("p", _QUICK_ALONE) if settings["quick"] else "")
    size = f" ({data['n']} x {data['d']})" if data["sha256"] else ""
    told = (
        f"arXiv 1802.06509, its figures as measured by accel reproduce on {settings['data']}"
        f"{size} with seed {settings['seed']}, finished {report['finished']}. Every line, "
        "unless its rate is given, is trained at the learning rate that a search of its own found "
        "best over the last tenth of its steps; ours is the distance from the optimum after the "
        "last one."
    )
    if not settings["quick"]:
        told += " Stars mark the published end values, read off the paper's curves (10 %)."
    return _tag("p", summary(report)) + _tag("p", told)


def _contents(sections: Iterable[tuple[str, str, str]]) -> str:
    links = "".join(f"<li>{_linked(f'#{name}', title)}</li>\n" for name, title, _ in sections)
    return f"<nav>\n<ul>\n{links}</ul>\n</nav>\n"


def _sections(report: Values, drawings: Mapping[str, bytes]) -> list[tuple[str, str, str]]:
    """Return the anchor, the title and the content of every part of the page."""
    facts = (
        [section, name, value]
        for section, values in report["facts"].items()
        for name, value in values.items()
    )
    judged = not report["settings"]["quick"]
    checks = _checks(report)
    return [
        *([("claims", "What the paper claims", checks)] if checks else []),
        *(
            (
                f"figure-{figure['key']}",
                figure["title"],
                _figure(figure, drawings.get(figure["key"]), judged),
            )
            for figure in report["figures"]
        ),
        ("time", "Time", _costs(report)),
        ("machine", "Versions and machine", _table(("", "", ""), facts)),
    ]


def render(report: Values, drawings: Mapping[str, bytes]) -> str:
    """Make the page.

    Parameters
    ----------
    report : dict
        The content of ``report.json``.
    drawings : dict of str to bytes
        SVG files by the key of their figure.

    Returns
    -------
    str
    """
    sections = _sections(report, drawings)
    body = [
        _tag("h1", "Arora, Cohen and Hazan (2018), reproduced"),
        _introduction(report),
        _contents(sections),
        *(_section(*section) for section in sections),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>accel reproduce</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{''.join(body)}</body>\n</html>\n"
    )
