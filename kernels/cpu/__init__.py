"""Numba for the CPU: explicit SIMD, a thread team that lives for thousands of steps."""
