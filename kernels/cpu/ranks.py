"""How the kernel of a run is called: by a team that meets at every step, or by ranks on their own.

Both make steps until ``stop_at``, or until a request to stop or the end of all models, and leave
step and active models in the run's memory.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import team
from .epilogue import ACTIVE, HEEDING, STEP, STOP_AT, STOP_REQUEST, Scratch, Shared
from .jit import LINE, aligned_zeros


class Team:
    """Ranks that divide every step into so many parts."""

    def __init__(
        self, kernel: Callable[..., Any], data: Any, run: Shared, scratch: Scratch, parts: int
    ) -> None:
        self.kernel, self._data, self._run, self._scratch = kernel, data, run, scratch
        self._parts = parts

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the kernel is called with by the first rank."""
        return self._data, self._run, self._scratch, team.make_flags(self._parts), 0

    def run(self, stop_at: int, ranks: int) -> None:
        """Make steps; one rank can make them all."""
        self._run.progress[STOP_AT], self._run.progress[HEEDING] = stop_at, 1
        shared = (self._data, self._run, self._scratch)
        team.run_team(self.kernel, shared, ranks, self._parts)


class Shares:
    """Ranks that divide the models and never meet: models do not interact.

    Each has a share of those that are still in the run, and a step counter of its own. A request to
    stop finds the ranks at different steps; those behind then catch up with the first.
    """

    def __init__(
        self,
        kernel: Callable[..., Any],
        data: Any,
        run: Shared,
        scratch: list[Scratch],
        more: tuple[Any, ...] = (),
    ) -> None:
        self.kernel, self._data, self._run, self._scratch = kernel, data, run, scratch
        self._more = more
        # Two cache lines a rank, since processors fetch them in pairs.
        width = 2 * LINE // 8
        self._progress = aligned_zeros(len(scratch) * width, np.int64).reshape(-1, width)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the kernel is called with where one rank has all models."""
        return self._data, self._run, self._scratch[0], *self._more

    def run(self, stop_at: int, ranks: int) -> None:
        """Make steps; one rank can make them all."""
        progress = self._run.progress
        progress[STOP_AT], progress[HEEDING] = stop_at, 1
        ranks = min(ranks, int(progress[ACTIVE]))
        if ranks <= 1:
            self.kernel(*self.arguments)
            return
        shares = self._divided(ranks)
        pairs = zip(shares, self._scratch, strict=False)
        calls = [(self._data, *pair, *self._more) for pair in pairs]
        control = self._run.control
        requested = control[STOP_REQUEST]

        def hurry() -> None:
            control[STOP_REQUEST] = 1

        try:
            team.run_apart(self.kernel, calls, hurry)
        except BaseException:
            control[STOP_REQUEST] = requested
            raise
        finally:
            self._catch_up(calls)
            self._gather(shares)

    def _divided(self, ranks: int) -> list[Shared]:
        """Give every rank the next of the active models, as equal in number as can be."""
        run, shares = self._run, []
        count, size = int(run.progress[ACTIVE]), run.weights.size // len(run.active)
        for rank in range(ranks):
            begin, end = count * rank // ranks, count * (rank + 1) // ranks
            progress = self._progress[rank]
            progress[: run.progress.size] = run.progress
            progress[ACTIVE] = end - begin
            active, weights = run.active[begin:end].copy(), run.weights[begin * size : end * size]
            shares.append(run._replace(progress=progress, active=active, weights=weights))
        return shares

    def _catch_up(self, calls: list[tuple[Any, ...]]) -> None:
        """Bring all models that are still in the run to the step of the one that is furthest."""
        going = [call for call in calls if call[1].progress[ACTIVE]]
        top = max((call[1].progress[STEP] for call in going), default=0)
        for call in going:
            progress = call[1].progress
            if progress[STEP] < top:
                progress[STOP_AT], progress[HEEDING] = top, 0
                self.kernel(*call)

    def _gather(self, shares: list[Shared]) -> None:
        """Put the shares together again; the weights are made anew by every call."""
        progress, active = self._run.progress, self._run.active
        left = np.concatenate([share.active[: share.progress[ACTIVE]] for share in shares])
        active[: len(left)], progress[ACTIVE] = left, len(left)
        steps = [
            share.progress[STEP] for share in shares if share.progress[ACTIVE] or not len(left)
        ]
        progress[STEP] = max(steps)
