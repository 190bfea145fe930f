"""The whole package gives the same bits in every process, with kernels compiled or loaded."""

import hashlib
import json
import os
import re

import numpy as np
import pytest

import accel
from accel.kernels.cpu import epilogue, jit, solo

from ..children import ROOT, python

pytestmark = pytest.mark.slow


def models(problem):
    network = accel.LinearNetwork.for_problem(problem, 2, 3, init="orthogonal", scale=0.4)
    alone = accel.LinearNetwork.for_problem(problem, 1, scale=0.1)
    rules = (accel.GradientDescent(0.01), accel.Adam(0.01), accel.Momentum(0.003))
    return [(network, rule) for rule in rules] + [(alone, accel.EndToEnd(0.01, depth=3))]


def bits():
    """Digests of runs: by passes over the data and by X'X, of one model and of several."""
    rng, digests = np.random.default_rng(0), {}
    X, y = rng.standard_normal((1501, 16)), rng.standard_normal(1501)
    for p in (4, 2):
        problem = accel.LpProblem(X, y, p=p)
        results = [
            accel.train(problem, *models(problem)[1], 150, threads=2),
            *accel.sweep(problem, models(problem)[1:2], 150, threads=2),
            *accel.sweep(problem, models(problem), 150, threads=2),
        ]
        for m, result in enumerate(results):
            history = result.history
            numbers = [result.network.params, history.loss, history.gradient_norm, history.step]
            digest = hashlib.sha256(b"".join(a.tobytes() for a in numbers)).hexdigest()
            digests[f"p = {p}, {result.method}, {m}"] = digest
    return digests


def flags():
    """The fast-math flags in the LLVM code of the loops, and whether any assumes finite numbers."""
    dtype = np.dtype(np.float64)
    lanes = jit.lanes_for(16, dtype)
    kernels = [solo.make_joint(dtype, lanes, form, "lp") for form in ("one", "several")]
    kernels += [solo.make_singly(dtype, lanes, "gram", "lp")]
    kernels += [solo.make_grouped(dtype, lanes)]
    kernels += [epilogue.make_settle(dtype, lanes, "product", batches=False).dispatcher]
    codes = [code for kernel in kernels for code in kernel.inspect_llvm().values()]
    assert len(codes) == 5
    code = "".join(codes)
    lines = re.findall(r"= (?:tail )?(?:f(?:add|sub|mul|div|neg|cmp|rem)|call) (.*)", code)
    seen = {word for line in lines for word in line.split("@")[0].split()}
    attributes = re.findall(r'"(?:unsafe-fp-math|no-nans-fp-math|no-infs-fp-math)"="true"', code)
    return sorted(seen), attributes


@pytest.fixture(scope="module")
def cold():
    """Digests of another process, without cached kernels, with other numbers of BLAS threads."""
    code = "import json; from tests.accel.test_determinism import bits, flags; "
    code += "print(json.dumps([bits(), flags()]))"
    threads = "2" if os.environ.get("OPENBLAS_NUM_THREADS") == "1" else "1"
    done = python("-c", code, cwd=ROOT, ACCEL_CACHE="0", OPENBLAS_NUM_THREADS=threads)
    return json.loads(done.stdout)


def test_a_process_that_compiles_and_one_that_loads(cold):
    first, _ = cold
    # All models differ; so does the one that is alone.
    assert len(set(first.values())) == 10
    assert bits() == first
    for method in ("p = 4, direct", "p = 2, gram"):
        assert first[f"{method}, 0"] == first[f"{method}, 1"]


def test_no_flag_lets_llvm_forget_nan_and_inf(cold):
    """Such flags let LLVM take inf - inf for 0, and x / x for 1."""
    _, (seen, attributes) = cold
    assert {"reassoc", "contract", "nsz", "double"} <= set(seen)
    assert not {"nnan", "ninf", "arcp", "afn", "fast"} & set(seen)
    assert attributes == []
