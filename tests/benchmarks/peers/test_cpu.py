"""On tiny data every contender makes the reference's steps, so what is timed is the same work."""

import json

import numpy as np
import pytest

from benchmarks.harness.cases import (
    CASES,
    DEEP,
    DEPTH_1,
    GRAM_SWEEP,
    LIMIT,
    ON_CPU,
    OURS_DEPTH_1,
    OURS_P_4,
    PLAIN_SUM,
    SWEEP,
)
from benchmarks.peers.peak import peak, start_values

from ...children import ROOT, python

# A compiler run of half a minute; held to the reference where it is timed.
TOO_SLOW = "PyTorch compiled"

#: p, hidden widths, outputs, our form, models, contenders
TINY = {
    "deep": (4.0, (5, 3), 1, "direct", 1, DEEP),
    "outputs": (3.0, (5,), 2, "direct", 1, DEEP),
    "gram": (2.0, (), 1, "gram", 1, (*DEPTH_1, "NumPy Gram", "JAX Gram")),
    "sweep": (4.0, (), 1, "direct", 5, SWEEP),
    "deep sweep": (3.0, (4, 1), 1, "direct", 5, SWEEP),
    "Gram sweep": (2.0, (), 1, "gram", 5, GRAM_SWEEP),
}
PAIRS = [(name, peer) for name, tiny in TINY.items() for peer in tiny[-1] if peer != TOO_SLOW]

# One fresh interpreter for all: JAX and numba keep threads, after which no later test could fork.
SCRIPT = """
import json, sys, traceback
from dataclasses import replace
import numpy as np
from benchmarks.peers import Descent, Gap, Sweep
from benchmarks.harness.reference import reference_params, start

outcomes = {}
for name, (p, hidden, outputs, form, models, contenders) in json.loads(sys.argv[1]).items():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 7)), rng.standard_normal((60, outputs))
    widths = (7, *hidden, outputs)
    params = 0.3 * rng.standard_normal(sum(a * b for a, b in zip(widths[1:], widths[:-1])))
    run = Descent(X, Y, p, widths, params, 1e-3, form, threads=1)
    if models > 1:
        rates = np.geomspace(1e-4, 1e-3, models)
        run = Sweep(tuple(
            replace(run, learning_rate=rate, params=params * (1 + m))
            for m, rate in enumerate(rates)
        ))
    reference = reference_params(run)
    for contender in contenders:
        try:
            start(contender, run, reference)
            outcome = ["agrees", ""]
        except Gap as gap:
            outcome = ["gap", str(gap)]
        except Exception:
            outcome = ["fails", traceback.format_exc()]
        outcomes[name + "/" + contender] = outcome
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes():
    todo = {
        name: (*tiny[:-1], [peer for which, peer in PAIRS if which == name])
        for name, tiny in TINY.items()
    }
    done = python("-c", SCRIPT, json.dumps(todo), cwd=ROOT, limit=300)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow  # torch, JAX and their compilers: some eight seconds for all of them
@pytest.mark.parametrize(("tiny", "contender"), PAIRS)
def test_agrees_with_the_reference(tiny, contender, outcomes):
    outcome, why = outcomes[f"{tiny}/{contender}"]
    if outcome == "gap":
        pytest.skip(why)
    assert outcome == "agrees", why


def test_no_contender_is_forgotten():
    checked = {peer for _, peer in PAIRS}
    checked |= {TOO_SLOW, OURS_DEPTH_1, OURS_P_4, PLAIN_SUM, LIMIT}  # the last in test_limit.py
    assert checked == {*ON_CPU.descents, *ON_CPU.sweeps}
    assert {peer for case in CASES for peer in case.contenders} == checked


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_peak_is_of_multiply_adds_that_are_made(dtype):
    fastest = peak(np.dtype(dtype))
    values = start_values(fastest, 2, np.dtype(dtype))
    values[:, fastest.width : fastest.width + fastest.lanes] = [
        [1],
        [2],
    ]  # the factors of each rank
    for rank in range(2):
        fastest.kernel(values, 7, np.zeros(1, np.int64), rank)
    begun = np.arange(fastest.width)
    expected = [begun + 7, 2**7 * begun + 2**7 - 1]
    np.testing.assert_array_equal(values[:, : fastest.width], expected)
