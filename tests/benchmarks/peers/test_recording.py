"""On tiny data every variant of a peer's records yields what plain NumPy does, and so do ours."""

import json

import numpy as np
import pytest

from benchmarks.groups.recording.measure import Case, Ours, apart
from benchmarks.peers.recording import CHEAP
from benchmarks.peers.recording.common import largest_eigenvalue

from ...children import ROOT, python

# One fresh interpreter: JAX and numba keep threads, after which no later test could fork.
SCRIPT = """
import json, sys
import numpy as np
from benchmarks.groups.recording.measure import Case, apart
from benchmarks.peers import Gap
from benchmarks.peers.recording import jax_recorders, torch_recorders

recorders = {"PyTorch": torch_recorders, "JAX": jax_recorders}[sys.argv[1]]
outcomes = {}
for p in (2.0, 3.0, 4.0):
    case = Case(p, size=8, steps=20, every=10)
    start = case.recording.run.params
    expected = {name: values[:1] for name, values in case.expected.items()}
    cheap = {name: values for name, values in expected.items() if name != "sharpness"}
    try:
        made = recorders(case.recording)
    except Gap as gap:
        print(json.dumps(str(gap)))
        break
    for words, record in made.cheap.items():
        values = {name: np.asarray(value)[None] for name, value in record(start).items()}
        outcomes[f"p = {p:g}, {words}"] = "cheap", apart(cheap, values)["cheap"]
    for words, record in made.sharpness.items():
        off = apart({"sharpness": expected["sharpness"]}, {"sharpness": [record(start)]})
        outcomes[f"p = {p:g}, sharpness, {words}"] = "sharpness", off["sharpness"]
else:
    print(json.dumps(outcomes))
"""


@pytest.mark.slow  # torch, JAX and its compiler
@pytest.mark.parametrize(("library", "variants"), [("PyTorch", 3 + 4), ("JAX", 2 + 2)])
def test_every_variant_agrees(library, variants):
    done = python("-c", SCRIPT, library, cwd=ROOT, limit=300)
    outcomes = json.loads(done.stdout.splitlines()[-1])
    if isinstance(outcomes, str):
        pytest.skip(outcomes)
    assert len(outcomes) == 3 * variants
    limits = {"cheap": 1e-10, "sharpness": 1e-6}
    assert not {words: off for words, (kind, off) in outcomes.items() if off > limits[kind]}


@pytest.mark.parametrize("p", [2.0, 3.0])
def test_ours_agree(p):
    case = Case(p, size=8, steps=20, every=10)
    values, method = Ours(case).recorded()
    assert method in ("spectral", "gram", "direct")
    assert set(values) == {*CHEAP, "balancedness_layers", "sharpness"} == set(case.expected)
    assert all(len(column) == case.records == 3 for column in case.expected.values())
    off = apart(case.expected, values)
    assert off["cheap"] < 1e-10
    assert off["sharpness"] < 1e-5


def test_lanczos():
    values = np.linspace(-3, 2, 40)
    basis = np.empty((39, 40))
    found = largest_eigenvalue(lambda v: values * v, np.ones(40), values, basis)
    assert found == pytest.approx(2, rel=1e-6)
    np.testing.assert_allclose(basis @ basis.T, np.eye(39), atol=1e-6)
