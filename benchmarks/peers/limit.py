"""The limit: the passes of ``limit.c``, compiled when they are first asked for.

It is no library that a user could take in our place, only how fast a step can be on this machine.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from accel._support.arrays import aligned_empty
from benchmarks.peers.common import Descent, Gap, Stepper, one_line

SOURCE = Path(__file__).parents[1] / "limit.c"
#: Not -ffast-math: with it gcc's linker has every thread that loads the library flush subnormals.
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-shared",
    "-fPIC",
    "-pthread",
]
#: Columns of the two kinds of data that the passes are written for, as in limit.c.
COLUMNS, NARROW = 128, 10
#: X of more bytes is read from memory in every pass, row by row.
_CACHED_BYTES = 64 * 2**20

_POINTER, _LONG, _DOUBLE = ctypes.c_void_p, ctypes.c_long, ctypes.c_double


def limit_in_c(run: Descent) -> Stepper:
    """The fastest pass that is written for data of this shape.

    Raises
    ------
    Gap
        If there is none, or no compiler.
    """
    n, d = run.X.shape
    if run.p != 4 or run.outputs != 1 or run.form != "direct":
        raise Gap("written in C for p = 4 and one output, over the data")
    if (n, d) == (2, 2) and run.widths[1:] in ((1,), (1, 1, 1)) and run.X.dtype == np.float64:
        return _two_points(run)
    if run.depth == 1 and d == COLUMNS:
        return _rows(run)
    if run.depth == 1 and d == NARROW:
        return _narrow(run)
    raise Gap(f"written in C for depth 1 and {COLUMNS} or {NARROW} columns, or two points")


@cache
def library() -> ctypes.CDLL:
    """The compiled passes.

    Raises
    ------
    Gap
        If they cannot be compiled here.
    """
    named = os.environ.get("CC")
    compiler = shutil.which(named) if named else shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Gap(f"no C compiler: {named or 'neither gcc nor cc'} is not here")
    with tempfile.TemporaryDirectory(prefix="accel-limit-") as folder:
        made = Path(folder, "limit.so")
        try:
            subprocess.run(
                [compiler, *FLAGS, "-o", str(made), str(SOURCE)],
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
            loaded = ctypes.CDLL(str(made))
        except subprocess.CalledProcessError as error:
            raise Gap(f"{compiler} fails: {one_line(ValueError(error.stderr))}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Gap(f"{compiler} fails: {one_line(error)}") from error
    rows = [*[_POINTER] * 4, _LONG, _DOUBLE, _LONG, _LONG, ctypes.c_int]
    narrow = [*[_POINTER] * 3, _LONG, _DOUBLE, _LONG]
    for name, arguments in (
        ("limit_rows_f64", rows),
        ("limit_rows_f32", rows),
        ("limit_narrow_f64", narrow),
        ("limit_narrow_f32", narrow),
        ("limit_two_points", [*[_POINTER] * 3, _DOUBLE, _LONG, _LONG]),
    ):
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    return loaded


def _rows(run: Descent) -> Stepper:
    function = getattr(library(), f"limit_rows_{_short(run)}")
    X, y, w = _aligned(run.X), _aligned(run.Y[:, 0]), _aligned(run.params)
    partial = aligned_empty((2, run.threads, COLUMNS), X.dtype)
    in_cache = X.nbytes <= _CACHED_BYTES

    def advance(steps: int) -> None:
        function(
            _at(X), _at(y), _at(w), _at(partial), len(X), _scale(run), steps, run.threads, in_cache
        )

    return Stepper(advance, w.copy)


def _narrow(run: Descent) -> Stepper:
    function = getattr(library(), f"limit_narrow_{_short(run)}")
    length = -(-len(run.X) // 16) * 16
    columns = aligned_empty((NARROW + 1, length), run.X.dtype)
    columns[:] = 0
    columns[:NARROW, : len(run.X)] = run.X.T
    columns[NARROW, : len(run.X)] = run.Y[:, 0]
    w = _aligned(run.params)

    def advance(steps: int) -> None:
        function(_at(columns), _at(columns[NARROW]), _at(w), length, _scale(run), steps)

    return Stepper(advance, w.copy)


def _two_points(run: Descent) -> Stepper:
    function = library().limit_two_points
    X, y, w = _aligned(run.X), _aligned(run.Y[:, 0]), _aligned(run.params)

    def advance(steps: int) -> None:
        function(_at(X), _at(y), _at(w), _scale(run), run.depth, steps)

    return Stepper(advance, w.copy)


def _scale(run: Descent) -> float:
    return run.learning_rate * run.p / len(run.X)


def _short(run: Descent) -> str:
    return "f64" if run.X.dtype == np.float64 else "f32"


def _at(values: np.ndarray) -> int:
    return values.ctypes.data


def _aligned(values: np.ndarray) -> np.ndarray:
    """The array itself if it can be read in whole vectors and is not written to, else a copy."""
    if values.ndim == 2 and values.flags.c_contiguous and values.ctypes.data % 64 == 0:
        return values
    copy = aligned_empty(values.shape, values.dtype)
    copy[...] = values
    return copy
