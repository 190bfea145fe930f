"""Importing this has Numba compile for 64-bit Arm in this process, whatever its processor is.

What is compiled cannot run here: called from Python it does nothing and returns None, and is broken
after many calls in one test, which may wait for what they would do. So it is for processes of their
own, in two ways:

``python -m tests.kernels.arm NAME``
    writes the assembly of the kernel of one of ``RUNS``; without a name, their names.
``python -m pytest -p tests.kernels.arm ...``
    compiles what the tests would run. They fail, but their kernels are left in ``NUMBA_CACHE_DIR``,
    where a process on an emulated or real Arm finds them: emulated, compiling takes ten times as
    long. Paths, versions, ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` have to be the same there.
"""

import ctypes
import itertools
import sys

import numpy as np
from llvmlite import binding as llvm
from numba import config
from numba.core.cpu import CPUContext

from accel.kernels.compiling import compile_alone
from accel.kernels.specs import Batches, Entrywise, Loss, ModelSpec

from .runs import RULES

TRIPLE = "aarch64-unknown-linux-gnu"

# Numba asks for all this when it makes its first function, as the CPU kernels do when imported.
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
llvm.get_process_triple = llvm.get_default_triple = lambda: TRIPLE
llvm.Target.from_default_triple = classmethod(lambda target: target.from_triple(TRIPLE))
#: Unless NUMBA_CPU_NAME says otherwise, Neoverse N1, which has vectors of 128 bits.
config.CPU_NAME = config.CPU_NAME or "neoverse-n1"
config.CPU_FEATURES = config.CPU_FEATURES or ""


class Method(ctypes.Structure):
    """CPython's ``PyMethodDef``."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


ANY_ARGUMENTS = 3  # METH_VARARGS | METH_KEYWORDS
MOST_CALLS = 100
calls = itertools.count()


def pytest_runtest_setup(item):
    """Count the calls anew in every test."""
    global calls
    calls = itertools.count()


@ctypes.PYFUNCTYPE(ctypes.c_void_p, *[ctypes.c_void_p] * 3)
def nothing(*arguments):
    """Return None or, at the end, nothing at all, which Python takes for an error."""
    if next(calls) >= MOST_CALLS:
        return None
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(None))
    return id(None)


method = Method(b"nothing", ctypes.cast(nothing, ctypes.c_void_p), ANY_ARGUMENTS, None)
make_function = ctypes.pythonapi.PyCFunction_NewEx
make_function.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
make_function.restype = ctypes.py_object

#: What has been compiled: libraries of Numba.
libraries = []


def get_executable(context, library, description, environment):
    """In place of compiled code, a function of C that does nothing, and equals no other one."""
    library.get_pointer_to_function(description.mangled_name)  # links it with what it calls
    libraries.append(library)
    return make_function(ctypes.byref(method), object(), None)


CPUContext.get_executable = get_executable

from accel.kernels.cpu import loop  # noqa: E402

compile_alone()  # other processes would compile for the processor that they run on


def run(n, d, k=1, dtype=np.float64, *, models=1, batches=None, entrywise=None, **loss):
    """The arguments of a TrainingLoop with two parts."""
    loss = Loss(**{"p": 3.0, **loss})
    X, Y = np.zeros((n, d), dtype), np.zeros((n, k), dtype)
    if loss.form == "entries":
        X, Y = np.zeros((n, 2), np.int64), np.zeros((n, 1), dtype)
    elif loss.form == "measurements":
        X, Y = np.zeros((n, k * d), dtype), np.zeros((n, 1), dtype)
    elif loss.form == "diagonal":
        X = np.zeros(d, dtype)
    widths = (d, 5, k) if entrywise is None else (d, entrywise.vectors)
    size = sum(a * b for a, b in zip(widths[1:], widths[:-1], strict=True))
    model = ModelSpec(widths, np.zeros(size, dtype), RULES["adam"], entrywise)
    return X, Y, loss, [model] * models, 2, batches


#: One for every kernel that makes steps.
RUNS = {
    "team": run(20_000, 64),
    "team, float32": run(20_000, 64, dtype=np.float32),
    "team, several outputs": run(20_000, 64, 3),
    "team, entrywise": run(20_000, 64, entrywise=Entrywise("power-difference", 3)),
    "joint": run(300, 300),
    "joint, several models, float32": run(300, 300, dtype=np.float32, models=3),
    "columns, float32": run(90, 9, dtype=np.float32),
    "gram": run(90, 64, p=2.0, form="gram"),
    "grouped": run(90, 64, models=3, p=2.0, form="gram"),
    "diagonal": run(64, 64, p=2.0, form="diagonal"),
    "wide": run(90, 64, 48),
    "wide, float32": run(90, 64, 48, dtype=np.float32),
    "entries": run(900, 64, 48, form="entries"),
    "measurements": run(900, 16, 4, form="measurements"),
    "cross-entropy": run(900, 64, 10, kind="cross-entropy"),
    "logistic": run(20_000, 64, kind="logistic"),
    "batches": run(900, 64, batches=Batches(32)),
    "batches, wide": run(900, 64, 48, batches=Batches(32)),
}


def assembly(name):
    """The assembly of the kernel of a run, and of its pieces, with all that they call."""
    with loop.TrainingLoop(*RUNS[name]):
        wholes = [library for library in libraries if type(library).__name__ == "_Whole"]
        return "".join(library.get_asm_str() for library in wholes)


if __name__ == "__main__":
    print(assembly(sys.argv[1]) if sys.argv[1:] else "\n".join(RUNS))
