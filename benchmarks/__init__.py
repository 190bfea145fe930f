"""Time of a gradient step, side by side with NumPy, PyTorch and JAX: ``python -m benchmarks``."""
