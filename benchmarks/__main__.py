"""``python -m benchmarks``: measure, and work with what was measured.

    python -m benchmarks [GROUP ...] [--quick]   groups on the CPU: JSON, Markdown and HTML
    python -m benchmarks gpu                     all cases on a GPU beside their peers there
    python -m benchmarks gpu merge OUT PART...   one record of several runs on a GPU
    python -m benchmarks gpu fit RECORD...       the costs of the planner, from records of GPUs
    python -m benchmarks estimators              LpRegressor beside scikit-learn, SciPy and skglm
    python -m benchmarks methods                 singular vectors and row space beside doing without
    python -m benchmarks completion              matrix completion beside loops of PyTorch
    python -m benchmarks losses                  a step of every loss beside one of p = 4
    python -m benchmarks minibatches             steps of batches, schedules, noise; beside loops
    python -m benchmarks distributed             a step on a dask cluster
    python -m benchmarks probes NAME             tiles, denormals, oversubscription or leaks
    python -m benchmarks shapes                  which shapes of the passes suit this machine
    python -m benchmarks table RECORD            the tables of an earlier run
    python -m benchmarks compare OLD NEW         what has become slower beyond the noise
    python -m benchmarks keep RECORD...          put what the tables read into benchmarks/results/
    python -m benchmarks readme [--check]        renew the figures of README.md and docs/
    python -m benchmarks pytest [ARGUMENTS]      the same cases under pytest-benchmark

All but the first have options of their own: ``python -m benchmarks gpu --help``.
"""

import argparse
import fnmatch
import importlib
import itertools
import os
import sys
from pathlib import Path

from benchmarks import REPORT
from benchmarks.harness import machine
from benchmarks.harness.registry import DEFAULT, GROUPS, Settings

#: The commands beside a run of groups: modules with ``main(arguments)``, imported when called.
COMMANDS = {
    "gpu": "benchmarks.groups.gpu.command",
    "gpu merge": "benchmarks.groups.gpu.merge",
    "gpu fit": "benchmarks.groups.gpu.fit",
    "estimators": "benchmarks.groups.estimators",
    "methods": "benchmarks.groups.methods",
    "completion": "benchmarks.groups.completion",
    "losses": "benchmarks.groups.losses",
    "minibatches": "benchmarks.groups.minibatches",
    "distributed": "benchmarks.groups.distributed.measure",
    "probes tiles": "benchmarks.probes.tiles",
    "probes denormals": "benchmarks.probes.denormals",
    "probes oversubscription": "benchmarks.probes.oversubscription",
    "probes leaks": "benchmarks.probes.leaks",
    "shapes": "benchmarks.shapes",
    "table": "benchmarks.harness.table",
    "compare": "benchmarks.harness.compare",
    "keep": "benchmarks.harness.keep",
    "readme": "benchmarks.harness.readme",
}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP",
        help=f"of {', '.join(GROUPS)}; by default {', '.join(DEFAULT)}",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a minute a group: it runs, no more")
    parser.add_argument(
        "--case", action="append", default=[], metavar="NAME",
        help="only this case, of targets, step and matrix, or those that a pattern such as "
        "'square*' matches; repeatable",
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
    # The results of a part of a group do not replace those of a whole one.
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


def _under_pytest(arguments: list[str]) -> int:
    machine.restart_without_override()
    import pytest

    return pytest.main([str(Path(__file__).parent), *arguments])


def main(arguments: list[str]) -> int:
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in COMMANDS:
            return importlib.import_module(COMMANDS[name]).main(arguments[words:])
    if arguments[:1] == ["pytest"]:
        return _under_pytest(arguments[1:])
    if arguments[:1] == ["probes"]:
        probes = [name for name in COMMANDS if name.startswith("probes ")]
        print(f"python -m benchmarks {', or '.join(probes)}", file=sys.stderr)
        return 2
    options = parse(arguments)
    if not options.keep_blas:
        machine.restart_without_override()
    pin(options.threads)
    if options.backend == "cuda":
        from benchmarks.groups import gpu

        if reason := gpu.reason():
            print(f"no benchmarks of the GPU: {reason}", file=sys.stderr)
            return 2
        gpu.fair_environment()

    from benchmarks.groups import matrix, step
    from benchmarks.harness import suite
    from benchmarks.harness.cases import CASES

    known = {"targets": CASES, "step": step.CASES, "matrix": matrix.CASES}
    names = {group: [case.name for case in cases] for group, cases in known.items()}
    every = [name for some in names.values() for name in some]
    found = {given: fnmatch.filter(every, given) for given in options.case}
    unknown = sorted(given for given, matched in found.items() if not matched)
    if unknown:
        print(f"unknown case {', '.join(unknown)}; known: {', '.join(every)}", file=sys.stderr)
        return 2
    chosen, cases = options.groups or list(DEFAULT), tuple(itertools.chain(*found.values()))
    if cases:
        asked = options.groups or list(GROUPS)
        chosen = [group for group in asked if set(names.get(group, ())).intersection(cases)]
    settings = Settings(options.quick, options.rounds, options.seconds, cases, options.backend)
    written = suite.run(chosen, settings, options.output, options.resume)
    print(f"\nwritten: {', '.join(map(str, written))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
