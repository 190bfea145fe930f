"""A run whose models are in several loops, or in other coordinates than their networks."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from accel._support import arrays
from accel._support.arrays import Array
from accel.kernels.protocols import Snapshot, TrainingLoop

__all__ = ["Part", "Parts"]


class Part(NamedTuple):
    """Some of the models of a run.

    Attributes
    ----------
    loop : TrainingLoop
        Of these models first, and then of any that are not in the run.
    models : (m,) int64 array
        Which they are of the run's, ascending.
    back : callable
        ``back(model, params)`` returns a model's factors, on the host, from those that the loop has
        for it.
    """

    loop: TrainingLoop
    models: Array
    back: Callable[[int, Array], Array]


class Parts:
    """A ``TrainingLoop`` made of loops, whose models it advances by the same steps.

    Snapshots hold what the loops hold, one loop after the other, and so does a checkpoint: factors
    come back to the coordinates of the network only where ``params`` asks for them. Of a single
    loop they are its own.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = list(parts)
        self._count = sum(len(part.models) for part in parts)
        self._home = {int(m): (part, i) for part in parts for i, m in enumerate(part.models)}
        snapshots = [part.loop.snapshot() for part in parts]
        self._ends = [
            np.cumsum([0, *(len(getattr(snapshot, name)) for snapshot in snapshots)])
            for name in ("params", "state")
        ]

    @property
    def threads(self) -> int:
        """The most that a loop has."""
        return max(part.loop.threads for part in self._parts)

    @property
    def step(self) -> int:
        """Updates made so far by the models that are still in the run."""
        return max(part.loop.step for part in self._parts)

    @property
    def active(self) -> Array:
        """Indices of the models that are still in the run, (A,)."""
        active: Array = np.sort(
            np.concatenate([part.models[part.loop.active] for part in self._parts])
        )
        return active

    @property
    def statuses(self) -> Array:
        """Status code of each model, (M,)."""
        return self._gathered([part.loop.statuses for part in self._parts])

    @property
    def steps(self) -> Array:
        """Updates made by each model, (M,)."""
        return self._gathered([part.loop.steps for part in self._parts])

    def _gathered(self, pieces: Sequence[Array]) -> Array:
        """Join what every loop says of each of its models, in the order of the run's models."""
        whole = np.empty((self._count, *pieces[0].shape[1:]), pieces[0].dtype)
        for part, piece in zip(self._parts, pieces, strict=True):
            whole[part.models] = piece[: len(part.models)]
        return whole

    def params(self, model: int) -> Array:
        """Return a copy of a model's flat factors, in the coordinates of its network."""
        part, place = self._home[model]
        return part.back(model, part.loop.params(place))

    def device_params(self, model: int) -> Array:
        """Return the same; where the loop is on a GPU they go back there from the host."""
        part, place = self._home[model]
        held = part.loop.device_params(place)
        params = part.back(model, arrays.to_host(held))
        on_device = arrays.on_device(held)
        moved: Array = arrays.as_device("params", params) if on_device else params
        return moved

    def advance(
        self, steps: int, record_every: int = 0, tol: float = 0.0, target: float = -np.inf
    ) -> None:
        """Make up to ``steps`` updates of every model in the run."""
        for part in self._parts:
            if len(part.loop.active):
                part.loop.advance(steps, record_every, tol, target)

    def evaluate(self) -> Array:
        """Return steps, loss, norms of gradient and end-to-end matrix of every model, (M, 4)."""
        return self._gathered([part.loop.evaluate() for part in self._parts])

    def take_history(self) -> tuple[Array, Array]:
        """Return what was recorded since the last call: steps (m,) and rows (m, M, 3 or 4)."""
        taken = [part.loop.take_history() for part in self._parts]
        steps: Array = np.unique(np.concatenate([steps for steps, _ in taken]))
        rows = np.full((len(steps), self._count, taken[0][1].shape[2]), np.nan)
        for part, (own, records) in zip(self._parts, taken, strict=True):
            places = np.searchsorted(steps, own)[:, np.newaxis]
            rows[places, part.models] = records[:, : len(part.models)]
        return steps, rows

    def set_rate(self, model: int, rate: float) -> None:
        """Change the learning rate of a model for the steps to come."""
        part, place = self._home[model]
        part.loop.set_rate(place, rate)

    def snapshot(self) -> Snapshot:
        """Return the state of the run; of several loops on the host."""
        snapshots = [part.loop.snapshot() for part in self._parts]
        fates = self._gathered([snapshot.fates for snapshot in snapshots])
        params, state = (
            parts[0] if len(parts) == 1 else np.concatenate([arrays.to_host(a) for a in parts])
            for parts in ([s.params for s in snapshots], [s.state for s in snapshots])
        )
        return Snapshot(self.step, self.active, fates, params, state)

    def restore(self, snapshot: Snapshot, models: Iterable[int] | None = None) -> None:
        """Go back to a snapshot, with ``models`` only those, and only they are in the run then."""
        chosen = None if models is None else np.array(list(models), np.int64)
        for i, part in enumerate(self._parts):
            params, state = (
                flat[ends[i] : ends[i + 1]]
                for flat, ends in zip((snapshot.params, snapshot.state), self._ends, strict=True)
            )
            fates = snapshot.fates[np.resize(part.models, len(part.loop.statuses))]
            active = _places(part, snapshot.active)
            own = Snapshot(snapshot.step, active, fates, params, state)
            part.loop.restore(own, None if chosen is None else _places(part, chosen))

    def stop(self) -> None:
        """Ask the run to stop: a single loop does at once, several after the call in hand.

        One that stopped in the middle of a call would be behind the others.
        """
        if len(self._parts) == 1:
            self._parts[0].loop.stop()


def _places(part: Part, models: Array) -> Array:
    """Where a part has those of its models that are among these."""
    places: Array = np.flatnonzero(np.isin(part.models, models))
    return places
