"""Of a CUDA kernel that is compiled is told; of one that the disk has not."""

import pytest

from accel.kernels import compiling
from accel.kernels.compiling import Compilation

from .modules import cuda


def probe():
    pass


@pytest.fixture
def told(monkeypatch, tmp_path):
    """What is told, of kernels whose compiler is a stand-in."""
    heard = []

    def begin(compilation):
        heard.append(compilation)
        return heard.append

    monkeypatch.setattr(compiling, "_told", begin)
    monkeypatch.setattr(cuda.jit, "_folder", lambda: tmp_path)
    monkeypatch.setattr(cuda.jit.Kernel, "ptx", lambda self, cc: "ptx")
    monkeypatch.setattr(cuda.jit, "link", lambda ptx, cc: b"code")
    return heard


def test_once(told):
    for _ in range(2):
        kernel = cuda.jit.Kernel(probe, (), ("float32", 4))
        assert kernel.machine_code((9, 0)) == b"code"
    assert told == [Compilation("cuda", "test_compilations", "probe_float32_4", True), True]


def test_where_nothing_can_be_kept(told, monkeypatch):
    monkeypatch.setattr(cuda.jit, "_folder", lambda: None)
    for _ in range(2):
        cuda.jit.Kernel(probe, (), ("float32", 4)).machine_code((9, 0))
    assert told == [Compilation("cuda", "test_compilations", "probe_float32_4", False), True] * 2


def test_a_linker_that_fails(told, monkeypatch):
    def fails(ptx, cc):
        raise RuntimeError("nvJitLink: no")

    monkeypatch.setattr(cuda.jit, "link", fails)
    with pytest.raises(RuntimeError, match="nvJitLink"):
        cuda.jit.Kernel(probe, (), ("float32", 4)).machine_code((9, 0))
    assert told[1:] == [False]
