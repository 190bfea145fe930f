"""What an atlas covers: its problems, the models that are trained on each, and the seeds."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from accel._support import validation
from accel.experiments.atlas.problems import ALIGNMENTS, Task
from accel.experiments.atlas.race import Rule

__all__ = ["Settings", "chosen"]

_PLAN = 1  # version of what is run: what another one has made is not taken
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Settings:
    """The settings of an atlas; with others it is another atlas.

    Parameters
    ----------
    exponents : sequence of float
        The p of the loss.
    conditions : sequence of float
        Condition numbers of X'X.
    alignments : sequence of str
        Of ``problems.ALIGNMENTS``.
    starts : sequence of float
        Sizes of the start, see ``Instance.start``.
    depths : sequence of int
        The first one is 1, with which the others are compared.
    seeds : int
        How many, from 0.
    steps : int
        The limit of a run.
    n, d : int
        Samples and features.

    Raises
    ------
    TypeError, ValueError
        If seeds is not an integer from 1 to 1000.
    """

    exponents: Sequence[float] = (2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
    conditions: Sequence[float] = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
    alignments: Sequence[str] = tuple(ALIGNMENTS)
    starts: Sequence[float] = (1e-3, 1e-2, 1e-1)
    depths: Sequence[int] = (1, 2, 3, 4, 8)
    seeds: int = 5
    steps: int = 200_000
    n: int = 48
    d: int = 8

    def __post_init__(self) -> None:
        validation.integer("seeds", self.seeds, least=1, most=_MOST_SEEDS)

    @property
    def predicted_start(self) -> float:
        """The start from which the end-to-end rule runs, too: the one in the middle."""
        return self.starts[len(self.starts) // 2]

    def tasks(self) -> list[Task]:
        """Return all problems, in an order that is random, so that any part of it is like all."""
        tasks = [
            Task(p, condition, alignment, seed, self.n, self.d)
            for seed in range(self.seeds)
            for p in self.exponents
            for condition in self.conditions
            for alignment in self.alignments
        ]
        return [tasks[i] for i in np.random.default_rng(0).permutation(len(tasks))]

    def rules(self, start: float) -> list[Rule]:
        """Return what runs from a start."""
        networks = [Rule("network", depth) for depth in self.depths]
        if start != self.predicted_start:
            return networks
        return networks + [Rule("end-to-end", depth) for depth in self.depths if depth > 1]

    def key(self) -> dict[str, Any]:
        """Return what an atlas is recognised by."""
        own = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return {"plan": _PLAN, **own}

    def of_task(self) -> dict[str, Any]:
        """Return the part of the key on which the runs on one problem depend."""
        return {name: self.key()[name] for name in ("plan", "starts", "depths", "steps", "n", "d")}

    @property
    def digest(self) -> str:
        """A short name of ``of_task``, so that what atlases of other settings keep is left."""
        text = json.dumps(self.of_task(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def differing(self, key: Any) -> list[str]:
        """Return the names of what another atlas was made with otherwise.

        Raises
        ------
        LookupError, TypeError
            If that is no key of an atlas.
        """
        own = self.key()
        return [field.name for field in fields(self) if key[field.name] != own[field.name]]


def chosen(quick: bool, seeds: int | None) -> Settings:
    """Return the settings of the command: a quick atlas has a few problems of one seed each."""
    if not quick:
        return Settings() if seeds is None else Settings(seeds=seeds)
    return Settings(
        exponents=(2.0, 3.0, 4.0, 8.0), conditions=(1e1, 1e2, 1e3), starts=(1e-2,),
        depths=(1, 2, 4), seeds=1 if seeds is None else seeds, steps=10_000,
    )  # fmt: skip
