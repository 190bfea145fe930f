"""Time of a step on a GPU beside CuPy, PyTorch and JAX there: ``python -m benchmarks gpu``.

float32 is float32 for every contender: TF32 is off in CuPy, PyTorch and JAX alike.
"""

import os


def reason() -> str | None:
    """Why nothing can be measured here; None if it can."""
    from accel._support.backends import unavailable

    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return "NUMBA_ENABLE_CUDASIM is set, and the simulator is no GPU"
    return unavailable()["cuda"]


def fair_environment() -> None:
    """What has to be in the environment before any of the libraries is imported."""
    os.environ.pop("CUPY_TF32", None)
    # JAX would take three quarters of the GPU's memory for itself.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
