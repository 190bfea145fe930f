"""``python -m benchmarks``: groups of benchmarks, and what can be done with their results.

    python -m benchmarks [GROUP ...] [--quick]      measure, write JSON, Markdown and HTML
    python -m benchmarks table RESULT.json          the tables of an earlier run
    python -m benchmarks compare OLD.json NEW.json  what has become slower beyond the noise
    python -m benchmarks readme [--check]           renew the figures in README.md
    python -m benchmarks pytest [ARGUMENTS]         the steps under pytest-benchmark

``python -m benchmarks.gpu`` measures steps on a GPU.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import machine


def parse(arguments: list[str]) -> argparse.Namespace:
    from benchmarks.groups import GROUPS, REPORT

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; by default all"
    )
    parser.add_argument("--quick", action="store_true", help="a minute a group: it runs, no more")
    parser.add_argument(
        "--case", action="append", default=[], metavar="NAME",
        help="only this case, of targets and step; repeatable",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, help="samples of each contender")
    parser.add_argument("--seconds", type=float, help="length of a sample of a step")
    parser.add_argument("--threads", type=int, default=2, help="CPUs for every contender (2)")
    parser.add_argument(
        "--backend", choices=("cpu", "cuda"), default="cpu",
        help="of the group convergence: ours, and the device of PyTorch and JAX",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path,
        help=f"folder ({os.path.relpath(REPORT)}; quick/, cases/, cuda/ in it with these options)",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="keep what the folder has of this commit and machine"
    )
    parser.add_argument(
        "--keep-blas", action="store_true", help=f"leave {machine.BLAS_OVERRIDE} as it is"
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.groups) - set(GROUPS))
    if unknown:
        parser.error(f"unknown group {', '.join(unknown)}; known: {', '.join(GROUPS)}")
    # What is not the whole of a group must not take the place of what is.
    parts = (options.quick, "quick"), (options.case, "cases"), (options.backend == "cuda", "cuda")
    options.output = options.output or REPORT.joinpath(*(name for given, name in parts if given))
    return options


def pin(threads: int) -> None:
    """Restrict the process to `threads` CPUs: the only limit that every library respects.

    It must happen before any of them is imported.
    """
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[: max(1, threads)])


def table(arguments: list[str]) -> int:
    """The tables of an earlier run; measures nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks table", description=table.__doc__)
    parser.add_argument("result", type=Path, metavar="RESULT.json", help="what a run has written")
    path = parser.parse_args(arguments).result

    from benchmarks import readme, records

    try:
        content = records.read(path)
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    print(readme.summary(content))
    return 0


def compare(arguments: list[str]) -> int:
    from benchmarks import compare

    return compare.main(arguments)


def readme(arguments: list[str]) -> int:
    from benchmarks import readme

    return readme.main(arguments)


def under_pytest(arguments: list[str]) -> int:
    machine.restart_without_override(["pytest", *arguments])
    import pytest

    return pytest.main([str(Path(__file__).parent), *arguments])


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "table": table,
    "compare": compare,
    "readme": readme,
    "pytest": under_pytest,
}


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    options = parse(arguments)
    if not options.keep_blas:
        machine.restart_without_override(arguments)
    pin(options.threads)
    if options.backend == "cuda":
        from benchmarks import gpu

        if reason := gpu.reason():
            print(f"no benchmarks of the GPU: {reason}", file=sys.stderr)
            return 2
        gpu.fair_environment()

    from benchmarks import cases, groups, step, suite

    known = {"targets": cases.CASES, "step": step.CASES}
    names = {group: {case.name for case in found} for group, found in known.items()}
    unknown = sorted(set(options.case).difference(*names.values()))
    if unknown:
        every = ", ".join(sorted(set().union(*names.values())))
        print(f"unknown case {', '.join(unknown)}; known: {every}", file=sys.stderr)
        return 2
    chosen = options.groups or list(groups.GROUPS)
    if options.case:
        chosen = [group for group in chosen if names.get(group, set()) & set(options.case)]
    settings = groups.Settings(
        options.quick, options.rounds, options.seconds, tuple(options.case), options.backend
    )
    written = suite.run(chosen, settings, options.output, options.resume)
    print(f"\nwritten: {', '.join(map(str, written))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
