"""The value that says which rows every step takes."""

import dataclasses
import pickle

import numpy as np
import pytest

from accel import Batches
from accel.kernels.reference import batches


@pytest.mark.parametrize("shuffle", ["epoch", "replacement", "none"])
def test_rows(shuffle):
    made = Batches(11, 4, shuffle, seed=2**62)
    assert made.steps_per_epoch == 3
    for step in (5, 0, 2**63 - 1):
        rows = made.rows(step)
        assert rows.dtype == np.int64
        np.testing.assert_array_equal(rows, batches.rows(11, 4, shuffle, 2**62, step))


def test_an_epoch():
    made = Batches(np.int32(11), np.int64(4))
    parts = [made.rows(step) for step in range(3, 6)]
    assert [len(part) for part in parts] == [4, 4, 3]
    assert sorted(np.concatenate(parts)) == list(range(11))


def test_it_is_a_value():
    made = Batches(11, 4)
    assert made == Batches(11, 4, "epoch", 0) == pickle.loads(pickle.dumps(made))
    assert made != Batches(11, 4, seed=1)
    assert hash(made) == hash(Batches(11, 4))
    assert type(Batches(np.int32(11), 4).n) is int
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.size = 3
