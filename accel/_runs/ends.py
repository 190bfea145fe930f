"""The end of a run as its results hold it, in memory or from a file, for a run that goes on."""

import logging
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Optimizer, by_name
from accel._core.problem import Problem
from accel._runs import intervals
from accel._runs.checkpoints import Saved, digest_of, of_models, of_one
from accel._runs.exported import made_in, revived
from accel._runs.methods import Model
from accel._runs.recorder import alone as recorded_alone
from accel._runs.recorder import identity as identity_of
from accel._runs.rotating import rotation_alone
from accel._support import validation
from accel._support.arrays import Array, to_host
from accel.kernels.protocols import Snapshot, TrainingLoop
from accel.kernels.specs import STATE_SLOTS, Batches
from accel.losses import Loss
from accel.recording.quantity import Quantity
from accel.schedules.naming import described, from_described

__all__ = ["Data", "End", "Facts", "State", "another", "described_rule", "owners_in", "rule_in"]

#: Bytes up to which data are hashed at the end of a run. Of larger ones, and of those that are
#: elsewhere, the problem is kept in place of a hash until somebody asks for that.
_SMALL = 2**22

_PREFIX = "state_"  # of the arrays in the file of a result

_log = logging.getLogger("accel")

_digests: "weakref.WeakKeyDictionary[BaseProblem, str]" = weakref.WeakKeyDictionary()


class Data:
    """Tells the data of a problem from others."""

    def __init__(self, problem: BaseProblem) -> None:
        self._problem = weakref.ref(problem)
        self._kept: BaseProblem | None = problem
        size = problem.n * (problem.d + problem.k) * problem.dtype.itemsize
        here = isinstance(problem, Problem) or problem.data_are != BaseProblem.data_are
        if here and not problem.on_device and size <= _SMALL:
            self._kept = None
            if problem not in _digests:
                _digests[problem] = digest_of(problem)
            self._digest = _digests[problem]

    def are_of(self, problem: BaseProblem) -> bool:
        """Whether this is the very problem."""
        return self._problem() is problem

    @property
    def digest(self) -> str:
        """A hash of them."""
        if self._kept is not None:
            self._digest, self._kept = digest_of(self._kept), None
        return self._digest


@dataclass(frozen=True)
class Facts:
    """What else a run was asked for, and found, that it goes on with.

    Attributes
    ----------
    backend : str
    record_every : int, tuple of int or "log"
    found : bool
        Whether the rate follows the loss.
    batches : Batches, optional
    record : tuple of Quantity, optional
        None if they are known by their names only.
    """

    backend: str
    record_every: intervals.Checked
    found: bool
    batches: Batches | None
    record: tuple[Quantity, ...] | None


@dataclass(frozen=True, eq=False)
class End:
    """The end of a run of one or several models: all that depends on it if it goes on.

    Attributes
    ----------
    models : sequence of (network, Optimizer)
        As the run began.
    methods : sequence of str
    facts : Facts
    data : Data, optional
    loss : Loss, optional
    arrays : mapping of str to array
        What ``Run.state`` returned, and the rotation.
    owners : (array, array), optional
        With several models, to which each number of a snapshot's params and state belongs.
    run : dict, optional
        What identifies the run, where it was read from a file; then there are no data and no loss.
    path : Path, optional
        That file.
    """

    models: Sequence[Model]
    methods: Sequence[str]
    facts: Facts
    arrays: Mapping[str, Array]
    data: Data | None = None
    loss: Loss | None = None
    owners: tuple[Array, Array] | None = None
    run: dict[str, Any] | None = None
    path: Path | None = None

    @property
    def made(self) -> int:
        """Updates that the run has made."""
        return made_in(self.arrays)

    @property
    def step(self) -> int:
        """Updates that led to its iterates, of several models the most."""
        return int(np.max(self.arrays["loop_fates"][:, 1]))

    def is_of(self, problem: BaseProblem) -> bool:
        """Whether the run was on this very problem."""
        return self.data is not None and self.data.are_of(problem)

    def identity(self, problem: BaseProblem | None = None) -> dict[str, Any]:
        """Return what identifies the run; without a hash of the data if they are this problem's."""
        if self.run is not None:
            return self.run
        assert self.data is not None
        assert self.loss is not None
        facts = self.facts
        chosen = {
            "batches": None if facts.batches is None else repr(facts.batches),
            "record": identity_of(facts.record or ()),
        }
        data = "" if problem is not None and self.is_of(problem) else self.data.digest
        return of_models(
            data, self.loss, self.models, self.methods, chosen, facts.backend, found=facts.found
        )

    def saved(self, problem: BaseProblem) -> Saved:
        """Return it as a run takes it that goes on."""
        run = self.identity(problem) | {"record_every": self.facts.record_every}
        return Saved(run, dict(self.arrays), self.path, "result")

    def revived(self) -> "End":
        """Return the end of a run of one model with the model in the run, whyever it has ended."""
        return replace(self, arrays=revived(self.arrays))

    def alone(self, m: int) -> "End":
        """Return the end of one model's run."""
        if len(self.models) == 1:
            return self
        assert self.owners is not None
        network, optimizer = self.models[m]
        run = None if self.run is None else of_one(self.run, self.models, self.methods, m)
        a, fate = self.arrays, self.arrays["loop_fates"][m]
        own = ~np.isnan(a["rows"][:, m, 0])
        n_state = STATE_SLOTS[optimizer.rule.kind]
        arrays = {
            "codes": a["codes"][m : m + 1],
            "diverged_at": a["diverged_at"][m : m + 1],
            "steps": a["steps"][own],
            "rows": a["rows"][own, m : m + 1],
            "clock": a["clock"],
            "size": a["size"],
            **recorded_alone(a, m),
            **rotation_alone(
                a, [net.spec(rule.rule) for net, rule in self.models], self.methods, m
            ),
        }
        for name in ("loop", "base"):
            if f"{name}_params" not in a:
                continue
            fate, active = a[f"{name}_fates"][m], a[f"{name}_active"]
            params = a[f"{name}_params"][self.owners[0] == m + 1]
            # A loop of several may hold more slots of a model than its rule has.
            state = a[f"{name}_state"][self.owners[1] == m + 1][: n_state * len(params)]
            here = bool(np.isin(m, active))
            arrays |= {
                f"{name}_step": a[f"{name}_step"] if here else np.array(fate[1]),
                f"{name}_active": np.zeros(int(here), active.dtype),
                f"{name}_fates": fate[np.newaxis],
                f"{name}_params": params,
                f"{name}_state": state,
            }
        return replace(
            self, models=[(network, optimizer)], methods=[self.methods[m]], arrays=arrays,
            owners=None, run=run,
        )  # fmt: skip

    def portable(self) -> "End | None":
        """Return it without the problem and with all arrays in this machine's memory.

        None, with a warning in the log, where a hash of the data cannot be had any more: they are
        on workers that have gone.
        """
        try:
            run = self.identity()
        except (RuntimeError, OSError) as error:
            _log.warning("no run can go on from this copy of its result: %s", error)
            return None
        arrays = {name: to_host(a) for name, a in self.arrays.items()}
        owners = None
        if self.owners is not None:
            owners = to_host(self.owners[0]), to_host(self.owners[1])
        facts = replace(self.facts, record=None)
        return replace(
            self, run=run, arrays=arrays, owners=owners, facts=facts, data=None, loss=None
        )

    def described(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return JSON and arrays for a file, of one model and portable."""
        ((network, optimizer),) = self.models
        facts = self.facts
        told = {
            "run": self.identity(),
            "record_every": facts.record_every,
            "found": facts.found,
            "batches": facts.batches,
            "optimizer": described_rule(optimizer),
        }
        arrays = {f"{_PREFIX}{name}": a for name, a in self.arrays.items()}
        return told, arrays | {f"{_PREFIX}start": network.params}

    @classmethod
    def read(
        cls, told: Mapping[str, Any], arrays: Mapping[str, Array], zero: Network, path: Path
    ) -> "End":
        """Return what ``described`` described, for a network like this one."""
        held = {
            name.removeprefix(_PREFIX): array
            for name, array in arrays.items()
            if name.startswith(_PREFIX)
        }
        network, run = zero.with_params(held.pop("start")), dict(told["run"])
        made_in(held)
        if held["codes"].shape != (1,) or len(held["loop_fates"]) != 1:
            raise ValueError("its state is not that of one model")
        if held["steps"].shape != held["rows"].shape[:1] or held["loop_active"].ndim != 1:
            raise ValueError("the records of its state differ in number")
        batches = told["batches"]
        facts = Facts(
            backend=str(run["backend"]),
            record_every=intervals.checked(told["record_every"]),
            found=validation.flag("found", told["found"]),
            batches=None if batches is None else Batches(*batches),
            record=None,
        )
        return cls(
            models=[(network, rule_in(told["optimizer"]))], methods=[str(run["method"])],
            facts=facts, arrays=held, run=run, path=path,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class State:
    """What a result can be continued from: a model's place in the end of a run."""

    end: End
    place: int = 0

    def alone(self) -> End:
        """Return the end of the model's run."""
        return self.end.alone(self.place)

    def portable(self) -> "State | None":
        """Return it as ``End.portable`` does, of the one model's run, for a file."""
        end = self.alone().portable()
        return None if end is None else State(end)


def owners_in(loop: TrainingLoop) -> tuple[Array, Array]:
    """Return to which model, counted from 1, each number of a snapshot's params and state belongs.

    Layouts are the backends' own. But a loop that takes one model to a snapshot changes the numbers
    of that model and no others, which tells whose they are. Afterwards it is as before.
    """
    now = loop.snapshot()

    def filled(value: int) -> Snapshot:
        params, state = (
            np.broadcast_to(np.array(value, a.dtype), a.shape) for a in (now.params, now.state)
        )
        return now._replace(params=params, state=state)

    loop.restore(filled(0))
    for m in range(len(now.fates)):
        loop.restore(filled(m + 1), [m])
    found = loop.snapshot()
    loop.restore(now)
    return found.params, found.state


def described_rule(optimizer: Optimizer) -> dict[str, Any]:
    """An optimiser in JSON: its name and its constants."""
    names = [constant.name for constant in fields(optimizer)]
    constants = {name: described(getattr(optimizer, name)) for name in names}
    return {"name": optimizer.name, **constants}


def rule_in(told: Mapping[str, Any]) -> Optimizer:
    """The optimiser that ``described_rule`` was given."""
    return by_name(**{name: from_described(part) for name, part in {**told}.items()})


def another(differs: str) -> ValueError:
    """The error where a run cannot go on from the end of another one, which differs so."""
    return ValueError(
        f"start is of another run ({differs}), and a run goes on as it began; to begin a new one "
        "with its weights pass start.network as network and leave start out"
    )
