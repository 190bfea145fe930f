"""Numba for CUDA, arrays held by CuPy."""

import numpy as np

# numba-cuda, in maintenance, reads this name when it is imported; NumPy 2.5 has removed it.
# https://github.com/NVIDIA/numba-cuda/issues/907
if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack  # type: ignore[attr-defined]
