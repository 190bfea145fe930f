"""The passes in C are compiled for each width of vectors and make the reference's steps."""

import functools
import os
import platform

import numpy as np
import pytest
from numba.core.codegen import get_host_cpu_features

from benchmarks.harness.cases import LIMIT
from benchmarks.harness.data import load
from benchmarks.harness.reference import reference_params, start
from benchmarks.peers import Descent, Gap, limit, limit_in_c

X86 = platform.machine() in ("x86_64", "AMD64")
ARCHITECTURES = ["native", *(["x86-64", "haswell"] if X86 else [])]


@functools.cache
def library_for(architecture):
    """The passes compiled for an architecture; a Gap if they cannot be."""
    flags = [f"-march={architecture}" if "-march" in flag else flag for flag in limit.FLAGS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limit, "FLAGS", flags)
        limit.library.cache_clear()
        try:
            return limit.library()
        except Gap as gap:
            return gap
        finally:
            limit.library.cache_clear()


@pytest.fixture(params=ARCHITECTURES)
def compiled(request, monkeypatch):
    if request.param == "haswell" and "+avx2" not in get_host_cpu_features().split(","):
        pytest.skip("this CPU has no AVX2")
    library = library_for(request.param)
    if isinstance(library, Gap):
        pytest.skip(str(library))
    monkeypatch.setattr(limit, "library", lambda: library)


def descent(n, d, dtype="float64", hidden=(), threads=1, **options):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((n, d)), rng.standard_normal((n, 1))
    widths = (d, *hidden, 1)
    size = sum(a * b for a, b in zip(widths[1:], widths[:-1], strict=True))
    params = 0.3 * rng.standard_normal(size) / d**0.5
    fields = {"p": 4.0, "learning_rate": 1e-3, "threads": threads, **options}
    return Descent(
        X.astype(dtype), Y.astype(dtype), widths=widths, params=params.astype(dtype), **fields
    )


def hold(run):
    """Held to the reference by its first 20 steps, then made to go on: the same in two calls."""
    stepper = start(LIMIT, run, reference_params(run))
    once = limit_in_c(run)
    once.advance(25)
    stepper.advance(5)
    np.testing.assert_allclose(stepper.params(), once.params(), rtol=1e-4, atol=1e-6)
    assert np.isfinite(once.params()).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "threads"), [(3, 1), (301, 1), (301, 2), (1024, 2)])
@pytest.mark.parametrize("cached", [True, False])
def test_rows(n, threads, cached, dtype, compiled, monkeypatch):
    if not cached:
        monkeypatch.setattr(limit, "_CACHED_BYTES", 0)
    hold(descent(n, 128, dtype, threads=threads))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [7, 32, 442])
def test_few_columns(n, dtype, compiled):
    hold(descent(n, 10, dtype))


@pytest.mark.parametrize("hidden", [(), (1, 1)])
def test_two_points(hidden, compiled):
    hold(descent(2, 2, hidden=hidden))


def test_the_process_is_as_before(compiled):
    """A thread keeps its CPUs, and subnormal numbers are still numbers."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    limit_in_c(descent(301, 128, threads=2)).advance(3)
    assert allowed is None or os.sched_getaffinity(0) == allowed
    assert np.full(4, 1e-310) @ np.ones(4) > 0


@pytest.mark.parametrize(
    "run",
    [
        descent(20, 128, p=3.0),
        descent(20, 7),
        descent(20, 10, hidden=(1,)),
        descent(2, 2, "float32"),
        descent(2, 2, hidden=(2,)),
    ],
)
def test_what_is_not_written_is_a_gap(run):
    with pytest.raises(Gap, match="written in C for"):
        limit_in_c(run)


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [("no-such-compiler", "no C compiler: no-such-compiler is not here"), ("false", "fails")],
)
def test_without_a_compiler(compiler, reason, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    limit.library.cache_clear()
    with pytest.raises(Gap, match=reason):
        limit_in_c(descent(20, 10))
    limit.library.cache_clear()


@pytest.mark.parametrize(("name", "shape"), [("two-points", (2, 2)), ("diabetes", (442, 10))])
@pytest.mark.parametrize("quick", [True, False])
def test_small_data(name, shape, quick):
    X, Y, source = load(name, "float64", quick)
    assert (X.shape, Y.shape) == (shape, (shape[0], 1))
    assert X.ctypes.data % 64 == Y.ctypes.data % 64 == 0
    assert "x".join(map(str, shape)) in source.replace(" ", "")
