"""How compiled code gives up its turn and sleeps, on this system and as on Windows."""

import ctypes
import platform
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace

import pytest
from numba import njit

from accel.kernels.system import waiting


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has functions of its own")
def test_the_functions_of_posix():
    assert waiting.yield_processor.symbol == "sched_yield"
    assert waiting.sleep.symbol == "usleep"
    assert waiting.nap(50) == 50

    @njit
    def wait():
        return waiting.yield_processor() + waiting.sleep(1)

    assert wait() == 0


@pytest.fixture
def of_windows(on):
    """The module as Windows imports it, where functions of this test stand for the system's."""
    heard = []
    yields = ctypes.CFUNCTYPE(ctypes.c_int32)(lambda: heard.append("yield") or 1)
    sleeps = ctypes.CFUNCTYPE(None, ctypes.c_uint32)(lambda time: heard.append(time))
    on("win32", SimpleNamespace(SwitchToThread=yields, Sleep=sleeps))
    name = "accel.kernels.system.waiting"
    spec = spec_from_file_location(name, waiting.__file__)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, heard


def test_the_functions_of_windows(of_windows):
    """The linker finds them by the addresses that it was told."""
    module, heard = of_windows
    yield_processor, sleep, nap = module.yield_processor, module.sleep, module.nap(50)

    @njit
    def wait():
        yield_processor()
        sleep(nap)
        return yield_processor()

    assert wait() == 1
    assert heard == ["yield", 1, "yield"]


def test_naps_of_windows_are_of_milliseconds(of_windows):
    module, _ = of_windows
    assert [module.nap(microseconds) for microseconds in (1, 999, 2000, 3999)] == [1, 1, 2, 3]


def test_a_spin_loop_tells_the_processor():
    @njit
    def spin():
        waiting.pause()

    spin()
    word = "pause" if platform.machine() in ("x86_64", "AMD64") else "yield"
    assert any(word in text.split() for text in spin.inspect_asm().values())


@pytest.mark.parametrize(("triple", "name"), [
    ("x86_64-pc-windows-msvc", "llvm.x86.sse2.pause"),
    ("arm64-apple-darwin24.0.0", "llvm.aarch64.hint"),
    ("aarch64-unknown-linux-gnu", "llvm.aarch64.hint"),
    ("riscv64-unknown-linux-gnu", None),
])  # fmt: skip
def test_the_word_of_each_processor(triple, name):
    from llvmlite import ir

    module = ir.Module()
    module.triple = triple
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "spin")
    builder = ir.IRBuilder(function.append_basic_block())
    _, generate = waiting._pause(None)
    generate(SimpleNamespace(get_dummy_value=lambda: None), builder, None, ())
    called = [line.callee.name for line in builder.block.instructions]
    assert called == ([] if name is None else [name])
