"""The ceiling of sweeps and of products: fused multiply-adds that never leave the registers."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.common import Descent, Stepper, Sweep


class Peak(NamedTuple):
    """``kernel(values, rounds, flags, rank)`` makes `rounds` multiply-adds of ``width`` elements.

    ``values`` has a row a rank: at its start ``width`` running values, each of which becomes
    ``value * factor + term`` in a round, and after them ``lanes`` factors and ``lanes`` terms.
    """

    kernel: Any
    width: int
    lanes: int


@cache
def peak(dtype: np.dtype[Any]) -> Peak:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from accel.kernels.cpu.jit import inner
    from accel.kernels.cpu.processor import vector_bytes, vector_registers
    from accel.kernels.cpu.simd import Emitter, View, at

    lanes = vector_bytes() // dtype.itemsize
    # Enough chains to hide the latency of each; the other registers hold factor and term.
    chains = vector_registers() * 3 // 4

    @intrinsic
    def multiply_add(typing_context, values, rounds):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            pointer = emit.unpack(arguments[0]).pointer
            # Loaded, and the factor applied to the running value: else LLVM would take the product
            # out of the loop, or one chain for all.
            factor, term = (emit.load(pointer, (chains + i) * lanes) for i in range(2))
            totals = emit.variables(chains)
            for c, total in enumerate(totals):
                builder.store(emit.load(pointer, c * lanes), total)
            with cgutils.for_range(builder, arguments[1], intp=ir.IntType(64)):
                for total in totals:
                    builder.store(emit.fma(builder.load(total), factor, term), total)
            for c, total in enumerate(totals):
                emit.store(builder.load(total), pointer, c * lanes)
            return context.get_dummy_value()

        return types.void(values, types.intp), generate

    @inner
    def kernel(values, rounds, flags, rank):
        row = values[rank]
        multiply_add(View(at(row, 0), lanes, 1), rounds)

    return Peak(kernel, chains * lanes, lanes)


def start_values(fastest: Peak, threads: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Running values 0, 1, 2, ..., factor and term 1, a row a thread that shares no cache line."""
    from accel.kernels.cpu.jit import LINE, aligned_zeros, padded

    size = padded(fastest.width + 2 * fastest.lanes, 2 * LINE // dtype.itemsize)
    values = aligned_zeros(threads * size, dtype).reshape(threads, size)
    values[:, : fastest.width] = np.arange(fastest.width)
    values[:, fastest.width : fastest.width + 2 * fastest.lanes] = 1
    return values


def multiply_adds_alone(run: Descent | Sweep) -> Stepper:
    """As many multiply-adds as a step takes, with the same threads and no data."""
    from accel.kernels.cpu import team

    fastest = peak(run.X.dtype)
    values = start_values(fastest, run.threads, run.X.dtype)

    def advance(steps: int) -> None:
        rounds = -(-steps * run.multiply_adds // (run.threads * fastest.width))
        team.run_team(fastest.kernel, (values, rounds), run.threads, run.threads)

    return Stepper(advance, lambda: np.array(run.params))
