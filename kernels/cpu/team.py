"""A team of operating-system threads that meet at a barrier from inside compiled code.

The leader (rank 0) and its workers run the same kernel without the GIL. A phase of the run is cut
into units, and every rank has some of its own:

    leader:     ``release``; the units that it can ``claim``, its own first; ``await_units``
    workers:    ``await_leader``; their own units, if they can still ``claim`` them; ``arrive``

So the ranks that have a processor do the work, and the leader waits only for units that a rank is
at work on. A worker that lost its processor to another process, and gets it back later, sees that
its units are done and goes on with the phase that has come meanwhile. After ``await_units`` and
before its next ``release`` the leader alone reads and writes what all of them wrote.

A waiting thread spins for a while, since the others need a fraction of a microsecond, then yields
the processor, and at last sleeps, longer after a while, so that a stalled team uses hardly any
processor time. Raising ``ABORT``
ends all waiting, however many ranks ever started.

A team lives for one call of ``run_team``: a fork or a Ctrl-C could leave flags or threads that
outlived it in a state in which the next call would wait for ever.

``flags`` (int64) has a pair of cache lines a unit: ``flags[SPACING * unit]`` is the last phase in
which it was done, the element after it the last in which it was claimed; phases are counted from 1.
Two more pairs of lines hold the phase released last, and ABORT.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from ..system.waiting import nap, pause, sleep, yield_processor
from .jit import inner

#: Two cache lines, since processors fetch them in pairs.
SPACING = 16

_SPINS = 1000
_YIELDS = 2000
_NAPS = 200
_NAP, _LONG_NAP = nap(50), nap(500)  # microseconds


def _element(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


@intrinsic
def _load_acquire(typing_context, flags, index):
    def generate(context, builder, signature, arguments):
        pointer = _element(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(flags, types.intp), generate


@intrinsic
def _store_release(typing_context, flags, index, value):
    def generate(context, builder, signature, arguments):
        pointer = _element(context, builder, signature.args[0], *arguments[:2])
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(flags, types.intp, types.int64), generate


@intrinsic
def _replace(typing_context, flags, index, old, new):
    """Store ``new`` if ``old`` is there, atomically; return whether it was."""

    def generate(context, builder, signature, arguments):
        pointer = _element(context, builder, signature.args[0], *arguments[:2])
        result = builder.cmpxchg(pointer, *arguments[2:], "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return types.boolean(flags, types.intp, types.int64, types.int64), generate


@inner
def _await(flags, index, phase):
    """Wait until ``flags[index] >= phase``; False if the team was aborted meanwhile."""
    abort = flags.size - SPACING
    tries = 0
    while _load_acquire(flags, index) < phase:
        tries += 1
        if tries < _SPINS:
            pause()
        elif _load_acquire(flags, abort) != 0:
            return False
        elif tries < _SPINS + _YIELDS:
            yield_processor()
        elif tries < _SPINS + _YIELDS + _NAPS:
            sleep(_NAP)
        else:
            sleep(_LONG_NAP)
    return True


@inner
def claim(flags, unit, phase):
    """Whether this rank, and no other, is to do the unit in this phase."""
    index = SPACING * unit + 1
    return _load_acquire(flags, index) == phase - 1 and _replace(flags, index, phase - 1, phase)


@inner
def arrive(flags, unit, phase):
    """Publish everything written so far and say that the unit is done."""
    _store_release(flags, SPACING * unit, phase)


@inner
def await_leader(flags, phase):
    """Worker: wait for a later phase; return its number, or 0 if the team was aborted."""
    index = flags.size - 2 * SPACING
    return _load_acquire(flags, index) if _await(flags, index, phase + 1) else 0


@inner
def await_units(flags, phase):
    """Leader: wait until every unit is done; False if the team was aborted."""
    done = True
    for unit in range(flags.size // SPACING - 2):
        done = done and _await(flags, SPACING * unit, phase)
    return done


@inner
def release(flags, phase):
    """Leader: publish the serial part's results and let everyone go on."""
    _store_release(flags, flags.size - 2 * SPACING, phase)


def make_flags(units: int) -> np.ndarray:
    """Flags of a team that has not met yet."""
    return np.zeros(SPACING * (units + 2), np.int64)


def abort(flags: np.ndarray) -> None:
    """Free every rank that waits now or later; callable from any Python thread."""
    flags[flags.size - SPACING] = 1


def run_apart(
    kernel: Callable[..., Any], calls: Sequence[tuple[Any, ...]], hurry: Callable[[], None]
) -> None:
    """Make these calls at the same time, the first in the calling thread.

    As soon as one of them raises, or a Ctrl-C comes, ``hurry`` is called, to ask the others to end
    soon; it is raised here once all have ended.
    """

    def work(call: tuple[Any, ...]) -> None:
        try:
            kernel(*call)
        except BaseException:
            hurry()
            raise

    with ThreadPoolExecutor(len(calls)) as pool:
        try:
            workers = [pool.submit(work, call) for call in calls[1:]]
            kernel(*calls[0])
            for worker in workers:
                worker.result()
        except BaseException:
            hurry()
            raise


def run_team(kernel: Callable[..., Any], shared: tuple[Any, ...], threads: int, units: int) -> None:
    """Call ``kernel(*shared, flags, rank)`` on every rank, rank 0 in the calling thread.

    Workers that still wait when rank 0 is done are freed, and end. What any rank raises is raised
    here once all have ended.
    """
    flags = make_flags(units)

    def work(rank: int) -> None:
        try:
            kernel(*shared, flags, rank)
        except BaseException:
            abort(flags)
            raise

    with ThreadPoolExecutor(threads) as pool:  # it starts no thread before there is work for it
        workers = []
        try:
            for rank in range(1, threads):
                workers.append(pool.submit(work, rank))
            kernel(*shared, flags, 0)
        finally:
            abort(flags)
        for worker in workers:
            worker.result()
