"""``python -m benchmarks table RECORD``: the tables of an earlier run; measures nothing."""

import argparse
import sys
from pathlib import Path

from benchmarks.harness import records, registry


def main(arguments: list[str]) -> int:
    """Exit code 2 if the file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks table", description=__doc__)
    parser.add_argument("record", type=Path, metavar="RECORD", help="what a run has written")
    parser.add_argument(
        "--brief", action="store_true", help="a few cases without their targets, of `targets` only"
    )
    options = parser.parse_args(arguments)
    path = options.record
    try:
        content = records.read(path)
        text = registry.brief(content) if options.brief else registry.summary(content)
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0
