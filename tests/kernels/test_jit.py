"""The cache on the disk, damaged, shared or missing; and the vectors that kernels are made for."""

import errno

import pytest
from llvmlite import binding as llvm
from numba import config
from numba.core.caching import IndexDataCacheFile

from accel.kernels import compiling
from accel.kernels.cpu import jit, made_for

from ..children import python

# (dtype, features): two dtypes, and two vector lengths of one dtype.
KINDS = (("float32", 17), ("float64", 17), ("float64", 64))

SCRIPT = """
import sys
import numpy as np
from accel.kernels.specs import ADAM, Loss, ModelSpec, Rule
from accel.kernels.cpu import loop
from accel.kernels.reference import loop as plain

for kind in sys.argv[1:]:
    dtype, d = kind.split(",")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((203, int(d))).astype(dtype)
    Y = rng.standard_normal((203, 1)).astype(dtype)
    params = (0.1 * rng.standard_normal(5 * int(d) + 5)).astype(dtype)
    rule = Rule(ADAM, (0.01, 0.0, 0.9, 0.999, 1e-8))
    runs = []
    for module in (loop, plain):
        with module.TrainingLoop(X, Y, Loss(4.0), [ModelSpec((int(d), 5, 1), params, rule)]) as run:
            run.advance(20)
            runs.append(run.evaluate())
    np.testing.assert_allclose(*runs, rtol=1e-4 if dtype == "float32" else 1e-10)
"""


@pytest.mark.slow
def test_kernels_compiled_by_different_processes_live_together(tmp_path):
    """Two of one name and one signature would be taken for one by the linker."""
    kinds = [f"{dtype},{d}" for dtype, d in KINDS]
    for arguments in ([kinds[0]], [kinds[1]], [kinds[2]], kinds, kinds[::-1]):
        python("-c", SCRIPT, *arguments, limit=200, NUMBA_CACHE_DIR=str(tmp_path))


def make():
    """A kernel in a process of its own, as far as Numba knows."""

    @jit.entry("successor")
    def successor(x):
        return x + 1

    return successor


def compile_or_load(argument):
    """Whether it came from the disk."""
    successor = make()
    assert successor(argument) == argument + 1
    return bool(successor.stats.cache_hits)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCEL_CACHE", "1")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def only(folder, suffix):
    (path,) = folder.rglob(f"*{suffix}")
    return path


def test_a_kernel_is_compiled_once(folder):
    assert not compile_or_load(1)
    assert compile_or_load(1)
    assert not compile_or_load(0.5)
    assert compile_or_load(1)
    assert compile_or_load(0.5)


def test_another_version_of_numpy_compiles_anew(folder, monkeypatch):
    """As of Numba, whose index says its version; either way the reason is told."""
    monkeypatch.setattr(made_for, "_seen", set())
    assert not compile_or_load(1)
    facts = made_for._of_process()
    monkeypatch.setattr(made_for, "_of_process", lambda: facts | {"numpy": "9.9"})
    monkeypatch.setattr(made_for, "_seen", set())
    successor = make()
    assert successor(1) == 2
    assert not successor.stats.cache_hits
    assert successor._cache.why == f"those on the disk are for NumPy {facts['numpy']}, now 9.9"
    assert compile_or_load(1)


def test_who_listens_hears_what_became_of_it(folder, monkeypatch):
    heard = []
    monkeypatch.setattr(compiling, "_loaded", lambda *kernel: heard.append(kernel))
    monkeypatch.setattr(compiling, "_not_kept", lambda error: heard.append(error.errno))
    compile_or_load(1)
    compile_or_load(1)
    assert heard == [("test_jit", "successor_successor")]

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", full)
    compile_or_load(0.5)
    assert heard[1:] == [errno.ENOSPC]


def emptied(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def overwritten(path):
    path.write_bytes(b"kernel" * 100)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", [emptied, cut, overwritten])
def test_a_damaged_file_is_replaced(folder, damage, suffix):
    assert not compile_or_load(1)
    damage(only(folder, suffix))
    successor = make()
    assert successor(1) == 2
    assert not successor.stats.cache_hits
    assert successor._cache.why == "its file on the disk cannot be read"
    assert compile_or_load(1)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_what_can_neither_be_read_nor_replaced_is_left_alone(folder, suffix):
    """A folder in place of the file: what file permissions are to anyone but root."""
    assert not compile_or_load(1)
    path = only(folder, suffix)
    path.unlink()
    path.mkdir()
    assert not compile_or_load(1)
    assert not compile_or_load(1)


def test_a_full_disk(folder, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(IndexDataCacheFile, "_open_for_write", full)
        assert not compile_or_load(1)
    assert not compile_or_load(1)
    emptied(only(folder, ".nbi"))
    with monkeypatch.context() as patch:
        patch.setattr(IndexDataCacheFile, "_open_for_write", full)
        assert not compile_or_load(1)
    assert not compile_or_load(1)
    assert compile_or_load(1)


def test_two_cold_processes_do_not_swap_their_files(folder, monkeypatch):
    """Both see an empty cache; the second writes its two files between the two of the first."""
    save = IndexDataCacheFile._save_data

    def late(file, name, data):
        with monkeypatch.context() as patch:
            patch.setattr(IndexDataCacheFile, "_save_data", save)
            patch.setattr(IndexDataCacheFile, "_load_index", lambda file: {})
            assert not compile_or_load(0.5)
        save(file, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(IndexDataCacheFile, "_save_data", late)
        assert not compile_or_load(1)
    assert compile_or_load(0.5)
    assert compile_or_load(1)


LOADED = """
import sys
import numpy as np
from accel.kernels.cpu import precondition

G = np.arange(6.0).reshape(2, 3)
precondition.precondition(G, G, 2)
known = "numba.np.linalg", "numba.typed.dictimpl", "scipy.linalg"
print(*(name for name in known if name in sys.modules))
"""


def test_what_is_on_the_disk_needs_no_compiler(tmp_path):
    """Numba's library for all that it can compile takes longer to load than the kernels."""
    first, second = (python("-c", LOADED, NUMBA_CACHE_DIR=str(tmp_path)).stdout for _ in range(2))
    assert "numba.np.linalg" in first.split()
    assert second == "\n"


def no_features():
    raise RuntimeError("no features known for this processor")


@pytest.mark.parametrize(
    ("name", "features", "host", "width"),
    [
        (None, None, {"avx": True, "avx512f": True}, 64),
        (None, None, {"avx": True, "avx512f": False}, 32),
        (None, None, {"avx": False}, 16),
        (None, None, None, 16),
        ("skylake-avx512", None, {"avx": True, "avx512f": True}, 64),
        ("skylake-avx512", None, {"avx": True, "avx512f": False}, 32),
        ("generic", "", {"avx": True, "avx512f": True}, 16),
        (None, "+avx,+avx2", {"avx": True, "avx512f": True}, 32),
        (None, "+avx,-avx512f", None, 32),
    ],
)
def test_vectors_are_as_wide_as_numba_s_features_allow(monkeypatch, name, features, host, width):
    monkeypatch.setattr(config, "CPU_NAME", name)
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    monkeypatch.setattr(config, "ENABLE_AVX", 1)
    known = no_features if host is None else lambda: llvm.targets.FeatureMap(host)
    monkeypatch.setattr(llvm, "get_host_cpu_features", known)
    assert jit.vector_bytes.__wrapped__() == width
