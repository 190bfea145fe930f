"""``python -m benchmarks keep RECORD...``: write slim copies into ``benchmarks/results/``.

They have all that the tables and ``compare`` read, a line a row, and no raw samples or curves.
"""

import argparse
import sys
from pathlib import Path

from benchmarks import RESULTS
from benchmarks.harness import records


def main(arguments: list[str]) -> int:
    """Exit code 2 if a file cannot be read, or is of the quick form."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks keep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("records", type=Path, nargs="+", metavar="RECORD")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="benchmarks/results")
    options = parser.parse_args(arguments)
    for path in options.records:
        try:
            content = records.read(path)
            if content["quick"]:
                raise ValueError("a quick run proves that it runs, and its figures are not kept")
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 2
        name = records.file_name(content)
        print(records.write(records.slim(content), options.folder / name))
    return 0
