"""Steps that are made once more, to take a model that has diverged back to an iterate before."""

from collections import deque

import numpy as np

from accel._runs.intervals import Chosen, Every
from accel._support.arrays import Array
from accel.kernels.protocols import Snapshot, TrainingLoop

__all__ = ["Replays"]

_BACK = 11  # iterates before a divergence that are looked at: 1, 2, 4, ... 1024 steps before
_IDLE = 100  # calls without a step, one after the other, that requests to stop can explain


class Replays:
    """Snapshots of a run, and its models at iterates between them.

    Parameters
    ----------
    loop : TrainingLoop
    records : Every or Chosen, optional
        Given if the steps have batches, of which no more is known of most iterates than that the
        loss of a batch is finite; that of all rows is known where an iterate is recorded.

    Attributes
    ----------
    base : Snapshot or None
        With batches, not after the last iterate of which the loss of all rows is known.
    """

    def __init__(self, loop: TrainingLoop, records: Every | Chosen | None) -> None:
        self._loop, self._records = loop, records
        self._snapshots: deque[Snapshot] = deque(maxlen=2)
        self.base = None if records is None else loop.snapshot()

    def begin_chunk(self) -> None:
        """Note where a chunk of steps begins."""
        self._snapshots.append(self._loop.snapshot())

    def recorded(self) -> None:
        """Note that an iterate of the last chunk was recorded, with a finite loss."""
        if self._records is not None and self._snapshots:  # else the chunk ended a stretch
            self.base = self._snapshots[-1]

    def restart(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot with a finite loss; what was before is not gone back to."""
        self._snapshots.clear()
        if self._records is None:
            self._snapshots.append(snapshot)
        else:
            self.base = snapshot

    def go_back(self, diverged: Array) -> None:
        """Take models back to their last iterates with a finite loss, to the bit, and end them."""
        loop = self._loop
        now, ended = loop.snapshot(), loop.steps
        for m in map(int, diverged):
            goal = int(ended[m]) - 1
            snapshot = self._before(goal)
            if snapshot is None:
                continue  # the very first iterate has no finite loss, and the model stays there
            if self._records is None:
                self._replay(snapshot, m, goal)
            else:
                self._to_finite(m, goal, self._records)
        loop.restore(now, [m for m in now.active if m not in diverged])

    def _before(self, step: int) -> Snapshot | None:
        """The last snapshot at or before a step, if there is one."""
        known = [each for each in (self.base, *self._snapshots) if each and each.step <= step]
        return max(known, key=lambda snapshot: snapshot.step, default=None)

    def _to_finite(self, m: int, goal: int, records: Every | Chosen) -> None:
        """Take a model to its last iterate up to ``goal`` with a finite loss of all rows.

        Iterates further and further back are looked at until one is finite, at the latest that of
        which it is known, and the gap after it is halved: if losses are finite up to an iterate and
        then no more, it is that one. Neither chunks nor checkpoints change which are looked at.
        """
        assert self.base is not None
        good, bad = max(records.before(goal), int(self.base.step)), goal + 1
        here = None  # where the model is
        for step in (goal + 1 - 2**back for back in range(_BACK)):
            if step <= good:
                break
            here = step
            if self._is_finite(self._before(step) or self.base, m, step):
                good = step
                break
            bad = step
        snapshot = self._before(good) or self.base
        while bad - good > 1:
            here = (good + bad) // 2
            if self._is_finite(snapshot, m, here):
                good, snapshot = here, self._loop.snapshot()
            else:
                bad = here
        if here != good:
            self._replay(snapshot, m, good)

    def _is_finite(self, snapshot: Snapshot, m: int, step: int) -> bool:
        """Take a model from a snapshot to a step; whether the loss of all rows is finite there."""
        self._replay(snapshot, m, step)
        return bool(np.isfinite(self._loop.evaluate()[m, 1:3]).all())

    def _replay(self, snapshot: Snapshot, m: int, goal: int) -> None:
        """Make the steps of a model from a snapshot on once more, up to the step ``goal``."""
        loop, idle = self._loop, 0
        loop.restore(snapshot, [m])
        while loop.step < goal:
            before = loop.step
            loop.advance(goal - before)
            # A request to stop may be pending; it ends one call, perhaps before the first step.
            idle = 0 if loop.step > before else idle + 1
            if (m not in loop.active and loop.step < goal) or idle == _IDLE:
                raise RuntimeError(
                    f"internal error: the replay of model {m} differed from its run, which had a "
                    f"finite loss up to step {goal}; the same steps again, from step "
                    f"{snapshot.step}, ended at step {loop.step}. This is a fault of accel or of "
                    "the machine: please report it with the call and the output of 'accel info'"
                )
