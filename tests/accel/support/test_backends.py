import copy
import pickle
from importlib import metadata

import pytest

import accel
from accel._support import backends, gpu
from accel._support.backends import cpu_threads, resolve, unavailable

from ...children import python


def run(code, **environment):
    return python("-c", code, **environment).stdout


@pytest.fixture
def with_a_gpu(monkeypatch):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "missing", lambda: None)


def test_auto_is_cpu():
    assert resolve() == resolve("auto") == resolve("cpu")
    assert resolve("auto").name == "cpu"


LONG = {"work": 1e7, "steps": 10**6}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, "cpu"),
        (LONG, "cuda"),
        ({"on_device": True}, "cuda"),
        ({"work": 1e7, "steps": 100}, "cpu"),  # ends before a GPU would have started
        ({"work": 1e5, "steps": 10**9}, "cpu"),  # a step is too short
    ],
)
def test_auto_is_cuda_where_that_is_worth_it(with_a_gpu, known, expected):
    assert resolve(**known).name == expected
    assert resolve("reference", **known).name == "reference"


@pytest.mark.parametrize("known", [LONG, {"on_device": True}])
def test_auto_is_cpu_without_a_gpu_and_in_the_simulator(with_a_gpu, monkeypatch, known):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert resolve(**known).name == "cpu"
    assert resolve("cuda").name == "cuda"
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM")
    monkeypatch.setattr(gpu, "missing", lambda: "no driver")
    assert resolve(**known).name == "cpu"


def test_the_driver_is_not_asked_for_short_runs(monkeypatch):
    monkeypatch.setattr(gpu, "missing", lambda: pytest.fail("asked"))
    for name in ("auto", "cpu", "reference"):
        resolve(name, work=1e3, steps=10)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_kernels(backend):
    kernels = resolve(backend)
    for module in ("lp_loss", "factor_chain", "updates", "precondition", "loop"):
        assert getattr(kernels, module).__name__ == f"accel.kernels.{backend}.{module}"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = kernels.nonsense


def test_a_backend_is_a_plain_value():
    kernels = resolve("reference")
    assert pickle.loads(pickle.dumps(kernels)) == copy.deepcopy(kernels) == kernels


@pytest.mark.parametrize(
    ("error", "match", "name"),
    [
        (ValueError, "backend .*auto, reference, cpu, cuda.*'cpux'.*did you mean 'cpu'", "cpux"),
        (ValueError, "'cuda' is not available: no driver", "cuda"),
        (TypeError, "backend .*None", None),
    ],
)
def test_bad_names(error, match, name, monkeypatch):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "missing", lambda: "no driver")
    with pytest.raises(error, match=match):
        resolve(name)


def test_unavailable_says_why(monkeypatch):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "missing", lambda: "no driver")
    assert unavailable() == {"reference": None, "cpu": None, "cuda": "no driver"}


def test_import_is_light():
    heavy = "numba llvmlite cupy pandas matplotlib sklearn scipy rich typer pooch torch jax"
    code = (
        "import sys, accel; from accel._support import backends; backends.resolve('auto')\n"
        f"print(*(name for name in {heavy.split()} if name in sys.modules))"
    )
    assert run(code).split() == []


def test_theory_is_light_until_used():
    heavy = "numba llvmlite scipy"
    code = (
        "import sys, accel; accel.theory.preconditioner([1.0, 2.0], 2).apply([1.0, 1.0])\n"
        f"print(*(name for name in {heavy.split()} if name in sys.modules))"
    )
    assert run(code).split() == []


def test_reference_needs_no_compiler():
    code = (
        "import sys, accel; p = accel.LpProblem([[1.0], [2.0]], [1.0, 3.0]);"
        "r = accel.train(p, accel.LinearNetwork.for_problem(p), accel.Adam(), 5,"
        " backend='reference'); print('numba' in sys.modules, r.status)"
    )
    assert run(code).split() == ["False", "completed"]


def test_public_names_resolve():
    code = (
        "import accel; [getattr(accel, name) for name in accel.__all__];"
        "print(accel.__version__, set(accel.__all__) <= set(dir(accel)))"
    )
    assert run(code).split() == ["0.2.0", "True"]


def test_the_version_of_what_is_not_installed(monkeypatch):
    """As in a zip, or in a frozen application without the metadata of its packages."""

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert accel.__version__ == "unknown"


@pytest.fixture
def seven_cpus(monkeypatch):
    monkeypatch.setattr(backends, "cpus", lambda: 7)
    for name in ("ACCEL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def test_threads(seven_cpus, monkeypatch):
    assert cpu_threads() == 7
    monkeypatch.setenv("ACCEL_NUM_THREADS", " ")
    assert cpu_threads() == 7
    monkeypatch.setenv("ACCEL_NUM_THREADS", "3")
    assert cpu_threads() == 3
    assert cpu_threads(5) == 5


@pytest.mark.parametrize(
    ("omp", "numba", "count"),
    [
        ("3", "", 3), ("", "4", 4), ("3", "2", 2), ("100", "", 7), (" 2,1 ", "", 2),
        ("0", "all", 7), ("²", "-1", 7),
    ],
)  # fmt: skip
def test_a_share_of_the_cpus(seven_cpus, monkeypatch, omp, numba, count):
    """joblib and Dask set such variables for their workers."""
    monkeypatch.setenv("OMP_NUM_THREADS", omp)
    monkeypatch.setenv("NUMBA_NUM_THREADS", numba)
    assert cpu_threads() == count
    assert cpu_threads(9) == 9
    monkeypatch.setenv("ACCEL_NUM_THREADS", "8")
    assert cpu_threads() == 8


@pytest.mark.parametrize(
    ("error", "match", "requested"),
    [
        (ValueError, "threads .*0", 0),
        (ValueError, "threads .*-2", -2),
        (ValueError, "threads .*1024.*1000000", 1_000_000),
        (TypeError, "threads .*2.0", 2.0),
        (TypeError, "threads .*'2'", "2"),
        (TypeError, "threads .*True", True),
    ],
)
def test_bad_threads(error, match, requested):
    with pytest.raises(error, match=match):
        cpu_threads(requested)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "99999", "²"])
def test_bad_variable(monkeypatch, value):
    monkeypatch.setenv("ACCEL_NUM_THREADS", value)
    with pytest.raises(ValueError, match="ACCEL_NUM_THREADS"):
        cpu_threads()
