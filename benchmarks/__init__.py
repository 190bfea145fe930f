"""Steps, scaling, convergence, start-up, beside NumPy, PyTorch, JAX: ``python -m benchmarks``."""

from pathlib import Path

#: The checkout; what runs write, which git ignores; what the tables of README and docs are made of.
ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "benchmarks" / "report"
RESULTS = ROOT / "benchmarks" / "results"
