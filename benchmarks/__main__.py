"""``python -m benchmarks``: all contenders interleaved, a Markdown table and a JSON file.

``python -m benchmarks pytest [arguments]`` runs the pytest suite in the same clean environment;
``python -m benchmarks table RESULT.json`` prints the table for the README from such a file.
``python -m benchmarks.gpu`` is the same for a GPU.
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks import machine


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: proves that it runs")
    parser.add_argument(
        "--case", action="append", metavar="NAME", help="only this case; repeatable"
    )
    parser.add_argument("--rounds", type=int, help="samples of each contender (15; quick: 3)")
    parser.add_argument("--seconds", type=float, help="length of a sample (0.15; quick: 0.01)")
    parser.add_argument("--threads", type=int, default=2, help="CPUs for every contender (2)")
    parser.add_argument("--output", type=Path, help="JSON file (benchmarks/results/...)")
    parser.add_argument("--no-startup", action="store_true", help="skip import and first call")
    parser.add_argument(
        "--keep-blas", action="store_true", help=f"leave {machine.BLAS_OVERRIDE} as it is"
    )
    return parser.parse_args(arguments)


def pin(threads: int) -> None:
    """Restrict the process to `threads` CPUs: the only limit that every library respects.

    It must happen before any of them is imported.
    """
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[: max(1, threads)])


def table(arguments: list[str]) -> int:
    """The closing table of an earlier run; measures nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks table", description=table.__doc__)
    parser.add_argument("result", type=Path, metavar="RESULT.json", help="what a run has written")
    path = parser.parse_args(arguments).result

    from benchmarks import report

    try:
        content = report.read(path)
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    if content.get("kind") == "gpu":
        from benchmarks.gpu.report import summary
    else:
        summary = report.summary
    print(summary(content))
    return 0


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["table"]:
        return table(arguments[1:])
    if arguments[:1] == ["pytest"]:
        machine.restart_without_override(arguments)
        import pytest

        return pytest.main([str(Path(__file__).parent), *arguments[1:]])

    options = parse(arguments)
    if not options.keep_blas:
        machine.restart_without_override(arguments)
    pin(options.threads)

    from benchmarks import cases, report, startup, timing

    known = {case.name: case for case in cases.CASES}
    unknown = sorted(set(options.case or ()) - set(known))
    if unknown:
        print(f"unknown case {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    quick = options.quick
    rounds = options.rounds or (3 if quick else 15)
    seconds = options.seconds or (0.01 if quick else 0.15)
    skip = ("PyTorch compiled",) if quick else ()

    records = []
    for name in options.case or known:
        run, source = known[name].descent(machine.peer_threads(), quick)
        samples = timing.measure(known[name], run, rounds, seconds, skip)
        records.append(report.case_record(known[name], source, run, samples))
        print(report.case_table(records[-1]), end="\n\n", flush=True)
    startups = []
    if not options.no_startup:
        startups = [startup.import_time(1 if quick else 5), *startup.first_train(1 if quick else 3)]

    content = report.document(records, startups, rounds, quick)
    print(report.summary(content))
    # A quick run proves that the suite works; its figures are not worth keeping.
    if options.output or not quick:
        print(f"\nwritten to {report.write(content, options.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
