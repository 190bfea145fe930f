"""Steps, scaling, convergence, start-up, beside NumPy, PyTorch, JAX: ``python -m benchmarks``."""

from pathlib import Path

#: The checkout; what runs write, which git ignores; what the tables of README and docs are made of.
ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "benchmarks" / "report"
RESULTS = ROOT / "benchmarks" / "results"


def report_folder(quick: bool) -> Path:
    """Where runs of a form are written: what proves that they run does not replace a whole one."""
    return REPORT / "quick" if quick else REPORT
