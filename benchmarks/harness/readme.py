"""``python -m benchmarks readme``: the README's figures, from the committed results.

What lies between two markers is generated; ``--check`` exits with 1 if it is not current.
"""

import argparse
import sys
from pathlib import Path

from benchmarks import RESULTS, ROOT
from benchmarks.harness import records
from benchmarks.harness.records import Record

#: What the README quotes between the markers of each name: files in benchmarks/results/.
SOURCES = {
    "gpu": ("nvidia-h200-2026-11-28.json",),
    "benchmarks": (
        "amd-epyc-family-26-model-2-2cpu-2026-11-25-targets.json",
        "amd-epyc-family-26-model-2-2cpu-2026-11-25-convergence.json",
    ),
}

README = ROOT / "README.md"


def markers(name: str) -> tuple[str, str]:
    """Between which lines a section lies."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def section(name: str) -> str:
    """The text between the markers of that name."""
    parts = []
    for source in SOURCES[name]:
        command = f"python -m benchmarks table benchmarks/results/{source}"
        parts += [summary(records.read(RESULTS / source)), f"`{command}` prints this."]
    return "\n\n".join(parts)


def summary(content: Record) -> str:
    """What is quoted of a record: the shortest form that its group has."""
    if content["group"] == "gpu":
        from benchmarks.groups.gpu.report import summary as quoted
    elif content["group"] == "convergence":
        from benchmarks.groups.convergence.table import summary as quoted
    elif content["group"] == "targets":
        from benchmarks.harness.report import summary as quoted
    else:
        from benchmarks.harness.registry import GROUPS

        quoted = GROUPS[content["group"]].functions.markdown
    return quoted(content)


def renewed(text: str) -> str:
    """The README's text with current sections.

    Raises
    ------
    ValueError
        If the markers are not there, once each and in order.
    """
    for name in SOURCES:
        begin, end = markers(name)
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise ValueError(f"the markers {begin} and {end} must be there, once each and in order")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{section(name)}\n{end}{rest.split(end)[1]}"
    return text


def main(arguments: list[str], path: Path = README) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    text = path.read_text(encoding="utf-8")
    try:
        current = renewed(text)
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    if current == text:
        return 0
    if options.check:
        print(f"{path} is not current: run `python -m benchmarks readme`", file=sys.stderr)
        return 1
    path.write_text(current, encoding="utf-8")
    return 0
