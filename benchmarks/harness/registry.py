"""The groups of the suite and their settings; no library is loaded here.

CPUs have to be pinned before that: the number of threads of BLAS is settled when it is loaded.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How to measure; what is None is the group's own choice.

    ``cases`` are names of cases of steps, all of them if empty; ``backend`` is ours.
    """

    quick: bool = False
    rounds: int | None = None
    seconds: float | None = None
    cases: tuple[str, ...] = ()
    backend: str = "cpu"


@dataclass(frozen=True)
class Group:
    """A group: its module has ``measure(settings)``, ``markdown(record)`` and ``plots(record)``.

    The first returns a record, the last one SVG drawings by their titles. ``minutes`` and
    ``quick_minutes`` are what a run takes on two cores.
    """

    name: str
    title: str
    module: str
    minutes: float
    quick_minutes: float

    @property
    def functions(self) -> Any:
        """The module, imported when it is asked for."""
        return importlib.import_module(self.module)


GROUPS = {
    group.name: group
    for group in (
        Group("targets", "Steps held to their targets", "benchmarks.groups.targets", 5.5, 0.9),
        Group(
            "step",
            "A gradient step, one thing varied at a time",
            "benchmarks.groups.step",
            5.0,
            0.6,
        ),
        Group("scaling", "Scaling and memory", "benchmarks.groups.scaling.measure", 2.0, 0.4),
        Group("convergence", "Seconds to the optimum", "benchmarks.groups.convergence", 11.0, 0.6),
        Group("startup", "Start-up and size", "benchmarks.groups.startup", 1.5, 0.6),
    )
}


def estimate(names: Sequence[str], quick: bool) -> float:
    """Minutes that a run takes on two cores."""
    return sum(GROUPS[name].quick_minutes if quick else GROUPS[name].minutes for name in names)
