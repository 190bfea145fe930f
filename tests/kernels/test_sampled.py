"""Products of rows and sums of rows for the entries that were seen, on integers, to the bit."""

import functools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accel.kernels.cpu import sampled
from accel.kernels.cpu.jit import entry, lanes_for
from accel.kernels.cpu.simd import at

LANES = lanes_for(2**10, np.dtype(np.float64))


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 40),
    rows=st.integers(1, 30),
    vectors=st.integers(1, 20),
)
def test_products_of_rows_and_sums_of_rows(seed, count, rows, vectors):
    rng, length = np.random.default_rng(seed), vectors * LANES
    B, u = rng.integers(-9, 9, (rows, length)) * 1.0, rng.integers(-9, 9, length) * 1.0
    weights, numbers = rng.integers(-9, 9, count + 1) * 1.0, rng.integers(0, rows, count)
    order = rng.permutation(count)
    ours = sampled_products(u, B, numbers, order, weights)
    np.testing.assert_array_equal(ours[0], B[numbers] @ u)
    np.testing.assert_array_equal(ours[1], weights[:count] @ B[numbers])
    np.testing.assert_array_equal(ours[2], weights[order] @ B[numbers])


def sampled_products(u, B, numbers, order, weights):
    """Products of u with rows of B, and both weighted sums of those rows."""
    numbers, order = numbers.astype(np.int32), order.astype(np.int32)
    dots, total, ordered = np.full(len(numbers), np.nan), np.full(len(u), np.nan), np.zeros(len(u))
    arrays = (u, np.ascontiguousarray(B), numbers, order, weights, dots, total, ordered)
    _sampled_entry()(*arrays)
    return dots, total, ordered


@functools.cache
def _sampled_entry():
    dtype = np.dtype(np.float64)
    products = sampled.make_row_products(dtype, LANES)
    first, second = (
        sampled.make_row_sum(dtype, LANES, ordered=ordered) for ordered in (False, True)
    )

    @entry("sampled in a test", LANES)
    def run(u, B, numbers, order, weights, dots, total, ordered):
        count, length = numbers.size, u.size
        products(at(u, 0), at(B, 0), at(numbers, 0), count, at(dots, 0), length)
        matrix, w = (at(B, 0), length), at(weights, 0)
        first(w, (at(numbers, 0), 0), count, matrix, at(total, 0), length)
        second(w, (at(numbers, 0), at(order, 0)), count, matrix, at(ordered, 0), length)

    return run
