"""The groups of the suite, their settings and their tables; no library is loaded here.

CPUs have to be pinned before that: the number of threads of BLAS is settled when it is loaded.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast


@dataclass(frozen=True)
class Settings:
    """How to measure; what is None is the group's own choice.

    ``cases`` are names of cases of steps, those of a full run if empty; ``backend`` is ours.
    """

    quick: bool = False
    rounds: int | None = None
    seconds: float | None = None
    cases: tuple[str, ...] = ()
    backend: str = "cpu"


class GroupModule(Protocol):
    """What the module of a group offers; a record is that of `benchmarks.harness.records`."""

    def measure(self, settings: Settings) -> dict[str, Any]:
        """Measure, print tables meanwhile, and return the record."""

    def markdown(self, content: dict[str, Any]) -> str:
        """Return all tables of a record."""

    def summary(self, content: dict[str, Any]) -> str:
        """Return the tables in the shortest form, as README and docs quote it."""

    def plots(self, content: dict[str, Any]) -> dict[str, bytes]:
        """Return SVG drawings by their titles."""


@dataclass(frozen=True)
class Group:
    """A group: its module, and the minutes that a run of either form takes on two cores.

    One `on_request` runs only where it is named.
    """

    name: str
    title: str
    module: str
    minutes: float
    quick_minutes: float
    on_request: bool = False

    @property
    def functions(self) -> GroupModule:
        """The module, imported when it is asked for."""
        return cast(GroupModule, importlib.import_module(self.module))


GROUPS = {
    group.name: group
    for group in (
        Group("targets", "Steps held to their targets", "benchmarks.groups.targets", 9.0, 1.2),
        Group(
            "step",
            "A gradient step, one thing varied at a time",
            "benchmarks.groups.step",
            5.0,
            0.6,
        ),
        Group("scaling", "Scaling and memory", "benchmarks.groups.scaling.measure", 2.0, 0.4),
        Group("convergence", "Seconds to the optimum", "benchmarks.groups.convergence", 11.0, 0.6),
        Group("startup", "Start-up and size", "benchmarks.groups.startup", 1.0, 0.6),
        Group(
            "matrix",
            "Networks of square matrices",
            "benchmarks.groups.matrix",
            6.0,
            0.6,
            on_request=True,
        ),
        Group(
            "recording",
            "What is recorded of a run",
            "benchmarks.groups.recording.measure",
            3.0,
            0.5,
            on_request=True,
        ),
    )
}

#: What a run measures that names no group.
DEFAULT = tuple(name for name, group in GROUPS.items() if not group.on_request)


#: Modules with ``summary(content)`` for the records of the other commands.
_OTHERS = {
    "gpu": "benchmarks.groups.gpu.report",
    "estimators": "benchmarks.groups.estimators",
    "methods": "benchmarks.groups.methods",
    "completion": "benchmarks.groups.completion",
    "losses": "benchmarks.groups.losses",
    "minibatches": "benchmarks.groups.minibatches",
    "distributed": "benchmarks.groups.distributed.page",
}


def summary(content: dict[str, Any]) -> str:
    """The tables of a record in the shortest form that its group has."""
    name = content["group"]
    module = GROUPS[name].module if name in GROUPS else _OTHERS[name]
    return str(importlib.import_module(module).summary(content))


def brief(content: dict[str, Any]) -> str:
    """A few cases of a record of ``targets``, without what was asked of them.

    Raises
    ------
    ValueError
        If it is a record of another group.
    """
    if content["group"] != "targets":
        raise ValueError(f"a record of {content['group']!r} has no brief form, 'targets' has one")
    return str(importlib.import_module(GROUPS["targets"].module).brief(content))


def estimate(names: Sequence[str], quick: bool) -> float:
    """Minutes that a run takes on two cores."""
    return sum(GROUPS[name].quick_minutes if quick else GROUPS[name].minutes for name in names)
