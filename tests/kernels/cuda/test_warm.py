"""Kernels that are compiled ahead: what is planned is what is launched, and what comes of it."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from accel.kernels.cuda import planning, warm
from accel.kernels.reference import loop as reference
from accel.kernels.specs import (
    ADAM,
    END_TO_END,
    GRADIENT_DESCENT,
    LANGEVIN,
    Batches,
    Entrywise,
    Loss,
    ModelSpec,
    Rule,
)

from ...children import ROOT, python
from ..runs import PLAIN, problem
from . import test_host_side
from .modules import cuda

cupy = test_host_side.cupy
in_a_checkout = pytest.mark.skipif(
    not (warm._ROOT / "tests").is_dir(), reason="accel is installed: there are no tests beside it"
)

ENDS = [0.01, 1e9, 0.02, 1e9, 0.001, 0.003]  # two of these rates diverge at once

#: Loops: a problem, and the rates of its models, of one rule; "streaming" where data are large.
CASES = {
    "resident": ({"n": 40, "d": 8}, [0.01], GRADIENT_DESCENT),
    "resident, Adam": ({"n": 3000, "d": 33, "dtype": np.float32}, [0.01], ADAM),
    "rows that spill": ({"n": 30_000, "d": 100}, [0.01], GRADIENT_DESCENT),
    "a sweep": ({"n": 2565, "d": 128}, [0.01] * 64, GRADIENT_DESCENT),
    "streaming": ({"n": 300, "d": 17}, [0.01], GRADIENT_DESCENT),
    "streaming, odd rows": ({"n": 300, "d": 18, "dtype": np.float32}, [0.01], GRADIENT_DESCENT),
    "streaming, rows and fewer": ({"n": 300, "d": 17}, ENDS[1:5], GRADIENT_DESCENT),
    "streaming, tiles and fewer": ({"n": 300, "d": 12, "p": 3.0}, ENDS, GRADIENT_DESCENT),
    "streaming, products": ({"n": 300, "d": 8, "k": 40, "hidden": (3,)}, [1e-3], GRADIENT_DESCENT),
    "streaming, Gram": ({"n": 300, "d": 8, "p": 2.0, "form": "gram"}, ENDS, GRADIENT_DESCENT),
    "diagonal": ({"d": 8, "form": "diagonal"}, [0.01, 1e9, 0.02], GRADIENT_DESCENT),
    "streaming, diagonal": ({"d": 8, "k": 9, "form": "diagonal"}, [0.01], GRADIENT_DESCENT),
    "wide": ({"n": 300, "d": 64, "k": 64, "hidden": (64, 64)}, [1e-4], GRADIENT_DESCENT),
    "wide, Gram": (
        {"n": 300, "d": 64, "k": 64, "hidden": (64,), "p": 2.0, "form": "gram"},
        [1e-3],
        ADAM,
    ),
    "wide, diagonal": ({"d": 64, "k": 64, "hidden": (64,), "form": "diagonal"}, [1e-3], ADAM),
    "wide, entries": (
        {"n": 900, "d": 64, "k": 64, "hidden": (64,), "form": "entries"},
        [0.1],
        ADAM,
    ),
    "streaming, entries": (
        {"n": 60, "d": 9, "k": 8, "form": "entries"},
        ENDS[:2],
        GRADIENT_DESCENT,
    ),
    "wide, measurements": (
        {"n": 90, "d": 9, "k": 8, "form": "measurements"},
        ENDS[:2],
        GRADIENT_DESCENT,
    ),
    "entrywise": (
        {"n": 40, "d": 8, "entrywise": Entrywise("power-difference", 3)},
        [0.01],
        ADAM,
    ),
    "streaming, entrywise": (
        {"n": 40, "d": 8, "entrywise": Entrywise("hadamard", 2)},
        [0.01],
        GRADIENT_DESCENT,
    ),
    "streaming, batches": ({"n": 300, "d": 17, "batches": Batches(40, noise=0.1)}, ENDS, LANGEVIN),
    "wide, batches": (
        {"n": 300, "d": 64, "k": 64, "hidden": (64,), "batches": Batches(40)},
        [1e-4],
        LANGEVIN,
    ),
    "streaming, end to end": ({"n": 300, "d": 8, "k": 3}, [1e-3], END_TO_END),
}


def make(name):
    """The arguments of a case's loop."""
    shape, rates, kind = CASES[name]
    shape = {"hidden": (), **shape}
    entrywise, batches = shape.pop("entrywise", None), shape.pop("batches", None)
    case = problem(**shape)
    hyper = {ADAM: (0.0, 0.9, 0.999, 1e-8), END_TO_END: (0.1, 3.0, 0.0, 0.0)}
    rest = hyper.get(kind, PLAIN.hyper[1:])
    rules = [Rule(kind, (rate, *rest)) for rate in rates]
    widths, params = case.widths, case.params
    if entrywise:
        widths, params = (shape["d"], entrywise.vectors), np.tile(params, entrywise.vectors)
    models = [ModelSpec(widths, params, rule, entrywise) for rule in rules]
    return case.X, case.Y, case.loss, models, 1, batches


def advance(made):
    """Those that diverge leave in the first call."""
    made.advance(30)
    made.advance(3)
    return made


def all_streamed(monkeypatch, loop_module, name):
    if name.startswith("streaming"):
        monkeypatch.setattr(loop_module, "plan", lambda *arguments: None)


def plan_all():
    """Print the names of the kernels that each case would launch, in a process that plans."""
    from ..planning import Planned, TrainingLoop

    names = {}
    for name in CASES:
        planning.noted.clear()
        with pytest.MonkeyPatch.context() as monkeypatch:
            all_streamed(monkeypatch, cuda.loop, name)
            advance(TrainingLoop(*make(name)))
        names[name] = list(planning.noted)
    with pytest.raises(RuntimeError, match="ACCEL_CUDA_PLANNING is set"):
        Planned(*make("resident")).advance(1)
    X, Y, W = (np.ones(shape, np.float32) for shape in [(9, 4), (9, 1), (1, 4)])
    memory = np.ones(40, np.float32)
    for name, data in ("aligned", X), ("anywhere", memory[1:37].reshape(9, 4)):
        planning.noted.clear()
        cuda.lp_loss.loss_and_gradient(data, Y, W, Loss(4.0))
        names[name] = list(planning.noted)
    print(json.dumps(names))


@pytest.fixture(scope="module")
def planned():
    code = f"from {__name__} import plan_all; plan_all()"
    return json.loads(python("-c", code, cwd=ROOT, ACCEL_CUDA_PLANNING="9.0").stdout)


@pytest.mark.parametrize("name", CASES)
def test_what_is_planned_is_what_is_launched(planned, cupy, monkeypatch, name):
    all_streamed(monkeypatch, cuda.loop, name)
    arguments = make(name)
    plain, made = reference.TrainingLoop(*arguments), cuda.loop.TrainingLoop(*arguments)
    queue = made._launcher.advance

    def and_so_it_does(active, partners, steps):
        queue(active, partners, steps)
        plain.advance(steps)
        made._run.models[:, cuda.epilogue.STATUS] = cupy.asarray(plain.statuses)
        made._run.models[:, cuda.epilogue.STEPS] = cupy.asarray(plain.steps)

    made._launcher.advance = and_so_it_does
    with np.errstate(all="ignore"):
        advance(made)
    engine = name.partition(",")[0]
    assert made.engine == (engine if engine in ("streaming", "wide") else "resident")
    assert len(made.active) == sum(rate < 1 for rate in CASES[name][1])
    launched = {launch[0] for launch in cupy.launches}
    assert set(planned[name]) == launched
    assert len(launched) == len(planned[name])


def test_what_numpy_has_comes_to_an_aligned_place(planned):
    """So vectors of four elements can be read, wherever NumPy's array lies."""
    assert planned["anywhere"] == planned["aligned"] == ["rows_float32_4_4_1_1_8_1"]


@in_a_checkout
def test_devices(capsys):
    assert planning.device_of("9.0") == (9, 0, 132, 232_448)
    h100_pcie = planning.Device(9, 0, 114, 232_448)
    assert planning.device_of(planning.text_of(h100_pcie)) == h100_pcie
    for text, said in ("nine", "like 9.0, got 'nine'"), ("9.0 114", "like 9.0"), ("7.5", "known"):
        assert warm.main(["--capability", text]) == 2
        assert said in capsys.readouterr().err


@in_a_checkout
def test_without_a_device_it_says_so():
    said = python("-m", "accel.kernels.cuda.warm", code=2, CUDA_VISIBLE_DEVICES="").stderr
    assert "there is no CUDA device here (" in said
    assert "--capability 9.0" in said


def test_a_device_is_asked_for_what_a_plan_depends_on(monkeypatch):
    """Without a context: no other function of the driver is called."""
    driver = pytest.importorskip("cuda.bindings.driver")
    fine, names = driver.CUresult.CUDA_SUCCESS, driver.CUdevice_attribute
    has = {
        names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: 9,
        names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: 0,
        names.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: 114,
        names.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: 232_448,
    }
    monkeypatch.setattr(driver, "cuInit", lambda flags: (fine,))
    monkeypatch.setattr(driver, "cuDeviceGet", lambda number: (fine, f"device {number}"))
    monkeypatch.setattr(
        driver,
        "cuDeviceGetAttribute",
        lambda name, of: (fine, has[name] if of == "device 0" else 0),
    )
    assert warm._first_device() == (9, 0, 114, 232_448)
    error = driver.CUresult.CUDA_ERROR_NO_DEVICE
    monkeypatch.setattr(driver, "cuInit", lambda flags: (error,))
    with pytest.raises(warm._Nothing, match=r"\(CUDA_ERROR_NO_DEVICE\)"):
        warm._first_device()


def test_outside_a_checkout_it_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(warm, "_ROOT", tmp_path)
    (tmp_path / "benchmarks" / "groups" / "gpu").mkdir(parents=True)
    assert warm.main(["--capability", "9.0", "tests"]) == 2
    assert f"{tmp_path} has no tests: " in capsys.readouterr().err
    shutil.rmtree(tmp_path / "benchmarks")
    assert warm.main(["--capability", "9.0"]) == 2
    assert "no benchmarks and no tests" in capsys.readouterr().err


#: What a checkout has in place of its benchmarks: what the test asks for.
PLAN = """
import os
from benchmarks.groups.gpu import made

for wanted in os.environ["WANTED"].split():
    made.do(wanted)
"""
MADE = """
import os, time
import numpy as np
from numba import types
from accel.kernels.cuda import factor_chain, planning, updates
from accel.kernels.cuda.jit import Kernel

PLANS = planning.PLAN in os.environ

def kernel(name):
    def function(x):
        x.nonsense()
    function.__name__ = name
    return Kernel(function, [types.int64], ())

@planning.makes_kernel
def make_bad():
    return kernel("bad")

@planning.makes_kernel
def make_deadly():
    if not PLANS:
        os._exit(3)
    return kernel("deadly")

@planning.makes_kernel
def make_endless():
    if not PLANS:
        time.sleep(1000)
    return kernel("endless")

def do(wanted):
    if wanted == "update":
        a = np.ones(4, np.float32)
        updates.update(0, a, a, np.ones((0, 4), np.float32), (0.1, 0, 0, 0, 0), 1)
    elif wanted == "chain":
        factor_chain.end_to_end(np.ones(4), (4, 1))
    elif wanted == "sleep":
        time.sleep(1000)
    elif wanted == "fail":
        raise ValueError("this plan fails")
    else:
        globals()[f"make_{wanted}"]().prepared(1, ())
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The kernels, found by a link as in a checkout that is not installed; nothing of accel's."""
    root = tmp_path_factory.mktemp("checkout")
    left_out = shutil.ignore_patterns("__pycache__", "cpu")
    kernels = Path(cuda.jit.__file__).parents[1]
    shutil.copytree(kernels, root / "kernels", ignore=left_out)
    (root / "accel").mkdir()
    (root / "accel" / "__init__.py").touch()
    (root / "accel" / "kernels").symlink_to("../kernels")
    for name in ("benchmarks", "benchmarks/groups", "benchmarks/groups/gpu"):
        (root / name).mkdir()
        (root / name / "__init__.py").touch()  # else those of an editable installation are found
    (root / "benchmarks" / "groups" / "gpu" / "plan.py").write_text(PLAN)
    (root / "benchmarks" / "groups" / "gpu" / "made.py").write_text(MADE)
    return root


@pytest.fixture
def warmed(checkout, tmp_path):
    """``warmed(what, *options, code)``: the command's last line, and all that it has written."""

    def run(wanted, *options, code=0):
        done = python(
            "-m", "accel.kernels.cuda.warm", "--capability", "9.0", "--jobs", "2", *options,
            cwd=checkout, code=code, PYTHONPATH=".", WANTED=wanted, NUMBA_CACHE_DIR=str(tmp_path),
        )  # fmt: skip
        return done.stdout.splitlines()[-1], done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_kernels_are_compiled_and_found_again(warmed, monkeypatch, tmp_path):
    last, _ = warmed("update chain update")
    assert last.startswith("kernels for sm_90: 2 compiled, 0 found, 0 failed, 0 not reached, ")
    last, _ = warmed("update chain")
    assert last.startswith("kernels for sm_90: 0 compiled, 2 found, 0 failed, 0 not reached, ")
    files = list(tmp_path.rglob("*.cubin"))
    assert len(files) == 2
    # A process that launches looks for the same files.
    monkeypatch.setattr(cuda.jit, "_folder", lambda: files[0].parent)
    assert cuda.updates._make_kernel(np.dtype("f4")).kept((9, 0))
    assert cuda.factor_chain._make_kernel(np.dtype("f8")).kept((9, 0))
    assert not cuda.factor_chain._make_kernel(np.dtype("f4")).kept((9, 0))


@pytest.mark.slow
def test_kernels_that_fail_are_named(warmed):
    last, said = warmed("bad deadly chain", code=1)
    assert last.startswith("kernels for sm_90: 1 compiled, 0 found, 2 failed, 0 not reached, ")
    assert "bad: TypingError: " in said
    assert "nonsense" in said
    assert "deadly: its compiler ended with code 3" in said


@pytest.mark.slow
def test_the_rest_is_given_up_in_time(warmed):
    began = time.monotonic()
    last, _ = warmed("endless sleep", "--seconds", "8", code=1)
    assert "0 failed, at least 1 not reached, " in last
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_plan_that_fails_says_why(warmed):
    last, said = warmed("update fail", "--list", code=1)
    assert last == "update_float32"
    assert "planning the benchmarks ended with code 1" in said
    assert "ValueError: this plan fails" in said


@pytest.mark.slow
@in_a_checkout
def test_all_tests_can_be_planned():
    """To the last line of each, or the command would have failed; and there are all kernels."""
    command = ["-m", "accel.kernels.cuda.warm", "--list", "--capability", "9.0"]
    names = python(*command, cwd=ROOT, limit=400).stdout.split()
    assert len(set(names)) == len(names) > 400
    kinds = {name.split("_")[0] for name in names}
    expected = "chain entries epilogue publish resident rows slopes tabulate tiles update"
    wide = "enter multiply residuals gradients descend verdict squares means move"
    assert kinds == {*expected.split(), *wide.split(), "gather"}
    ours = python(*command, "benchmarks", cwd=ROOT).stdout.split()
    assert set(ours) < set(names)
