"""The order of the sums, without a cluster."""

import numpy as np
import pytest

pytest.importorskip("distributed", reason="distributed is not installed")

from accel.distributed.tree import add_up, cover, join

from ...children import python


def test_cover_finds_the_largest_nodes():
    assert cover([0, 1, 2, 3], 8) == [(0, 4)]
    assert cover([0, 1, 2], 8) == [(0, 2), (2, 3)]
    assert cover([1, 3, 5], 6) == [(1, 2), (3, 4), (5, 6)]
    assert cover(range(7), 7) == [(0, 7)]
    assert cover([], 7) == []


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 29])
def test_the_sum_has_one_order_however_the_chunks_are_dealt(count):
    rng = np.random.default_rng(count)
    parts = rng.standard_normal((count, 3)) * 10.0 ** rng.integers(-8, 8, (count, 3))
    whole = add_up((0, count), iter(parts.copy()))
    np.testing.assert_allclose(whole, parts.sum(axis=0), rtol=1e-9)
    for workers in (1, 2, 3, 5):
        owners, sums = rng.integers(0, workers, count), {}
        for worker in range(workers):
            held = np.flatnonzero(owners == worker).tolist()
            mine = iter(parts[held].copy())
            sums |= {node: add_up(node, mine) for node in cover(held, count)}
        assert np.array_equal(join((0, count), sums), whole)


def test_without_dask_the_import_says_what_to_install():
    code = "import sys; sys.modules['distributed'] = None; import accel.distributed"
    ended = python("-c", code, code=1)
    assert "pip install 'implicit-accel[dask]'" in ended.stderr
