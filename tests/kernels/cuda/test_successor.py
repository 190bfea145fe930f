"""Whether numba-cuda's successor, numba-cuda-mlir, can compile our kernels yet.

Our sums over a warp shuffle float64 values. Its release 0.6.0 does so by way of float32, and says
nothing: sums would be right to 7 digits. numba-cuda itself, which is used, is held to the same.
"""

import importlib.util
import re
from pathlib import Path

import pytest

from ...children import python

#: Prints the PTX of one shuffle for a GPU that is not there. A process of its own: two compilers in
#: one get into each other's way, and what is told of the device would stay.
CODE = """
import importlib, sys
from types import SimpleNamespace

import accel.kernels.cuda

package = sys.argv[1]
# Both ask for the device in use, even where they are told what to compile for.
device = SimpleNamespace(compute_capability=(9, 0))
if package == "numba":
    importlib.import_module("numba.cuda.dispatcher").get_current_device = lambda: device
else:
    devices = importlib.import_module("numba_cuda_mlir.numba_cuda.cudadrv.devices")
    devices.get_context = lambda *which: SimpleNamespace(device=device)
cuda, types = (importlib.import_module(f"{package}.{part}") for part in ("cuda", "types"))

def kernel(values):
    lane = cuda.threadIdx.x
    values[lane] += cuda.shfl_xor_sync(0xFFFFFFFF, values[lane], 1)

signature = types.void(types.float64[::1])
print(cuda.compile(kernel, signature, device=False, abi="numba", cc=(9, 0))[0])
"""

FAULT = pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="numba-cuda-mlir 0.6.0 shuffles a float64 as a float32. If this has passed, the fault "
    "is mended, and kernels/cuda/jit.py and ptx.py can be tried with numba-cuda's successor",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "package",
    [
        pytest.param("numba", marks=pytest.mark.skipif(
            importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed")),
        pytest.param("numba_cuda_mlir", marks=[FAULT, pytest.mark.skipif(
            importlib.util.find_spec("numba_cuda_mlir") is None,
            reason="numba-cuda-mlir is not installed")]),
    ],
)  # fmt: skip
def test_a_float64_shuffle_keeps_all_digits(package):
    ended = python("-c", CODE, package, code=None)
    if ended.returncode:  # no AssertionError, which would be the fault that is expected
        pytest.fail(f"{package} compiles no shuffle: {ended.stderr[-2000:]}")
    shuffles = re.findall(r"\bshfl\.sync\.\S+", ended.stdout)
    if not shuffles or ".target sm_90" not in ended.stdout:
        pytest.fail(f"{package} has compiled something else: {ended.stdout}")
    assert not re.findall(r"\bcvt\.\w+\.f32\.f64\b", ended.stdout)
    assert len(shuffles) == 2  # of 32 bits each


def test_few_files_would_change():
    """The others know Numba as the kernels' language only."""
    compiling = re.compile(r"\bcuda\.(jit|compile)\w*\(|numba\.cuda\.|\bllvmlite\b|@intrinsic")
    (folder,) = importlib.util.find_spec("accel.kernels.cuda").submodule_search_locations
    files = Path(folder).glob("*.py")
    names = {path.name for path in files if compiling.search(path.read_text())}
    assert names == {"jit.py", "ptx.py"}
