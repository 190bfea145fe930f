"""Compile the CUDA kernels of the tests and the benchmarks: ``python -m accel.kernels.cuda.warm``.

It plans all that ``pytest -m gpu tests/kernels`` and ``benchmarks gpu`` would launch (``planning``)
and has it compiled in parallel processes into the cache on the disk. What it does not plan, such as
``tests.kernels.cuda.checks``, is compiled where it is launched. No device is needed with
``--capability``; else the driver is asked what the first one has, and nothing is run there. The
last line sums up. Exit codes: 0 if every kernel is in the cache, 1 if not, 2 if there is nothing to
be done here.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..system.cpus import present
from . import planning
from .pool import COMPILED, FAILED, FOUND, Outcome, Pool

#: Where the checkout is that this file is part of.
_ROOT = Path(__file__).resolve().parents[2]
#: Of what kernels are planned: by a folder that a checkout has, and a module with its arguments.
_PARTS = {
    "benchmarks": ("benchmarks/groups/gpu", ["benchmarks.groups.gpu.plan"]),
    "tests": ("tests/kernels", [
        "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "--ignore", "tests/kernels/cuda",
        "tests/kernels", "tests/accel/test_on_device.py",
    ]),
}  # fmt: skip
#: Seconds between two looks at what has been planned.
_PAUSE = 0.1


class _Nothing(Exception):
    """Says why there is nothing to be done."""


class _Plan:
    """A process that plans a part, and its kernels so far."""

    def __init__(self, part: str, device: planning.Device, folder: Path) -> None:
        self.part, self._path, self._log = part, folder / f"{part}.plan", folder / f"{part}.log"
        self._path.touch()
        self._rest = ""
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        environment = os.environ | {
            planning.PLANNING: planning.text_of(device), planning.PLAN: str(self._path),
            "CUDA_VISIBLE_DEVICES": "",
            # The process has another current folder.
            "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in paths if path),
        }  # fmt: skip
        self._file = self._path.open(encoding="ascii")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *_PARTS[part][1]], cwd=_ROOT, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def new(self) -> list[list[str]]:
        """Return names and recipes that have come since the last call."""
        *whole, self._rest = (self._rest + self._file.read()).split("\n")
        return [line.split() for line in whole]

    @property
    def ended(self) -> bool:
        """Whether nothing will come any more; ask before what has come is read."""
        return self._process.poll() is not None

    @property
    def complaint(self) -> str:
        """The error messages; empty if there were none."""
        if not self._process.returncode:
            return ""
        said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        return f"planning the {self.part} ended with code {self._process.returncode}:\n{said}"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._file.close()


def _first_device() -> planning.Device:
    """Ask the driver what the first device has; no context is made on it."""
    try:
        from cuda.bindings import driver

        def ask(function: Any, *arguments: Any) -> Any:
            status, *results = function(*arguments)
            if status != driver.CUresult.CUDA_SUCCESS:
                raise RuntimeError(status.name)
            return results[0] if results else None

        ask(driver.cuInit, 0)
        first, names = ask(driver.cuDeviceGet, 0), driver.CUdevice_attribute
        prefix = "CU_DEVICE_ATTRIBUTE_"
        return planning.Device(
            *(
                int(ask(driver.cuDeviceGetAttribute, getattr(names, prefix + name), first))
                for name in (
                    "COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR", "MULTIPROCESSOR_COUNT",
                    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN",
                )
            )
        )  # fmt: skip
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise _Nothing(
            f"there is no CUDA device here ({reason}); --capability 9.0 names one to compile for"
        ) from None


def _parts(wanted: list[str]) -> list[str]:
    here = [part for part, (folder, _) in _PARTS.items() if (_ROOT / folder).is_dir()]
    missing = [part for part in wanted if part not in here]
    if missing or not here:
        raise _Nothing(
            f"{_ROOT} has no {' and no '.join(missing or _PARTS)}: kernels are compiled ahead "
            "in a checkout of the repository only"
        )
    return [part for part in here if part in wanted or not wanted]


class _Count:
    """The outcomes so far; the reasons of failures are printed, each once."""

    def __init__(self) -> None:
        self.kinds = dict.fromkeys((COMPILED, FOUND, FAILED), 0)
        self._reasons: dict[str, int] = {}

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.kinds[outcome.kind] += 1
        if outcome.kind == FAILED:
            if outcome.reason not in self._reasons:
                print(f"{outcome.name}: {outcome.reason}", flush=True)
            self._reasons[outcome.reason] = self._reasons.get(outcome.reason, 0) + 1

    def tell_the_rest(self) -> None:
        """Print how many more had a reason that has been printed."""
        for reason, count in self._reasons.items():
            if count > 1:
                print(f"{count - 1} more: {reason}")


def _run(plans: list[_Plan], pool: Pool, count: _Count, until: float, listing: bool) -> bool:
    """Have all that is planned compiled, or printed; return whether planning came to its end."""
    names: set[str] = set()
    while True:
        ended = all(plan.ended for plan in plans)
        for name, recipe in (line for plan in plans for line in plan.new()):
            if name not in names:
                names.add(name)
                if listing:
                    print(name, flush=True)
                else:
                    pool.add(name, recipe)
        for outcome in pool.outcomes(_PAUSE):
            count.add(outcome)
        if (ended and not pool.left) or time.monotonic() > until:
            return ended
        if not pool.left:
            time.sleep(_PAUSE)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m accel.kernels.cuda.warm", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{' or '.join(_PARTS)}; both by default"
    )
    parser.add_argument("--jobs", type=int, default=present(), help="processes (CPUs)")
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="after so many the rest is given up (600)"
    )
    parser.add_argument("--capability", help="compute capability to compile for, such as 9.0")
    parser.add_argument("--list", action="store_true", help="print names, compile nothing")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(_PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(_PARTS)}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    return options


def main(arguments: list[str]) -> int:
    """Do what the module's docstring says."""
    options, began = _options(arguments), time.monotonic()
    try:
        parts = _parts(options.parts)
        asked = options.capability
        device = planning.device_of(asked) if asked else _first_device()
    except (_Nothing, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, Pool(options.jobs, device) as pool:
        plans: list[_Plan] = []
        try:
            for part in parts:
                plans.append(_Plan(part, device, Path(folder)))
            count = _Count()
            planned = _run(plans, pool, count, began + options.seconds, options.list)
            complaints = [plan.complaint for plan in plans if plan.ended and plan.complaint]
            left = pool.left
        finally:
            for plan in plans:
                plan.close()
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    whole = planned and not complaints and not left
    if options.list:
        return 0 if whole else 1
    count.tell_the_rest()
    compiled, found, failed = count.kinds.values()
    print(
        f"kernels for sm_{device.major}{device.minor}: {compiled} compiled, {found} found, "
        f"{failed} failed, {'' if planned else 'at least '}{left} not reached, "
        f"{time.monotonic() - began:.0f} s",
        flush=True,
    )
    return 0 if whole and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
