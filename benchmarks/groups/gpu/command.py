"""``python -m benchmarks gpu``: all cases beside their peers on one GPU, the most valuable first.

Every contender's iterate is held to the reference right before it is timed. It prints Markdown and
writes a JSON file after every case. Exit codes: 1 if an iterate is wrong or something was not
measured, 2 if there is no GPU.
"""

import argparse
import functools
import importlib
import sys
from pathlib import Path
from typing import Any

from benchmarks.groups import gpu
from benchmarks.groups.gpu.cases import CASES, CEILINGS, FIGURE, PEERS, SCAN, in_order, left_out


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: proves that it runs")
    parser.add_argument(
        "--case",
        action="append",
        default=[],
        metavar="NAME",
        help=f"only this, in the same order: {', '.join(in_order())}; repeatable",
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="NAME", help="all but this; repeatable"
    )
    parser.add_argument(
        "--peers",
        metavar="NAME[,NAME...]",
        help=f"only these beside accel: {', '.join(PEERS)}; none for accel alone (all)",
    )
    parser.add_argument("--rounds", type=int, help="samples of each contender (11; quick: 3)")
    parser.add_argument("--seconds", type=float, help="length of a sample (0.1; quick: 0.005)")
    parser.add_argument(
        "--budget", type=float, default=420.0, help="seconds after which nothing is begun (420)"
    )
    parser.add_argument("--output", type=Path, help="JSON file (benchmarks/report/...)")
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
    from benchmarks.groups.gpu import device, report
    from benchmarks.harness.records import write

    try:
        names, absent = chosen(options, in_order()), left_out(options.peers)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    rounds = options.rounds or (3 if options.quick else 11)
    seconds = options.seconds or (0.005 if options.quick else 0.1)
    content = report.document(device.describe(), rounds, seconds, options.quick)
    # A quick run proves that the suite works; its figures are not worth keeping.
    keep = bool(options.output) or not options.quick
    path = options.output or report.default_path(content)

    from benchmarks.groups.gpu.session import Session

    session = Session(
        importlib.import_module("cupy"),
        content,
        rounds,
        seconds,
        options.quick,
        options.budget,
        left_out=absent,
    )
    if keep:
        session.save = lambda content: write(content, path)
    _run(session, names)
    content["machine"]["device"]["at_end"] = device.query()
    session.save(content)
    print(report.summary(content))
    if keep:
        print(f"\nwritten to {path}")
    return 0 if session.correct and not content["failed"] else 1


def _run(session: Any, names: list[str]) -> None:
    """All sections, in the order of their names."""
    from benchmarks.groups.gpu import ceilings, figure3

    content, known = session.content, {case.name: case for case in CASES}

    def measure_ceilings() -> None:
        content[CEILINGS] = ceilings.measure(
            session.xp,
            ceilings.loop_module(),
            session.rounds,
            session.seconds,
            session.quick,
        )

    def measure_figure() -> None:
        limit = max(figure3.MUST, min(figure3.LIMIT, session.budget - session.spent))
        content[FIGURE] = figure3.measure(session.quick, limit)

    for name in names:
        if name == CEILINGS:
            session.attempt(name, CEILINGS, measure_ceilings)
        elif name == FIGURE:
            session.attempt(name, figure3.TITLE, measure_figure)
        elif name == SCAN:
            session.attempt(name, "numbers of blocks", session.scan)
        else:
            case = known[name]
            session.attempt(name, case.title, functools.partial(session.timed, case))
