"""Numba for CUDA, arrays held by CuPy."""
