"""Bits must not depend on where the allocator happens to put an array.

LLVM guards a vectorised loop that loads and stores by a comparison of addresses: arrays that lie
close together take its scalar version. That is harmless unless the loop adds up a total as well:
the scalar version adds in another order.
"""

import re

import numpy as np
import pytest

from accel.kernels.cpu import (
    columns,
    diagonal,
    epilogue,
    factor_chain,
    gram_pass,
    jit,
    loop,
    lp_loss,
    precondition,
    solo,
)
from accel.kernels.specs import Loss

from .runs import DTYPES
from .test_loop_models import SHAPES, mixed

SMALL_GRAM = {"p": 2.0, "form": "gram", "d": 4, "n": 40}


class Arena:
    """Stands in for ``aligned_zeros``: arrays lie ``gap`` bytes apart, in a random order."""

    def __init__(self, seed, gap):
        self.rng, self.gap = np.random.default_rng(seed), gap
        memory = np.zeros(1 << 25, np.uint8)
        self.memory = memory[-memory.ctypes.data % jit.LINE :]
        self.ends = [len(self.memory) // 2 // jit.LINE * jit.LINE] * 2

    def __call__(self, size, dtype):
        count = size * np.dtype(dtype).itemsize
        step = jit.padded(count, jit.LINE) + self.gap
        if self.rng.random() < 0.5:
            self.ends[0] -= step
            first = self.ends[0]
        else:
            first = self.ends[1]
            self.ends[1] += step
        assert self.ends[0] >= 0
        assert self.ends[1] <= len(self.memory)
        return self.memory[first : first + count].view(dtype)


def run(arena, monkeypatch, X, Y, loss, models):
    with monkeypatch.context() as patch:
        for module in (columns, diagonal, factor_chain, gram_pass, loop, lp_loss):
            patch.setattr(module, "aligned_zeros", arena)
        with loop.TrainingLoop(X, Y, loss, models) as training:
            training.advance(20, record_every=1)
            return training.take_history()[1], *(training.params(m) for m in range(len(models)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [*SHAPES.values(), SMALL_GRAM], ids=[*SHAPES, "gram, four features"]
)
def test_neighbours_in_memory_change_nothing(shape, dtype, monkeypatch):
    if shape.get("form") == "gram" and dtype != np.float64:
        pytest.skip("the Gram path is for float64")
    X, Y, loss, models = mixed(dtype=dtype, **shape)
    apart = run(Arena(0, 1 << 12), monkeypatch, X, Y, loss, models)
    for seed in range(8):
        close = run(Arena(seed, 0), monkeypatch, X, Y, loss, models)
        for ours, theirs in zip(close, apart, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_gram_pass_of_one_model_beside_its_data():
    """Every distance at which LLVM might take the arrays of so small a problem for overlapping."""
    rng = np.random.default_rng(0)
    X, Y, W = (rng.standard_normal(shape) for shape in [(40, 4), (40, 1), (1, 4)])
    data = gram_pass.pack_gram(*lp_loss.gram(X, Y))
    kernel = gram_pass._make_entry(jit.lanes_for(4, X.dtype), False)
    weights, expected, none = (jit.aligned_zeros(data.ld, X.dtype) for _ in range(3))
    weights[:4] = W
    total = kernel(data, weights, expected, none, 1.0)
    memory = jit.aligned_zeros(1 << 11, np.uint8)
    middle = 1 << 10
    near = memory[middle : middle + weights.nbytes].view(X.dtype)
    near[:] = weights
    for distance in [*range(-512, -63, 64), *range(64, 513, 64)]:
        place = memory[middle + distance :][: expected.nbytes].view(X.dtype)
        assert kernel(data, near, place, none, 1.0) == total
        np.testing.assert_array_equal(place, expected)


def guarded_totals(code):
    """Find vector loops of LLVM code that add up a total behind a comparison of addresses."""
    loops = []
    for function in re.split(r"^define ", code, flags=re.MULTILINE)[1:]:
        parts = re.split(r'^([\w.$"-]+):', function, flags=re.MULTILINE)
        blocks = dict(zip(parts[1::2], parts[2::2], strict=True))
        ahead = [name for name in blocks if name.startswith("vector.memcheck")]
        reached = set()
        while ahead:
            name = ahead.pop()
            if name in reached or not name.startswith(("vec", "iter.check")):
                continue
            reached.add(name)
            ahead += re.findall(r'label %([\w.$"-]+)', blocks[name])
        for name in reached:
            if "vector.body" in name and re.search(r"= phi <\d+ x (double|float)>", blocks[name]):
                loops.append((function.split("(")[0], name))
    return loops


def test_no_total_is_added_up_behind_a_comparison_of_addresses(monkeypatch):
    monkeypatch.setenv("ACCEL_CACHE", "0")  # a kernel from the disk cannot be looked into
    rng, dtype = np.random.default_rng(0), np.dtype(np.float64)
    X, Y, W = (rng.standard_normal(shape) for shape in [(40, 16), (40, 1), (1, 16)])
    lanes = jit.lanes_for(16, dtype)
    one = lp_loss.make_pass.__wrapped__(dtype, lanes, "one")
    monkeypatch.setattr(lp_loss, "make_pass", lambda *key: one)
    rule = precondition._make_entry.__wrapped__(dtype)
    monkeypatch.setattr(precondition, "_make_entry", lambda _: rule)
    lp_loss.loss_and_gradient(X, Y, W, Loss(1.5))
    precondition.precondition(W, W, 3)
    for kernel in (one, rule):
        (code,) = kernel.inspect_llvm().values()
        assert "vector.body" in code
        assert guarded_totals(code) == []


@pytest.mark.parametrize(
    "shape",
    [{}, {"k": 3}, {"p": 2.0, "form": "gram"}, {"form": "diagonal"}],
    ids=["singly", "joint", "grouped", "diagonal"],
)
def test_nor_in_a_step(shape, monkeypatch):
    monkeypatch.setenv("ACCEL_CACHE", "0")
    for name in ("make_singly", "make_joint", "make_grouped"):
        monkeypatch.setattr(solo, name, getattr(solo, name).__wrapped__)
    make, pieces = epilogue.make_settle.__wrapped__, []

    def make_settle(*key, batches):
        pieces.append(make(*key, batches=batches))
        return pieces[-1]

    monkeypatch.setattr(loop, "make_settle", make_settle)
    with loop.TrainingLoop(*mixed(**shape)) as run:
        kernels = [run._ranks.kernel, *(piece.dispatcher for piece in pieces)]
        code = "".join(code for kernel in kernels for code in kernel.inspect_llvm().values())
    assert len(kernels) == 2
    assert "vector.body" in code
    assert guarded_totals(code) == []
