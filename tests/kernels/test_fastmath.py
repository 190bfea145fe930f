"""No compiled code may assume that NaN and inf do not occur, or round as it likes."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from accel.kernels.cpu import factor_chain, jit, lp_loss, precondition, updates
from accel.kernels.specs import ADAM, Loss

#: What lets LLVM take inf - inf, 0 * inf, x / x or a reciprocal for something else than they are.
FORBIDDEN = re.compile(r"\b(nnan|ninf|arcp|afn|fast)\b")


def flags_of(code):
    """The fast-math flags of LLVM code, on instructions and calls and as attributes."""
    assert "define" in code
    names = re.findall(r"= (?:tail )?(?:f\w+|call)((?: \w+)*?) (?:<|double|float)", code)
    attributes = re.findall(r'"((?:unsafe-fp-math|no-nans-fp-math|no-infs-fp-math)"="true)', code)
    return {flag for name in names for flag in name.split()}, attributes


def test_the_flags():
    assert jit.FASTMATH == {"reassoc", "contract", "nsz"}
    sources = Path(jit.__file__).parent.glob("*.py")
    given = re.findall(r"(?:fastmath|flags)=(.*)", "\n".join(s.read_text() for s in sources))
    assert given  # that of simd.py, and that of powers.py
    for flags in given:
        assert not FORBIDDEN.search(flags)


@pytest.mark.slow
def test_in_the_compiled_code(monkeypatch):
    monkeypatch.setenv("ACCEL_CACHE", "0")  # a kernel from the disk cannot be looked into
    rng, dtype = np.random.default_rng(0), np.dtype(np.float64)
    X, Y, W = (rng.standard_normal(shape) for shape in [(40, 16), (40, 2), (2, 16)])
    lanes = jit.lanes_for(16, dtype)
    made = []
    for module, name, key in [
        (lp_loss, "_make_pass", (dtype, lanes)),
        (lp_loss, "_make_gram_pass", (dtype, lanes)),
        (lp_loss, "_make_hessian", (lanes,)),
        (factor_chain, "_make_entry", (dtype, lanes)),
        (updates, "_make_entry", (dtype,)),
        (precondition, "_make_entry", (dtype,)),
    ]:
        kernel = getattr(module, name).__wrapped__(*key)
        monkeypatch.setattr(module, name, lambda *_, kernel=kernel: kernel)
        made.append(kernel)
    lp_loss.loss_and_gradient(X, Y, W, Loss(1.5))
    lp_loss.gram_loss_and_gradient(*lp_loss.gram(X, Y), 40, W, 1.0)
    lp_loss.hessian(X, Y[:, 0], W[0], Loss(3.0))
    factor_chain.gradients(W.ravel(), (16, 2), W)
    updates.update(ADAM, W[0], X[0], np.ones((2, 16)), (0.1, 0.0, 0.9, 0.99, 1e-8), 1)
    precondition.precondition(W, W, 3)
    seen = set()
    for kernel in made:
        (code,) = kernel.inspect_llvm().values()
        flags, attributes = flags_of(code)
        assert not attributes
        assert not FORBIDDEN.search(code), FORBIDDEN.search(code)
        seen |= flags
    assert {"reassoc", "contract", "nsz"} <= seen  # there is something to be found


def test_what_would_be_found():
    flags, attributes = flags_of(
        'define x\n %1 = fadd nnan ninf double %2, %3\n "no-nans-fp-math"="true"'
    )
    assert flags == {"nnan", "ninf"}
    assert attributes


@pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="no numba-cuda here")
def test_cuda_is_compiled_without_fast_math():
    folder = Path(jit.__file__).parents[1] / "cuda"
    for path in folder.glob("*.py"):
        assert "fastmath" not in path.read_text()
        assert "fast_" not in path.read_text()
