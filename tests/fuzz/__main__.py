"""``python -m tests.fuzz TARGET --minutes 10 --seed 1``: examples until the time is up.

Prints what it found, each kind once, smallest examples first where they shrink; the inputs are kept
in a folder. The exit code is 1 if there was anything.
"""

import argparse
import faulthandler
import re
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import hypothesis

from .targets import TARGETS

_BATCH = 200  # examples of one seed
_STUCK = 120.0  # seconds; nothing here takes that long, however busy the machine


def _signature(error):
    """The key that tells one bug from another: the type of error, its place and its message."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    words = re.sub(r"[^a-zA-Z ]+|/\S*", "", str(error))[:40]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} {words!r}"


class Fuzzer:
    """The examples of one target, and the bugs that they found."""

    def __init__(self, target, folder, ends):
        self._target, self._folder, self._ends = target, folder, ends
        self.examples, self.bugs = 0, {}
        self._failure = None

    def _example(self, case):
        if time.monotonic() > self._ends:
            return
        self.examples += 1
        (self._folder / "case.txt").write_text(repr(case))  # in case the process dies of it
        faulthandler.dump_traceback_later(_STUCK, exit=True, file=sys.__stderr__)
        try:
            self._target.check(case, self._folder)
        except Exception as error:
            if _signature(error) in self.bugs:
                self.bugs[_signature(error)] += 1
                return
            self._failure = case, error
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()

    def batch(self, seed):
        """Run one batch, up to the first example that finds something new."""
        run = hypothesis.given(self._target.strategy)(self._example)
        run = hypothesis.settings(
            max_examples=_BATCH, deadline=None, database=None, phases=self._target.phases,
            suppress_health_check=list(hypothesis.HealthCheck), report_multiple_bugs=False,
        )(run)  # fmt: skip
        self._failure = None
        try:
            hypothesis.seed(seed)(run)()
        except Exception:
            if self._failure is None:
                raise
        if self._failure is not None:
            self._note(*self._failure)

    def _note(self, case, error):
        self.bugs[_signature(error)] = 1
        number = len(self.bugs)
        print(f"\nfound {number}: {case!r}", flush=True)
        traceback.print_exception(error, limit=-4, file=sys.stdout)
        for path in self._folder.glob("input*"):
            kept = path.with_name(f"found-{number}{path.suffix}")
            shutil.copytree(path, kept) if path.is_dir() else shutil.copy(path, kept)
            print(f"its input: {kept}", flush=True)
        (self._folder / f"found-{number}.txt").write_text(
            f"{case!r}\n" + "".join(traceback.format_exception(error))
        )


def main():
    """Run one target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="for the inputs; a new one by default")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix=f"fuzz-{given.target}-"))
    folder.mkdir(parents=True, exist_ok=True)
    faulthandler.enable()
    began, cpu, number = time.monotonic(), time.process_time(), 0
    fuzzer = Fuzzer(TARGETS[given.target], folder, began + 60 * given.minutes)
    while time.monotonic() < began + 60 * given.minutes:
        fuzzer.batch(given.seed * 10**6 + number)
        number += 1
    counts = ", ".join(f"{kind} ({count})" for kind, count in fuzzer.bugs.items())
    print(
        f"{given.target}: {fuzzer.examples} examples in {(time.monotonic() - began) / 60:.1f} min "
        f"({(time.process_time() - cpu) / 60:.2f} of the CPU), seed {given.seed}, "
        f"found {len(fuzzer.bugs)}: {counts or 'nothing'}"
    )
    return 1 if fuzzer.bugs else 0


if __name__ == "__main__":
    sys.exit(main())
