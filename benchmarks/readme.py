"""``python -m benchmarks readme``: the README's figures, from the committed results.

What lies between the two markers is generated; ``--check`` exits with 1 if it is not current.
"""

import argparse
import sys
from pathlib import Path

from benchmarks import records
from benchmarks.records import RESULTS, Record

#: What the README quotes, in this order: files in benchmarks/results/.
SOURCES = (
    "amd-epyc-family-26-model-2-2cpu-2026-11-25-targets.json",
    "amd-epyc-family-26-model-2-2cpu-2026-11-25-convergence.json",
)

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"


def section() -> str:
    """The text between the markers."""
    parts = []
    for source in SOURCES:
        command = f"python -m benchmarks table benchmarks/results/{source}"
        parts += [summary(records.read(RESULTS / source)), f"`{command}` prints this."]
    return "\n\n".join(parts)


def summary(content: Record) -> str:
    """What is quoted of a record: the shortest form that its group has."""
    if content["group"] == "gpu":
        from benchmarks.gpu.report import summary as quoted
    elif content["group"] == "convergence":
        from benchmarks.convergence.table import summary as quoted
    elif content["group"] == "targets":
        from benchmarks.report import summary as quoted
    else:
        from benchmarks.groups import GROUPS

        quoted = GROUPS[content["group"]].functions.markdown
    return quoted(content)


def renewed(text: str) -> str:
    """The README's text with a current section.

    Raises
    ------
    ValueError
        If the markers are not there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the markers {BEGIN} and {END} must be there, once each and in order")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{section()}\n{END}{rest.split(END)[1]}"


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
