"""One run of the suite: case after case, each recorded as soon as it is done."""

import contextlib
import functools
import gc
import math
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.groups.gpu import data
from benchmarks.groups.gpu.cases import BLOCKS, CASES, ON_GPU, SCANNED
from benchmarks.harness import timing
from benchmarks.harness.cases import LEFT_OUT, OURS, Case, Contenders
from benchmarks.harness.reference import TOLERANCE, check, reference_params
from benchmarks.harness.session import add, timed
from benchmarks.peers import Descent, Gap, Stepper, Sweep
from benchmarks.peers.common import one_line


def built(case: Case, quick: bool, xp: Any) -> tuple[Descent | Sweep, str, np.ndarray]:
    """A case's run with its data on the GPU, where they come from, and the iterate to meet."""
    run, source = case.descent(1, quick, data.load)
    first = run.first if isinstance(run, Sweep) else run
    # Data that were made on the GPU are judged there.
    on_host = isinstance(first.X, np.ndarray)
    gradient = None if on_host else data.blocked_gradient(first, xp)
    return data.brought(run, xp), source, reference_params(run, gradient)


@dataclass
class Session:
    """A run under way: how it measures, and its record.

    `xp` is CuPy; `save` is called whenever there is something new in `content`; contenders that are
    `left_out` are gaps.
    """

    xp: Any
    content: dict[str, Any]
    rounds: int
    seconds: float
    quick: bool
    budget: float
    contenders: Contenders = field(default_factory=lambda: ON_GPU)
    save: Callable[[dict[str, Any]], object] = lambda content: None
    left_out: frozenset[str] = frozenset()
    began: float = field(default_factory=time.perf_counter)

    @property
    def correct(self) -> bool:
        """Whether everything that was held to the reference agreed with it."""
        return all(row["agrees"] for row in self.content["correctness"])

    @property
    def spent(self) -> float:
        """Seconds since the session began."""
        return time.perf_counter() - self.began

    def attempt(self, name: str, title: str, section: Callable[[], None]) -> None:
        """Run a section; if it fails, record that and go on."""
        try:
            if self.spent > self.budget:
                raise Gap(f"left out: the {self.budget:g} s of the whole run are over")
            section()
        except Exception as error:
            message = str(error)
            if not isinstance(error, Gap):
                message = f"failed: {one_line(error)}"
                traceback.print_exc()
            self.content["failed"].append({"name": name, "title": title, "message": message})
            print(f"{title}: {message}\n", file=sys.stderr, flush=True)
        self.content["seconds"] = self.spent
        self.save(self.content)
        free(self.xp)

    def timed(self, case: Case) -> None:
        """Time all contenders of a case; one that cannot run here, or is wrong, is a gap.

        Each is held to the reference first. Ours comes before the others: on a warm cache that
        takes hundredths of a second, and if it is off there is nothing to be timed.
        """
        run, source, reference = built(case, self.quick, self.xp)
        left_out = self.contenders.left_out(self.quick) | dict.fromkeys(self.left_out, LEFT_OUT)
        build = functools.partial(self._held_or_gap, case, run=run, reference=reference)
        samples = timed(case, build, self.rounds, self.seconds, pause=0.0, left_out=left_out)
        add(self.content, case, source, run, samples)

    def scan(self) -> None:
        """Time resident runs with every number of blocks."""
        for case in (case for case in CASES if case.name in SCANNED):
            run, source, reference = built(case, self.quick, self.xp)
            steppers, rows = {}, []
            for blocks in BLOCKS:
                label = f"{blocks} blocks"
                try:
                    steppers[str(blocks)] = self._held(
                        case, OURS, run, reference, label, blocks=blocks
                    )
                except Exception as error:  # too few for the data, for one
                    rows.append({"blocks": blocks, "gap": one_line(error)})
            for s in timing.interleaved(steppers, self.rounds, self.seconds / 2, pause=0.0):
                rows.append(
                    {
                        "blocks": int(s.name),
                        "engine": s.note,
                        "median_us": 1e6 * s.median,
                        "iqr_us": 1e6 * s.iqr,
                        "samples": [1e6 * seconds for seconds in s.seconds],
                    }
                )
            rows.sort(key=lambda row: row["blocks"])
            self.content["scan"].append(
                {"case": case.name, "dtype": case.dtype, "data": source, "rows": rows}
            )
            self.save(self.content)

    def _held_or_gap(
        self, case: Case, name: str, run: Descent | Sweep, reference: np.ndarray
    ) -> Stepper:
        """A contender as `_held` has it; whatever goes wrong inside a peer is its gap."""
        try:
            return self._held(case, name, run, reference)
        except Exception as error:
            if name == OURS or isinstance(error, Gap):
                raise
            traceback.print_exc()
            raise Gap(f"fails here: {one_line(error)}") from error

    def _held(
        self,
        case: Case,
        name: str,
        run: Descent | Sweep,
        reference: np.ndarray,
        label: str = "",
        **options: Any,
    ) -> Stepper:
        """A contender whose first steps lead where the reference is; the outcome is recorded.

        `label` is what it is recorded as, by default its name.
        """
        row: dict[str, Any] = {"case": case.name, "contender": label or name, "agrees": False}
        tolerance, watch = TOLERANCE[case.dtype], timing.Stopwatch()
        try:
            with watch:
                stepper = self.contenders.build(name, run, **options)
                error = check(name, stepper, run, reference)
        except Exception as problem:
            if row["contender"] == OURS:
                self.content["correctness"].append(row | {"message": one_line(problem)})
            raise
        print(f"{case.name}: {label or name} ready after {watch.seconds:.1f} s", file=sys.stderr)
        row |= {
            "tolerance": tolerance,
            "agrees": error <= tolerance,
            "setup_seconds": watch.seconds,
        }
        row["error"] = error if math.isfinite(error) else None
        self.content["correctness"].append(row)
        if not row["agrees"]:
            raise Gap(f"iterate off by {error:.2e}, more than {tolerance:.0e}")
        return stepper


def free(xp: Any) -> None:
    """Give back what the last section held on the GPU."""
    gc.collect()
    # After an error of the device these fail as well, which must not end the run.
    with contextlib.suppress(Exception):
        if hasattr(xp, "get_default_memory_pool"):
            xp.get_default_memory_pool().free_all_blocks()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
