"""The CUDA simulator, in a process of its own: Numba decides on import whether it simulates."""

import itertools
import os
import sys
import types
from typing import Any, NamedTuple

import numpy as np
import pytest

from .. import children

if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":

    @pytest.mark.slow
    def test_in_a_process_that_simulates():
        pytest.importorskip("greenlet")
        pytest.importorskip("numba_cuda")
        done = children.pytest(__file__, limit=200, NUMBA_ENABLE_CUDASIM="1")
        assert " passed" in done.stdout

else:
    from numba import cuda, float32, int32

    from . import simulator
    from .simulator import Deadlock, Race, install, options

    install()

    ALL = 0xFFFFFFFF
    SEEDS = [None, 0, 1, 2, 3, 4]
    AT = r"at \S*test_simulator\.py:\d+ in"

    class Pair(NamedTuple):
        x: Any
        out: Any

    def zeros(n, dtype=np.float64):
        return np.zeros(n, dtype)

    def block_sum(value, room):
        """The sum over the block, for thread 0."""
        i = cuda.threadIdx.x
        room[i] = value
        half = cuda.blockDim.x // 2
        while half:
            cuda.syncthreads()
            if i < half:
                room[i] += room[i + half]
            half //= 2
        cuda.syncthreads()
        return room[0]

    def warp_sum(value):
        for lanes in (16, 8, 4, 2, 1):
            value += cuda.shfl_xor_sync(ALL, value, lanes)
        return value

    def await_word(box, index, tag):
        """The lower half of a word, once its upper half is the tag."""
        while True:
            word = box[index]
            if int(word) >> 32 == tag:
                return int(word) & 0xFFFFFFFF
            cuda.nanosleep(20)

    # What works

    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_sum_over_blocks(seed):
        @cuda.jit
        def kernel(pair, scale):
            room = cuda.shared.array(64, float32)
            total = block_sum(pair.x[cuda.grid(1)] * scale, room)
            if cuda.threadIdx.x == 0:
                pair.out[cuda.blockIdx.x, 1] = total

        pair = Pair(np.arange(4 * 64, dtype=np.float32), np.zeros((4, 2), np.float32))
        with options(seed=seed):
            kernel[(4,), (64, 1, 1)](pair, np.float32(2))
        np.testing.assert_array_equal(pair.out[:, 1], 2 * pair.x.reshape(4, 64).sum(1))
        np.testing.assert_array_equal(pair.out[:, 0], 0)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_shuffles_and_votes(seed):
        @cuda.jit
        def kernel(out):
            i, lane = cuda.threadIdx.x, cuda.laneid
            assert lane == i % cuda.warpsize
            out[0, i] = warp_sum(i)
            out[1, i] = cuda.shfl_sync(ALL, i, 3)
            out[2, i] = cuda.shfl_up_sync(ALL, i, 2)
            out[3, i] = cuda.shfl_down_sync(-1, i, 2)
            out[4, i] = cuda.ballot_sync(ALL, lane in (1, 4))
            out[5, i] = cuda.any_sync(ALL, i == 40) + 2 * cuda.all_sync(ALL, i < 40)
            out[6, i] = cuda.syncthreads_or(i == 40) + 2 * cuda.syncthreads_and(i < 40)
            out[7, i] = cuda.syncthreads_count(i < 40)

        out, i = zeros((8, 64), np.int64), np.arange(64)
        with options(seed=seed):
            kernel[1, 64](out)
        lane, warp = i % 32, i // 32
        np.testing.assert_array_equal(out[0], np.where(warp, sum(range(32, 64)), sum(range(32))))
        np.testing.assert_array_equal(out[1], 32 * warp + 3)
        np.testing.assert_array_equal(out[2], np.where(lane < 2, i, i - 2))
        np.testing.assert_array_equal(out[3], np.where(lane > 29, i, i + 2))
        np.testing.assert_array_equal(out[4], 0b10010)
        np.testing.assert_array_equal(out[5], np.where(warp, 1, 2))
        np.testing.assert_array_equal(out[6:], [[1] * 64, [40] * 64])

    @pytest.mark.parametrize("rounds", [3, 3000])  # 3000 turns of spinners are no deadlock
    @pytest.mark.parametrize("seed", SEEDS[:3])
    def test_blocks_pass_words_around_a_ring(rounds, seed):
        @cuda.jit
        def kernel(box, out, rounds):
            b = cuda.blockIdx.x
            if cuda.threadIdx.x == 0:
                value = 0
                for step in range(1, rounds + 1):
                    if b or step > 1:
                        value = await_word(box, b, step if b else step - 1)
                    box[(b + 1) % cuda.gridDim.x] = np.uint64(step << 32 | value + 1)
                out[b] = value
            cuda.syncthreads()

        out = zeros(3, np.int32)
        with options(seed=seed):
            kernel[3, 2](zeros(3, np.uint64), out, rounds)
        np.testing.assert_array_equal(out, 3 * (rounds - 1) + np.arange(3))

    def test_random_turns_differ_and_repeat():
        def order(seed):
            order = []

            @cuda.jit
            def kernel():
                for _ in range(3):
                    order.append((cuda.blockIdx.x, cuda.threadIdx.x))
                    cuda.syncwarp()

            with options(seed=seed):
                kernel[3, 64]()
            return order

        orders = [order(seed) for seed in SEEDS]
        assert orders == [order(seed) for seed in SEEDS]
        assert all(a != b for i, a in enumerate(orders) for b in orders[:i])
        assert len({order[-1][0] for order in orders}) > 1  # the pace of the blocks differs

    def test_dynamic_shared_memory_is_one():
        @cuda.jit
        def kernel(out):
            words, wide = cuda.shared.array(0, int32), cuda.shared.array(0, np.float64)
            assert (words.size, len(wide), wide.shape, wide.dtype) == (9, 4, (4,), np.float64)
            if cuda.threadIdx.x == 0:
                wide[1] = 2.0
                out[0], out[1], out[2] = words[2], words[3], cuda.shared.array(0, float32)[3]

        out = zeros(3)
        kernel[1, 2, 0, 36](out)
        np.testing.assert_array_equal(out, [0, 1 << 30, 2])

    def test_arrays_begin_as_poison_and_are_told_apart_by_their_place():
        @cuda.jit
        def kernel():
            i, a, b = cuda.threadIdx.x, cuda.shared.array(3, float32), cuda.shared.array(3, float32)
            for array in (a, b, cuda.local.array(3, np.float64), cuda.shared.array(0, np.float16)):
                assert np.isnan(array[i])
            for array in (cuda.local.array(3, int32), cuda.shared.array(0, np.int64)):
                assert array[i].dtype == array.dtype
                assert array[i] > 1e9
            a[i], b[i] = 1, 2
            cuda.syncthreads()
            assert (a[0], b[0]) == (1, 2)

        kernel[1, 3, 0, 32]()

    def test_atomics_and_arithmetic():
        @cuda.jit
        def kernel(out, flags):
            cuda.atomic.add(out, 0, 1)
            cuda.atomic.max(out, (1,), cuda.grid(1))
            cuda.atomic.min(out, 2, -cuda.grid(1))
            cuda.atomic.sub(out, 3, 2)
            if cuda.atomic.cas(flags, 0, 0, 1) == 0:
                cuda.atomic.exch(out, 4, cuda.gridsize(1))
            cuda.threadfence()
            assert cuda.popc(5) == cuda.selp(True, 2, 3) == cuda.fma(0, 1, 2) == cuda.ffs(2) == 2
            assert cuda.clz(1) == 31

        kernel[3, 40](out := zeros(5), zeros(1, np.int32))
        np.testing.assert_array_equal(out, [120, 119, -119, -240, 120])

    def test_lanes_that_have_ended_are_not_missed_but_have_no_values():
        @cuda.jit
        def kernel(out, source):
            if cuda.laneid < 8:
                out[cuda.laneid] = cuda.ballot_sync(ALL, True)
                cuda.shfl_sync(ALL, 1, source)

        kernel[1, 32](out := zeros(8, np.int64), 7)
        np.testing.assert_array_equal(out, 255)
        with pytest.raises(RuntimeError, match="from lane 8, which has ended"):
            kernel[1, 32](out, 8)

    def test_device_functions_with_a_wrapper_and_launchers_that_are_kept():
        @cuda.jit(device=True)
        def index():
            cuda.syncthreads()
            return cuda.grid(1)

        @cuda.jit
        def kernel(out):
            out[index()] = cuda.shared.array(0, np.int8).size / out[0]  # by zero, silently

        first, second = kernel[1, 2, 0, 8], kernel[2, 2]
        out = zeros(4)
        first(out[2:])
        np.testing.assert_array_equal(out, [0, 0, np.inf, np.inf])
        with options(races=False):
            second(out)
        assert np.isnan(out[0])

    # What is found

    def nobody_posts(box, out):
        if cuda.threadIdx.x == 5 and cuda.blockIdx.x == 1:
            await_word(box, 0, 1)
        cuda.syncthreads()

    def one_leaves(box, out):
        if cuda.threadIdx.x == 5:
            return
        cuda.syncthreads()

    def two_barriers(box, out):
        if cuda.threadIdx.x < 5:
            cuda.syncthreads()
        else:
            cuda.syncthreads()

    def two_calls(box, out):
        if cuda.threadIdx.x < 5:
            warp_sum(1)
        else:
            warp_sum(2)

    def two_kinds(box, out):
        cuda.syncthreads() if cuda.threadIdx.x < 5 else cuda.syncthreads_or(1)

    def block_and_warp(box, out):
        cuda.syncwarp() if cuda.threadIdx.x < 5 else cuda.syncthreads()

    @pytest.mark.parametrize("seed", SEEDS[:3])
    @pytest.mark.parametrize(
        ("kernel", "message"),
        [
            (nobody_posts, rf"32 of 64 have ended(.|\n)* 1 like block 1 thread 5 in nanosleep {AT} "
             rf"await_word < \S*:\d+ in nobody_posts(\n|$)"),
            (one_leaves, rf"2 of 64 have ended\n  62 like .* in syncthreads {AT} one_leaves"),
            (two_barriers, rf"thread \d+ in syncthreads {AT} two_barriers does not meet block"),
            (two_calls, rf"in shfl_xor_sync {AT} warp_sum < .* in two_calls does not meet block"),
            (two_kinds, rf"in syncthreads\S* {AT} two_kinds does not meet block"),
            (block_and_warp, "nobody goes on, 0 of 64"),
        ],
    )  # fmt: skip
    def test_deadlock(kernel, message, seed):
        with options(seed=seed), pytest.raises(Deadlock, match=message):
            cuda.jit(kernel)[2, 32](zeros(1, np.uint64), zeros(1))

    @pytest.mark.parametrize("kernel", [one_leaves, two_barriers, two_calls])
    def test_what_is_allowed_if_not_strict(kernel):
        with options(strict=False):
            cuda.jit(kernel)[2, 32](zeros(1, np.uint64), zeros(1))

    def neighbour_in_block(x, words):
        room, i = cuda.shared.array(64, float32), cuda.threadIdx.x
        room[i] = i
        cuda.syncwarp()
        words[cuda.grid(1)] = np.uint64(room[i ^ 32])

    def neighbour_in_warp(x, words):
        room, i = cuda.shared.array(64, float32), cuda.threadIdx.x
        room[i] = i
        words[cuda.grid(1)] = np.uint64(room[i ^ 1])

    def read_then_write(x, words):
        room, i = cuda.shared.array((8, 8), float32), cuda.threadIdx.x
        if i == 0:
            room[3, 3] = 1
        cuda.syncthreads()
        if room[3, 3] == 1 and i == 7:
            room[3, 3] = 2

    def two_views(x, words):
        wide, i = cuda.shared.array(0, np.float64), cuda.threadIdx.x
        if i == 0:
            wide[1] = 1
        if i == 1:
            cuda.shared.array(0, int32)[3] = 1

    def across_blocks(x, words):
        if cuda.threadIdx.x == 0:
            x[cuda.blockIdx.x // 2] = 1

    def across_blocks_by_reading(x, words):
        total = x[0] if cuda.threadIdx.x == 0 else 0.0
        cuda.syncthreads()
        if cuda.grid(1) == 70:
            x[0] = total

    def atomic_and_plain(x, words):
        cuda.atomic.add(x, 0, 1)
        if cuda.threadIdx.x == 9:
            words[0] = x[0] > 0

    @pytest.mark.parametrize("seed", SEEDS[:3])
    @pytest.mark.parametrize(
        ("kernel", "message"),
        [
            (neighbour_in_block, r"shared array of .*: (written|read) by block (\d) thread \d+ "
             rf"{AT} .*, then (written|read) by block \2 thread \d+ {AT} neighbour_in_block < "),
            (neighbour_in_warp, r"index \d+: (written|read) by .*, then (written|read) by .*, uno"),
            (read_then_write, r"index \(3, 3\): .* by block (\d) thread .*, then .* by block \1"),
            (two_views, r"dynamic size, index [13]: written"),
            (across_blocks, r"argument 0.x, index .: written by block \d thread 0 .*, then writ"),
            (across_blocks_by_reading, r"argument 0.x, index 0: .* by block \d thread \d"),
            (atomic_and_plain, "argument 0.x, index 0: .*updated atomically"),
        ],
    )  # fmt: skip
    def test_race(kernel, message, seed):
        def run(pair):
            kernel(*pair)

        with options(seed=seed):
            with pytest.raises(Race, match=message):
                cuda.jit(run)[3, 64, 0, 64](Pair(zeros(4), zeros(192, np.uint64)))
            with options(races=False):
                cuda.jit(run)[3, 64, 0, 64](Pair(zeros(4), zeros(192, np.uint64)))

    def test_what_messages_order_between_blocks():
        with options(ordered=("argument 0",)):
            cuda.jit(across_blocks)[3, 64](zeros(4), None)
            with pytest.raises(Race, match="argument 0, index 0"):  # within a block
                cuda.jit(atomic_and_plain)[3, 64](zeros(4), zeros(1, np.uint64))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_no_race(seed):
        @cuda.jit
        def kernel(x, total, both):
            room, i = cuda.shared.array(64, float32), cuda.threadIdx.x
            scratch = cuda.shared.array(0, np.float64)
            for step in range(4):
                room[i] = x[i] + x[0] + step  # all blocks read
                cuda.syncwarp()
                room[i] += cuda.shfl_xor_sync(ALL, room[i ^ 1], 1)
                warp_sum(1)
                room[i ^ 1] = 2
                cuda.syncthreads()
                if i < 8:
                    scratch[i] = room[i + 1] + room[i + 40]
                cuda.syncthreads()
                cuda.atomic.add(total, 0, scratch[7])
                both[2 * cuda.grid(1)] += room[5]
                cuda.syncthreads()

        total = zeros(1)
        with options(seed=seed):
            kernel[3, 64, 0, 64](zeros(64), total, zeros(400))
        np.testing.assert_array_equal(total, 4 * 3 * 64 * 4)

    def test_views_of_one_array_are_one():
        @cuda.jit
        def kernel(a, b):
            if cuda.threadIdx.x == 0:
                a[3] = 1
            else:
                b[1, 1] = 1

        x = zeros(6)
        with pytest.raises(Race, match="argument 1, index"):
            kernel[1, 2](x, x.reshape(3, 2).T)

    @pytest.mark.parametrize("index", [-1, 4, (1, 0), np.int32(-1), 2**31])
    def test_an_index_outside(index):
        @cuda.jit
        def kernel(x, words, which, reads):
            shared, local = cuda.shared.array(4, float32), cuda.local.array(4, int32)
            array = (x, words, shared, local)[which]
            if reads:
                array[index]
            else:
                array[index] = 1

        for which, reads in itertools.product(range(4), (True, False)):
            with pytest.raises(IndexError, match=r"^block 0 thread 0: .* \(4,\) has no element"):
                kernel[1, 1](zeros(4), zeros(4, np.uint64), which, reads)

    @pytest.mark.parametrize(
        ("operation", "error"),
        [
            (lambda: cuda.shfl_sync(1, 0, 0), NotImplementedError),
            (lambda: cuda.shfl_sync(ALL, 0, 0), ValueError),
            (lambda: cuda.nothing, AttributeError),
            (lambda: {}["key"], KeyError),
        ],
    )
    def test_the_kernels_exceptions_say_where(operation, error):
        @cuda.jit
        def kernel(ended):
            try:
                if cuda.grid(1) == 40:
                    operation()
                cuda.syncthreads()
            finally:
                ended.append(1)

        ended = []
        with pytest.raises(error, match="block 1 thread 7"):
            kernel[3, 33](ended)
        assert len(ended) == 33 + 8  # all that had begun
        assert simulator.now.launch is None

    def test_globals_come_back(monkeypatch):
        modules = [types.ModuleType(name) for name in ("accel.kernels.cuda.fake", "elsewhere")]
        for module in modules:
            module.cuda = module.other_name = cuda
            monkeypatch.setitem(sys.modules, module.__name__, module)
        seen = []

        @cuda.jit
        def kernel(fails):
            seen.append((cuda, modules[0].cuda, modules[0].other_name, modules[1].cuda))
            if fails:
                raise ArithmeticError

        kernel[1, 1](False)
        with pytest.raises(ArithmeticError):
            kernel[1, 1](True)
        for *here, elsewhere in seen:
            assert all(type(module) is simulator.Device for module in here)
            assert elsewhere is cuda
        assert all(module.cuda is module.other_name is cuda for module in modules)
        assert type(cuda) is types.ModuleType
