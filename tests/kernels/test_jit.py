"""Kernels that several processes compiled, loaded together from the disk."""

import os
import subprocess
import sys

import pytest

# (dtype, features): two dtypes, and two vector lengths of one dtype.
KINDS = (("float32", 17), ("float64", 17), ("float64", 64))

SCRIPT = """
import sys
import numpy as np
from accel.kernels.specs import ADAM, Loss, Rule
from accel.kernels.cpu import loop
from accel.kernels.reference import loop as plain

for kind in sys.argv[1:]:
    dtype, d = kind.split(",")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((203, int(d))).astype(dtype)
    Y = rng.standard_normal((203, 1)).astype(dtype)
    params = (0.1 * rng.standard_normal(5 * int(d) + 5)).astype(dtype)
    rule = Rule(ADAM, (0.01, 0.0, 0.9, 0.999, 1e-8))
    runs = []
    for module in (loop, plain):
        with module.TrainingLoop(X, Y, Loss(4.0), (int(d), 5, 1), params, rule) as run:
            run.advance(20)
            runs.append(run.evaluate())
    np.testing.assert_allclose(*runs, rtol=1e-4 if dtype == "float32" else 1e-10)
"""


@pytest.mark.slow
def test_kernels_compiled_by_different_processes_live_together(tmp_path):
    """Two of one name and one signature would be taken for one by the linker."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    kinds = [f"{dtype},{d}" for dtype, d in KINDS]
    for arguments in ([kinds[0]], [kinds[1]], [kinds[2]], kinds, kinds[::-1]):
        result = subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments], env=environment, capture_output=True,
            text=True, timeout=200,
        )  # fmt: skip
        assert result.returncode == 0, f"{arguments}: {result.stderr[-2000:]}"
