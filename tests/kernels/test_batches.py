"""Batches: each row once an epoch, no row and no pair more often, and compiled against plain."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accel.kernels.cpu.batches import Batches
from accel.kernels.reference import batches, philox
from accel.kernels.specs import SHUFFLES

stats = pytest.importorskip("scipy.stats")


def filled(made, first, steps, dtype):
    """What the compiled code writes: the rows of each step; it writes nothing beyond them."""
    size = made.plan.size
    rows, counts = np.full((steps, size), -7, dtype), np.full(steps, -7, dtype)
    made.fill(rows, counts, first)
    assert all((row[count:] == -7).all() for row, count in zip(rows, counts, strict=True))
    return [row[:count].tolist() for row, count in zip(rows, counts, strict=True)]


@st.composite
def cases(draw):
    n = draw(st.integers(1, 400))
    return n, draw(st.integers(1, n)), draw(st.integers(0, 2**63 - 1))


@pytest.mark.parametrize("shuffle", SHUFFLES)
@settings(deadline=None, max_examples=60)
@given(case=cases(), firsts=st.lists(st.integers(0, 2**62), min_size=1, max_size=3))
@example(case=(1, 1, 0), firsts=[0, 2**40])
@example(case=(10, 10, 2**63 - 1), firsts=[0, 1])
@example(case=(10, 1, 5), firsts=[9, 3, 11])
@example(case=(2500, 1100, 5), firsts=[1, 4, 0])
@example(case=(70_000, 40_000, 5), firsts=[3])
def test_compiled_rows(shuffle, case, firsts):
    """To the bit, in any order of requests, across the ends of epochs."""
    n, size, seed = case
    made = Batches(n, size, shuffle, seed)
    for first in firsts:
        expected = [batches.rows(n, size, shuffle, seed, first + s).tolist() for s in range(3)]
        assert filled(made, first, 3, np.int64) == expected


def test_rows_of_32_bits():
    expected = [batches.rows(90, 40, "epoch", 3, step).tolist() for step in range(7)]
    assert filled(Batches(90, 40, "epoch", 3), 0, 7, np.int32) == expected


def test_the_largest_data():
    """Rows up to 2^31 - 1, drawn one by one."""
    n, size = 2**31 - 1, 5000
    (rows,) = filled(Batches(n, size, "replacement", 1), 12, 1, np.int32)
    assert rows == batches.rows(n, size, "replacement", 1, 12).tolist()
    assert max(rows) > n - n // 500


@given(case=cases(), epoch=st.integers(0, 2**40), shuffle=st.sampled_from(["epoch", "none"]))
def test_every_row_once_an_epoch(case, epoch, shuffle):
    n, size, seed = case
    steps = batches.steps_per_epoch(n, size)
    parts = [batches.rows(n, size, shuffle, seed, epoch * steps + j) for j in range(steps)]
    assert [len(part) for part in parts] == [size] * (n // size) + [n % size] * (n % size > 0)
    assert all(np.all(np.diff(part) > 0) for part in parts)
    together = np.concatenate(parts)
    assert np.array_equal(np.sort(together), np.arange(n))
    if shuffle == "none":
        assert np.array_equal(together, np.arange(n))


@given(case=cases(), step=st.integers(0, 2**62))
def test_rows_with_replacement(case, step):
    n, size, seed = case
    rows = batches.rows(n, size, "replacement", seed, step)
    assert len(rows) == size
    assert rows[0] >= 0
    assert rows[-1] < n
    assert np.all(np.diff(rows) >= 0)


def partitions(n, size, count, by):
    """The labels of many epochs of one seed, or of the first epoch of many seeds, (count, n)."""
    of = [(0, i) if by == "epochs" else (i, 0) for i in range(count)]
    return np.array([batches.labels(n, size, seed, epoch) for seed, epoch in of])


def uniform(counts, expected=None):
    """Whether counts are as those of equally likely cases, or cases of given probabilities."""
    total = np.sum(counts)
    share = np.full(len(counts), 1 / len(counts)) if expected is None else np.asarray(expected)
    return stats.chisquare(counts, total * share).pvalue > 0.001


@pytest.mark.parametrize("by", ["epochs", "seeds"])
def test_all_partitions_are_equally_likely(by):
    """Of 5 rows into batches of 2, 2 and 1 there are 30."""
    found = partitions(5, 2, 6000, by)
    _, counts = np.unique(found @ 3 ** np.arange(5), return_counts=True)
    assert len(counts) == 30
    assert uniform(counts)


@pytest.mark.parametrize("by", ["epochs", "seeds"])
def test_places_and_pairs(by):
    """Each row is in each batch as often as that is large, and with each other row."""
    n, size, count = 12, 5, 3000
    found = partitions(n, size, count, by)
    for row in range(n):
        assert uniform(np.bincount(found[:, row], minlength=3), [5 / 12, 5 / 12, 2 / 12])
    together = (found[:, :, None] == found[:, None, :]).sum(axis=0)
    same = together[np.triu_indices(n, 1)]
    share = (5 * 4 + 5 * 4 + 2 * 1) / (12 * 11)
    errors = (same - count * share) / np.sqrt(count * share * (1 - share))
    assert np.max(np.abs(errors)) < 4
    assert abs(np.mean(errors**2) - 1) < 0.6


def wrong_labels(n, size, seed):
    """The classical slip: every label changes places with any, so that n^n ways make n! orders."""
    labels = np.arange(n) // size
    for i, j in enumerate(philox.index(philox.numbers(0, n, 0, 0, seed), np.full(n, n))):
        labels[[i, j]] = labels[[j, i]]
    return labels


def cyclic_labels(n, size, seed):
    """Another one, Sattolo's cycles: no label may stay where it is."""
    labels = np.arange(n) // size
    jumps = philox.index(philox.numbers(0, n, 0, 0, seed), np.maximum(n - 1 - np.arange(n), 1))
    for i in range(n - 1):
        j = i + 1 + jumps[i]
        labels[[i, j]] = labels[[j, i]]
    return labels


@pytest.mark.parametrize("wrong", [wrong_labels, cyclic_labels])
def test_a_wrong_shuffle_would_be_noticed(wrong):
    found = np.array([wrong(5, 2, seed) for seed in range(6000)])
    _, counts = np.unique(found @ 3 ** np.arange(5), return_counts=True)
    assert not uniform(counts)


def test_epochs_do_not_depend_on_each_other():
    """The batch of a row, in one epoch and in the next."""
    found = partitions(30, 10, 400, "epochs")
    table = np.zeros((3, 3))
    for before, after in pairwise(found):
        np.add.at(table, (before[:6], after[:6]), 1)
    assert stats.chi2_contingency(table).pvalue > 0.001


@pytest.mark.parametrize("shuffle", ["epoch", "replacement"])
def test_the_mean_of_a_batch_is_unbiased(shuffle):
    """And it has the variance of sampling without, or with, replacement."""
    n, size, count = 20, 6, 4000
    x = philox.gaussians(0, n, 1, 0, 0) ** 3
    steps = batches.steps_per_epoch(n, size)
    rows = [batches.rows(n, size, shuffle, 9, epoch * steps + 1) for epoch in range(count)]
    means = np.array([x[each].mean() for each in rows])
    variance = x.var() / size * ((n - size) / (n - 1) if shuffle == "epoch" else 1)
    assert abs(means.mean() - x.mean()) < 3.3 * np.sqrt(variance / count)
    assert means.var() == pytest.approx(variance, rel=0.1)


def test_rows_with_replacement_are_equally_likely():
    """Each row, and each pair of rows of a step, of which one may come twice."""
    n, count = 7, 5000
    drawn = np.array([batches.rows(n, 2, "replacement", 4, step) for step in range(count)])
    assert uniform(np.bincount(drawn.ravel(), minlength=n))
    pairs = np.bincount(drawn[:, 0] * n + drawn[:, 1], minlength=n * n).reshape(n, n)
    assert uniform(pairs[np.triu_indices(n)], ((2 - np.eye(n)) / n**2)[np.triu_indices(n)])
