"""The modules of the CUDA backend, for tests that need no GPU but numba-cuda."""

import importlib
import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip("not installed: numba-cuda", allow_module_level=True)

# The kernels' module wants CuPy for its arrays; compiling needs none.
STANDS_IN = importlib.util.find_spec("cupy") is None
if STANDS_IN:
    sys.modules["cupy"] = ModuleType("cupy")
cuda = SimpleNamespace(
    **{
        name: importlib.import_module(f"accel.kernels.cuda.{name}")
        for name in ("batches", "blocks_pass", "entries", "epilogue", "factor_chain", "jit",
                     "launch", "loop", "losses", "lp_loss", "noise", "products", "resident",
                     "resident_layout", "schedules", "streamed", "streaming", "tiles", "updates",
                     "wide", "wide_groups")
    }
)  # fmt: skip
if STANDS_IN:
    del sys.modules["cupy"]
