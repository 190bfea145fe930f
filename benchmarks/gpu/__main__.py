"""``python -m benchmarks.gpu``: correctness, then all cases beside their peers on one GPU.

It prints Markdown and writes a JSON file after every case. Exit codes: 1 if an iterate is wrong,
2 if there is no GPU.
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from benchmarks import gpu

CEILINGS, FIGURE, SCAN = "ceilings", "figure3", "scan"
_PARTS = (CEILINGS, FIGURE, SCAN)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: proves that it runs")
    parser.add_argument(
        "--case",
        action="append",
        default=[],
        metavar="NAME",
        help=f"only this case, or one of {', '.join(_PARTS)}; repeatable",
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="NAME", help="all but this; repeatable"
    )
    parser.add_argument("--rounds", type=int, help="samples of each contender (11; quick: 3)")
    parser.add_argument("--seconds", type=float, help="length of a sample (0.1; quick: 0.005)")
    parser.add_argument(
        "--budget", type=float, default=420.0, help="seconds after which nothing is begun (420)"
    )
    parser.add_argument("--output", type=Path, help="JSON file (benchmarks/results/...)")
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace, known: list[str]) -> list[str]:
    """The names of what is to be run, in their order.

    Raises
    ------
    ValueError
        If a name is none of these.
    """
    unknown = sorted({*options.case, *options.skip} - set(known))
    if unknown:
        raise ValueError(f"unknown case {', '.join(unknown)}; known: {', '.join(known)}")
    return [name for name in known if name not in options.skip and name in (options.case or known)]


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if reason := gpu.reason():
        print(f"no benchmarks of the GPU: {reason}", file=sys.stderr)
        return 2
    gpu.fair_environment()
    from benchmarks.gpu import cases, device, report
    from benchmarks.records import write

    known = {case.name: case for case in cases.CASES}
    try:
        # Figure 3 has a target, the scan has none: it comes last, should time run out.
        names = chosen(options, [CEILINGS, *known, FIGURE, SCAN])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    rounds = options.rounds or (3 if options.quick else 11)
    seconds = options.seconds or (0.005 if options.quick else 0.1)
    content = report.document(device.describe(), rounds, seconds, options.quick)
    # A quick run proves that the suite works; its figures are not worth keeping.
    keep = bool(options.output) or not options.quick
    path = options.output or report.default_path(content)

    from benchmarks.gpu.session import Session

    session = Session(
        importlib.import_module("cupy"), content, rounds, seconds, options.quick, options.budget
    )
    if keep:
        session.save = lambda content: write(content, path)
    _run(session, [known[name] for name in names if name in known], names)
    content["machine"]["device"]["at_end"] = device.query()
    session.save(content)
    print(report.summary(content))
    if keep:
        print(f"\nwritten to {path}")
    return 0 if session.correct else 1


def _run(session: Any, cases: list[Any], names: list[str]) -> None:
    """All sections: correctness first."""
    from benchmarks.gpu import ceilings, figure3, report

    content = session.content

    def record(name: str, measured: Any) -> None:
        content[name] = measured

    for case in cases:
        session.attempt(
            case.name,
            f"correctness of {case.title}",
            lambda case=case: session.correctness(case),
        )
    if cases:
        print(report.correctness_table(content), end="\n\n", flush=True)
    if CEILINGS in names:
        session.attempt(
            CEILINGS,
            CEILINGS,
            lambda: record(
                CEILINGS,
                ceilings.measure(
                    session.xp,
                    ceilings.loop_module(),
                    session.rounds,
                    session.seconds,
                    session.quick,
                ),
            ),
        )
    for case in cases:
        session.attempt(case.name, case.title, lambda case=case: session.timed(case))
    if FIGURE in names:
        left = session.budget - session.spent
        limit = max(figure3.MUST, min(figure3.LIMIT, left + figure3.MUST))
        session.attempt(
            FIGURE, figure3.TITLE, lambda: record(FIGURE, figure3.measure(session.quick, limit))
        )
    if SCAN in names:
        session.attempt(SCAN, "numbers of blocks", session.scan)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
