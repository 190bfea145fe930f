"""The peers on a GPU, on the host: NumPy for CuPy, PyTorch and JAX on the CPU."""

import ast
import functools
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.groups.gpu import data
from benchmarks.harness import reference
from benchmarks.peers import Sweep, cuda
from benchmarks.peers.cuda.chain import LENGTHS, pieces
from benchmarks.peers.cuda.cupy_peers import copying, power_code

from ...children import ROOT, python
from ..stand_ins import BLAS, XP, tiny

HIDDEN = [(), (1, 1), (5, 3), (1,) * 7]

# One fresh interpreter for all: JAX and torch keep threads, after which no later test could fork.
SCRIPT = """
import importlib.util, json, sys, traceback
from dataclasses import replace
sys.path[:0] = [sys.argv[1]]
from stand_ins import tiny
from benchmarks.harness import reference
from benchmarks.peers import cuda
from benchmarks.peers.cuda.chain import pieces
from benchmarks.peers import Gap, Sweep
from benchmarks.peers.torch_peers import torch_sweep_step

def sweep_eager(run):
    from benchmarks.peers import Stepper
    from benchmarks.peers.common import flat
    factors, step = torch_sweep_step(run, "cpu")
    params = lambda: flat([factor.numpy() for factor in factors])
    return Stepper(lambda steps: [step() for _ in range(steps)], params)

outcomes = {}
for name, (hidden, p, dtype, models) in json.loads(sys.argv[2]).items():
    run = tiny(tuple(hidden), p, dtype, outputs=3 if "outputs" in name else 1)
    if models == 1:
        contenders = {
            "torch": lambda: cuda.torch_eager(run, "cpu"),
            "jax": lambda: cuda.jax_scan(run, "cpu"),
            "no gpu": lambda: cuda.jax_scan(run),
        }
    else:
        run = Sweep(tuple(replace(run, learning_rate=1e-4 * m) for m in range(1, models + 1)))
        contenders = {
            "torch": lambda: sweep_eager(run),
            "jax": lambda: cuda.jax_vmap_scan(run, "cpu"),
            "jax by hand": lambda: cuda.jax_sweep_scan(run, "cpu"),
        }
    iterate = reference.reference_params(run)
    for contender, build in contenders.items():
        library = "torch" if contender == "torch" else "jax"
        if importlib.util.find_spec(library) is None:
            outcomes[f"{name}/{contender}"] = ["gap", f"{library} is not installed"]
            continue
        try:
            error = reference.check(contender, build(), run, iterate)
            outcomes[f"{name}/{contender}"] = ["ran", error]
        except Gap as gap:
            outcomes[f"{name}/{contender}"] = ["gap", str(gap)]
        except Exception:
            outcomes[f"{name}/{contender}"] = ["fails", traceback.format_exc()]
print(json.dumps(outcomes))
"""
RUNS = {
    "shallow": ((), 4.0, "float64", 1),
    "shallow, float32": ((), 4.0, "float32", 1),
    "deep": ((5, 3), 3.0, "float64", 1),
    "width 1": ((1, 1), 2.0, "float64", 1),
    "outputs": ((5, 3), 4.0, "float64", 1),
    "outputs, odd": ((3,), 3.0, "float32", 1),
    "outputs, depth 1": ((), 2.0, "float64", 1),
    "sweep": ((), 4.0, "float64", 3),
}
PAIRS = [
    (name, contender)
    for name, (_, _, _, models) in RUNS.items()
    for contender in (("torch", "jax") if models == 1 else ("torch", "jax", "jax by hand"))
]


@pytest.fixture(scope="module")
def outcomes():
    arguments = Path(__file__).parents[1], json.dumps(RUNS)
    done = python("-c", SCRIPT, *arguments, cwd=ROOT, limit=300)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow  # torch and JAX: some six seconds for all of them
@pytest.mark.parametrize(("name", "contender"), PAIRS)
def test_torch_and_jax_agree_with_the_reference(name, contender, outcomes):
    outcome, what = outcomes[f"{name}/{contender}"]
    if outcome == "gap":
        pytest.skip(what)
    assert outcome == "ran", what
    assert what <= reference.TOLERANCE[RUNS[name][2]]


@pytest.mark.slow
def test_jax_without_a_gpu_is_a_gap(outcomes):
    outcome, what = outcomes["shallow/no gpu"]
    if outcome == "ran":
        pytest.skip("JAX has a GPU here")
    assert outcome == "gap"
    assert "JAX has no gpu" in what or "is not installed" in what


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("p", [2.0, 3.0, 4.0, 5.0])
@pytest.mark.parametrize(
    "build",
    [
        functools.partial(cuda.cupy_by_hand, xp=XP),
        functools.partial(cuda.cupy_fused, xp=XP, blas=BLAS),
    ],
    ids=["by hand", "fused"],
)
def test_cupy_agrees_with_the_reference(build, hidden, p):
    run = tiny(hidden, p)
    before = run.X.copy(), run.Y.copy(), run.params.copy()
    assert reference.check("", build(run), run, reference.reference_params(run)) < 1e-12
    for kept, now in zip(before, (run.X, run.Y, run.params), strict=True):
        np.testing.assert_array_equal(now, kept)


@pytest.mark.parametrize("hidden", [(), (4, 1)])
def test_cupy_sweep_agrees_with_the_reference(hidden):
    run = tiny(hidden)
    sweep = Sweep(tuple(replace(run, learning_rate=rate) for rate in (1e-4, 1e-3)))
    contender = cuda.cupy_sweep(sweep, XP)
    assert reference.check("", contender, sweep, reference.reference_params(sweep)) < 1e-12


def test_cupy_in_float32_stays_there():
    run = tiny((5, 3), dtype="float32")
    contender = cuda.cupy_fused(run, XP, BLAS)
    contender.advance(1)
    assert contender.params().dtype == np.float32


@pytest.mark.parametrize("p", [1.5, 2.5, 1.0])
def test_the_fused_form_says_what_it_is_written_for(p):
    with pytest.raises(ValueError, match="integers p from 2"):
        power_code(p)


def test_the_power_in_the_kernel():
    assert power_code(4.0) == "T e = r - y; out = e * e * e"
    assert power_code(3.0) == "T e = r - y; out = e * fabs(e)"
    assert power_code(2.0) == "T e = r - y; out = e"


@pytest.mark.parametrize("name", ["gemv", "ger", "axpy"])
def test_the_blas_is_called_as_cupy_wants_it(name):
    spec = importlib.util.find_spec("cupy")
    if spec is None:
        pytest.skip("cupy is not installed")
    # Read, since it cannot be imported without a GPU's libraries.
    source = (Path(spec.origin).parent / "cublas.py").read_text()
    functions = {f.name: f for f in ast.parse(source).body if isinstance(f, ast.FunctionDef)}
    theirs = [argument.arg for argument in functions[name].args.args]
    ours = getattr(BLAS, name).__code__
    assert theirs == list(ours.co_varnames[: ours.co_argcount])


def test_a_copy_reads_and_writes_as_many_bytes_as_x_has():
    run = tiny()
    moved = []
    xp = type(XP)()
    xp.copyto = lambda target, source: moved.append(target.nbytes + source.nbytes)
    cuda.copy_half(run, xp).advance(3)
    assert moved == [run.X.nbytes] * 3


def test_a_copy_copies():
    source = np.arange(5.0)
    run = copying(XP, source)
    run.advance(1)
    assert run.params() == [0.0]


@pytest.mark.parametrize("steps", [0, 1, 9, 20, 219, 1000])
def test_pieces_add_up(steps):
    lengths = list(pieces(steps))
    assert sum(lengths) == steps
    assert set(lengths) <= set(LENGTHS)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths.count(1) < 10


def test_the_vast_problem_in_blocks(monkeypatch):
    monkeypatch.setattr(data, "_BLOCK", 16)
    X, Y = data.vast(np, 37, 5, "float32")
    assert (X.shape, Y.shape, X.dtype, Y.dtype) == ((37, 5), (37, 1), np.float32, np.float32)
    assert len(np.unique(X)) == X.size  # no block repeats another one
    np.testing.assert_array_equal(X, data.vast(np, 37, 5, "float32")[0])
    w, rest, *_ = np.linalg.lstsq(X.astype(float), Y.astype(float), rcond=None)
    assert np.linalg.norm(w) > 0.3
    assert rest[0] / 37 < 0.05


@pytest.mark.parametrize("hidden", [(), (5, 3)])
def test_the_judge_in_blocks(hidden, monkeypatch):
    monkeypatch.setattr(data, "_BLOCK", 16)
    run = tiny(hidden, 3.0)
    params = reference.reference_params(run, data.blocked_gradient(run, np))
    np.testing.assert_allclose(params, reference.reference_params(run), rtol=1e-12)


def test_one_copy_of_the_data_for_all():
    run = tiny()
    sweep = data.brought(Sweep((run, replace(run, learning_rate=1.0))), XP)
    assert sweep.descents[0].X is sweep.descents[1].X
    assert sweep.descents[1].learning_rate == 1.0
