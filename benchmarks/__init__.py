"""Steps, scaling, convergence, start-up, beside NumPy, PyTorch, JAX: ``python -m benchmarks``."""
