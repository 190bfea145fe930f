"""On tiny data every contender makes the reference's steps, so what is timed is the same work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import CASES, CONTENDERS, DEEP, DEPTH_1, OURS_DEPTH_1, PLAIN_SUM

# A compiler run of half a minute; held to the reference where it is timed.
TOO_SLOW = "PyTorch compiled"

#: p, hidden widths, outputs, Gram or not, contenders
TINY = {
    "deep": (4.0, (5, 3), 1, False, DEEP),
    "outputs": (3.0, (5,), 2, False, DEEP),
    "gram": (2.0, (), 1, True, (*DEPTH_1, "NumPy Gram", "JAX Gram")),
}
PAIRS = [(name, peer) for name, tiny in TINY.items() for peer in tiny[-1] if peer != TOO_SLOW]

# One fresh interpreter for all: JAX and numba keep threads, after which no later test could fork.
SCRIPT = """
import json, sys, traceback
import numpy as np
from benchmarks.peers import Descent, Gap
from benchmarks.timing import reference_params, start

outcomes = {}
for name, (p, hidden, outputs, gram, contenders) in json.loads(sys.argv[1]).items():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 7)), rng.standard_normal((60, outputs))
    widths = (7, *hidden, outputs)
    params = 0.3 * rng.standard_normal(sum(a * b for a, b in zip(widths[1:], widths[:-1])))
    run = Descent(X, Y, p, widths, params, 1e-3, gram, threads=1)
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
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(todo)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow  # torch, JAX and their compilers: some eight seconds for all of them
@pytest.mark.parametrize(("tiny", "contender"), PAIRS)
def test_agrees_with_the_reference(tiny, contender, outcomes):
    outcome, why = outcomes[f"{tiny}/{contender}"]
    if outcome == "gap":
        pytest.skip(why)
    assert outcome == "agrees", why


def test_no_contender_is_forgotten():
    checked = {peer for _, peer in PAIRS} | {TOO_SLOW, OURS_DEPTH_1, PLAIN_SUM}
    assert checked == set(CONTENDERS)
    assert {peer for case in CASES for peer in case.contenders} == checked
