"""A team of operating-system threads that meet at a barrier from inside compiled code.

The leader (rank 0) and its workers run the same kernel without the GIL. A step of the run is

    every rank: its share of the work        (a pass over its rows)
    workers:    ``arrive``, then ``await_leader``
    leader:     ``await_workers``, the serial part (reduce, update), ``release``

which costs one barrier: the serial part stands between its two halves. A waiting thread spins for
a while, since the others are a fraction of a microsecond away, then yields the processor to
whoever needs it, and at last sleeps, so that a stalled team burns nothing. Raising ``ABORT`` frees
everyone who waits, however many ranks ever started.

A team lives for one call of ``run_team``: flags or threads that outlived it could be left behind by
a fork or a Ctrl-C in a state that the next call would wait on for ever.

``flags`` (int64) has one cache line pair a rank: ``flags[SPACING * rank]`` is the last step at
which the rank arrived (for rank 0: which it released), and ``flags[SPACING * team_size]`` is ABORT.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import inner

#: Two cache lines, since processors fetch them in pairs.
SPACING = 16

_SPINS = 1000
_YIELDS = 2000
_NAP_MICROSECONDS = 50

_yield_processor = types.ExternalFunction("sched_yield", types.int32())
_sleep = types.ExternalFunction("usleep", types.int32(types.uint32))


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
def _pause(typing_context):
    """Tell the processor that this is a spin loop."""

    def generate(context, builder, signature, arguments):
        triple = builder.module.triple
        if triple.startswith(("x86_64", "i386", "i686")):
            name, operands = "llvm.x86.sse2.pause", []
        elif triple.startswith(("aarch64", "arm64")):
            name, operands = "llvm.aarch64.hint", [ir.Constant(ir.IntType(32), 1)]  # YIELD
        else:
            return context.get_dummy_value()
        kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)
        return context.get_dummy_value()

    return types.void(), generate


@inner
def _await(flags, index, ticket):
    """Wait until ``flags[index] >= ticket``; False if the team was aborted meanwhile."""
    abort = flags.size - SPACING
    tries = 0
    while _load_acquire(flags, index) < ticket:
        tries += 1
        if tries < _SPINS:
            _pause()
        elif _load_acquire(flags, abort) != 0:
            return False
        elif tries < _SPINS + _YIELDS:
            _yield_processor()
        else:
            _sleep(_NAP_MICROSECONDS)
    return True


@inner
def size(flags):
    """Number of ranks."""
    return flags.size // SPACING - 1


@inner
def arrive(flags, rank, ticket):
    """Worker: publish everything written so far and say that this rank's share is done."""
    _store_release(flags, SPACING * rank, ticket)


@inner
def await_leader(flags, ticket):
    """Worker: wait for the leader's ``release``; False if the team was aborted."""
    return _await(flags, 0, ticket)


@inner
def await_workers(flags, ticket):
    """Leader: wait until every worker has arrived; False if the team was aborted."""
    for rank in range(1, size(flags)):
        if not _await(flags, SPACING * rank, ticket):
            return False
    return True


@inner
def release(flags, ticket):
    """Leader: publish the serial part's results and let the workers go on."""
    _store_release(flags, 0, ticket)


def make_flags(team_size: int) -> np.ndarray:
    """Flags of a team that has not met yet."""
    return np.zeros(SPACING * (team_size + 1), np.int64)


def abort(flags: np.ndarray) -> None:
    """Free every rank that waits now or later; callable from any Python thread."""
    flags[flags.size - SPACING] = 1


def run_team(kernel: Callable[..., Any], shared: tuple[Any, ...], threads: int) -> None:
    """Call ``kernel(*shared, flags, rank)`` on every rank, rank 0 in the calling thread.

    A worker that still waits when rank 0 is done is sent home. What any rank raises is raised here,
    once all have ended.
    """
    flags = make_flags(threads)

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
