"""What a reproduction found, in a paragraph: what holds, what does not, and what is not explained.

Every sentence follows from the values of ``report.json``, whatever they are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "claim_text",
    "described",
    "has_published",
    "short_title",
    "summary",
    "verdict_on",
]

Values = Mapping[str, Any]

_QUICK = (
    "A quick run: every curve has a fiftieth of its steps. Published values and claims belong to "
    "runs of full length, which `accel reproduce` without `--quick` makes."
)


def has_published(report: Values) -> bool:
    """Return whether a figure of a report is one of the paper's, with values to compare with.

    What is not the paper's says itself what it is "about".
    """
    return any("about" not in figure for figure in report["figures"])


def short_title(figure: Values) -> str:
    """Return the name of a figure without what it shows, to be used in a sentence."""
    name = str(figure["title"]).partition(":")[0]
    return name[:1].lower() + name[1:]


def verdict_on(check: Values) -> str:
    """Return whether a claim holds, in a word or two, and at how many places of its band."""
    verdict = {True: "holds", False: "fails", None: "not judged"}[check["holds"]]
    return f"{verdict} ({check['held'][0]} of {check['held'][1]})" if check.get("held") else verdict


def claim_text(check: Values) -> str:
    """Return what a claim says, and under which reading of the paper it is judged."""
    return f"{check['text']} ({check['reading']})" if check.get("reading") else str(check["text"])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _ends(lines: Sequence[Values]) -> str:
    """Say where lines end: the first "ends at", the others "at"."""
    told, verb = [], "ends "
    for line in lines:
        if line["ours"] is None:
            told.append(f"{line['label']} diverges")
        else:
            told.append(f"{line['label']} {verb}at {line['ours']:.3g}")
            verb = ""
    return _joined(told)


def described(figure: Values) -> str:
    """Say in words what the drawing of a figure shows, for who cannot see it."""
    ends = f": {_ends(figure['lines'])}" if figure["lines"] else ""
    return f"{figure['title']}. Curves over the steps, on a logarithmic axis{ends}."


def _failure(figure: Values, check: Values) -> str:
    """Say of a claim that fails where its lines end, and what kept them from better ends."""
    lines = [line for line in figure["lines"] if line["label"] in check["lines"]]
    told = f"{_capital(short_title(figure))}, “{claim_text(check)}”"
    if lines:
        told += f": here {_ends(lines)}"
    if check.get("held"):
        told += f"; at {check['held'][0]} of {check['held'][1]} rates and seeds it holds"
    limits = [
        f"{line['label']} at step {line['next_rate_diverges_at']}"
        for line in lines
        if line.get("next_rate_diverges_at") is not None
    ]
    if limits:
        told += f". The next larger rate that was tried diverges: {_joined(limits)}"
    return f"{told}."


def _claims(report: Values) -> str:
    pairs = [(figure, check) for figure in report["figures"] for check in figure["checks"]]
    if not pairs:
        return "None of the paper's claims is about these figures."
    count = f"the paper's {len(pairs)} claims" if len(pairs) > 1 else "the paper's claim"
    if any(check.get("reading") for _, check in pairs):  # a claim is judged under each of them
        count = f"the {len(pairs)} checks of the paper's claims"
    judged = [(figure, check) for figure, check in pairs if check["holds"] is not None]
    if not judged:
        return f"{_capital(count)} {'are' if len(pairs) > 1 else 'is'} not judged."
    failed = [(figure, check) for figure, check in judged if not check["holds"]]
    held = [(figure, check) for figure, check in judged if check["holds"]]
    if not failed:
        return f"All of {count} hold here." if len(judged) > 1 else "The paper's claim holds here."
    by_figure = Counter(short_title(figure) for figure, _ in held)
    holding = [f"{name} ({number})" if number > 1 else name for name, number in by_figure.items()]
    if len(judged) == 1:
        begin = "The paper's claim does not hold here."
    elif not held:
        begin = f"None of {count} holds here."
    else:
        begin = (
            f"Of {count} {len(held)} {'hold' if len(held) > 1 else 'holds'} here "
            f"({_joined(holding)}), {len(failed)} {'do' if len(failed) > 1 else 'does'} not."
        )
    return " ".join([begin, *(_failure(figure, check) for figure, check in failed)])


def _differences(report: Values) -> str:
    """Say how many lines are far from the published values, and that nobody knows why."""
    lines = [line for f in report["figures"] if "about" not in f for line in f["lines"]]
    off = [line for line in lines if line["off"]]
    if not lines or report["settings"]["quick"]:
        return ""
    if not off:
        return "Every curve ends within a factor of 2 of the published value."
    ratios = [line["ratio"] for line in off if line["ratio"] is not None]
    ends = f"{min(ratios):.2g} to {max(ratios):.2g}" if ratios[1:] else f"{sum(ratios):.2g}"
    ends = f", at {ends} times of it" if ratios else ""
    verb = "end" if off[1:] else "ends"
    return (
        f"{len(off)} of {len(lines)} curves {verb} more than a factor of 2 from the published value"
        f"{ends}. What is known of the reasons stands below each figure; the rest is not explained."
    )


def summary(report: Values) -> str:
    """Return the paragraph, for a report of figures of the paper.

    Parameters
    ----------
    report : dict
        The content of ``report.json``.

    Returns
    -------
    str
        Plain text, with what is typed in backticks.
    """
    missing = [
        f"{short_title(figure)} was not run: {figure['skipped']}."
        for figure in report["figures"]
        if figure["skipped"]
    ]
    quick = _QUICK if report["settings"]["quick"] else ""
    parts = [quick, _claims(report), _differences(report), *missing]
    return " ".join(_capital(part) for part in parts if part)
