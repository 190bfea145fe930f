"""The group ``targets``: the cases of `harness.cases`, held to what we had set ourselves."""

from benchmarks.harness import report
from benchmarks.harness.cases import CASES
from benchmarks.harness.records import Record
from benchmarks.harness.registry import Settings
from benchmarks.harness.session import measured

ROUNDS, SECONDS = 15, 0.12


def measure(settings: Settings) -> Record:
    return measured("targets", CASES, settings, ROUNDS, SECONDS)


def markdown(content: Record) -> str:
    """The table that the README quotes, and where we are furthest from what was asked."""
    parts = [report.header(content), report.summary_table(content)]
    if far := report.furthest(content):
        parts.append(f"Furthest from what was asked: {'; '.join(far)}.")
    return "\n\n".join(parts)


def summary(content: Record) -> str:
    """What the README quotes: the machine, and every figure next to what is asked of it."""
    return f"{report.header(content)}\n\n{report.summary_table(content)}"


def plots(content: Record) -> dict[str, bytes]:
    """None: ratios to two digits are read from the table."""
    return {}
