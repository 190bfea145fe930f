"""On tiny data every variant of every peer makes the reference's steps, and so does our form."""

import json

import numpy as np
import pytest

from benchmarks.peers import Descent, Sweep
from benchmarks.peers.matrix.common import END_TO_END, GRAM, LAYERWISE, forms, multiply_adds

from ...children import ROOT, python

# One fresh interpreter for all: JAX and numba keep threads, after which no later test could fork.
SCRIPT = """
import json, traceback
from dataclasses import replace
import numpy as np
from benchmarks.harness import reference
from benchmarks.peers import Descent, Gap, Sweep, our_sweep, ours
from benchmarks.peers.matrix import common, jax_peers, numpy_peers, torch_peers

def run(p, n, widths, models, dtype="float64"):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((n, widths[0])), rng.standard_normal((n, widths[-1]))
    size = sum(a * b for a, b in zip(widths[1:], widths[:-1]))
    params = 0.3 * rng.standard_normal(size)
    one = Descent(
        X.astype(dtype), Y.astype(dtype), p, widths, params.astype(dtype), 1e-3, threads=2
    )
    if models == 1:
        return one
    rates = np.geomspace(1e-4, 1e-3, models)
    return Sweep(tuple(
        replace(one, learning_rate=rate, params=(1 + m) * one.params)
        for m, rate in enumerate(rates)
    ))

def diagonal(run):
    if isinstance(run, Descent):
        return ours(replace(run, form="diagonal"))
    return our_sweep(Sweep(tuple(replace(one, form="diagonal") for one in run.descents)))

outcomes = {}
for p, (n, widths), models, dtype in (
    (2.0, (60, (7, 5, 4, 3)), 1, "float64"), (2.0, (9, (6, 6, 6)), 3, "float64"),
    (4.0, (6, (6, 6, 6)), 1, "float32"), (3.0, (5, (7, 5, 4, 3)), 3, "float64"),
):
    tiny = run(p, n, widths, models, dtype)
    expected = reference.reference_params(tiny)
    makers = {}
    for form in (common.END_TO_END, common.LAYERWISE, *[common.GRAM] * (p == 2)):
        for threads in (1, 2):
            makers[f"NumPy {form} {threads}"] = numpy_peers.numpy_steps, form, threads
            makers[f"PyTorch {form} {threads}"] = torch_peers.torch_steps, form, threads
        if models == 1:
            makers[f"JAX {form}"] = jax_peers.jax_steps, form
        else:
            makers[f"NumPy {form} shared"] = numpy_peers.numpy_shared, form
            makers[f"JAX {form} vmap"] = jax_peers.jax_vmap, form
            makers[f"JAX {form} stacked"] = jax_peers.jax_stacked, form
            makers[f"JAX {form} unrolled"] = jax_peers.jax_unrolled, form
    if p == 2:
        makers["ours"] = diagonal,
    for name, (make, *options) in makers.items():
        try:
            stepper = make(tiny, *options)
            off = reference.check(name, stepper, tiny, expected)
            outcome = off <= reference.TOLERANCE[dtype], str(off)
        except Gap as gap:
            outcome = True, str(gap)
        except Exception:
            outcome = False, traceback.format_exc()
        outcomes[f"p = {p:g}, {models} models, {name}"] = outcome
print(json.dumps(outcomes))
"""


@pytest.mark.slow  # torch, JAX and its compiler: some fifteen seconds
def test_every_variant_agrees_with_the_reference():
    done = python("-c", SCRIPT, cwd=ROOT, limit=400)
    outcomes = json.loads(done.stdout.splitlines()[-1])
    # One model has five variants of each form, three have eight; at p = 2 there is ours besides.
    assert len(outcomes) == (3 * 5 + 1) + (3 * 8 + 1) + 2 * 5 + 2 * 8
    assert not {name: why for name, (agrees, why) in outcomes.items() if not agrees}


def tiny(n, widths, p):
    size = sum(a * b for a, b in zip(widths[1:], widths[:-1], strict=True))
    shapes = (n, widths[0]), (n, widths[-1])
    return Descent(*(np.ones(shape) for shape in shapes), p, widths, np.ones(size), 1e-3)


@pytest.mark.parametrize(
    ("n", "p", "expected"),
    [
        (60, 4.0, [END_TO_END]),
        (6, 4.0, [END_TO_END, LAYERWISE]),
        (6, 2.0, [GRAM]),
        (2, 2.0, [LAYERWISE]),
        (2, 4.0, [LAYERWISE]),
    ],
)
def test_the_forms_with_the_fewest_multiply_adds(n, p, expected):
    assert forms(tiny(n, (6, 6, 6, 6), p)) == expected


def test_multiply_adds():
    one = tiny(60, (7, 5, 4, 3), 2.0)
    chain = 3 * 3 * (7 * 5 + 5 * 4)
    assert multiply_adds(one, END_TO_END) == one.multiply_adds == 2 * 60 * 7 * 3 + chain
    assert multiply_adds(one, GRAM) == 7 * 7 * 3 + chain
    assert multiply_adds(one, LAYERWISE) == 60 * (2 * 7 * 5 + 3 * 5 * 4 + 3 * 4 * 3)
    assert Sweep((one,) * 5).multiply_adds == 5 * one.multiply_adds
