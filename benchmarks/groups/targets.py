"""The group ``targets``: the cases of `harness.cases`, held to what we had set ourselves."""

from benchmarks.harness import report
from benchmarks.harness.cases import CASES
from benchmarks.harness.records import Record
from benchmarks.harness.registry import Settings
from benchmarks.harness.session import measured

ROUNDS, SECONDS = 15, 0.12
#: What README shows: a case of each kind, one that we lose among them.
BRIEF = ("depth1-f64", "wide-f64", "gram-f64", "tall-f32", "sweep64-f64", "diabetes-f64",
         "two-points-f64")  # fmt: skip


def measure(settings: Settings) -> Record:
    return measured("targets", CASES, settings, ROUNDS, SECONDS)


def markdown(content: Record) -> str:
    """The table that the pages quote, and where we are furthest from what was asked."""
    parts = [report.header(content), report.summary_table(content)]
    if far := report.furthest(content):
        parts.append(f"Furthest from what was asked: {'; '.join(far)}.")
    return "\n\n".join(parts)


def summary(content: Record) -> str:
    """What the pages quote: the machine, and every figure next to what is asked of it."""
    return f"{report.header(content)}\n\n{report.summary_table(content)}"


def brief(content: Record) -> str:
    """A line a case of a few, for README: our time, and the best peer's beside it."""
    return f"{report.brief_table(content, BRIEF)}\n\n{report.header(content)}"


def plots(content: Record) -> dict[str, bytes]:
    """None: ratios to two digits are read from the table."""
    return {}
