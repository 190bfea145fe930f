"""The CUDA kernels in Numba's simulator: a process of its own, since the switch is global."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("cuda")
NEEDED = ("numba_cuda", "greenlet")


def missing():
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


@pytest.mark.gpu
def test_on_a_gpu(request):
    """There, all tests of this folder are for the backend cuda, too."""
    names = [item.name for item in request.session.items]
    assert any("[cuda" in name or "-cuda" in name for name in names)


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")
@pytest.mark.skipif("NUMBA_ENABLE_CUDASIM" in os.environ, reason="in the simulator already")
@pytest.mark.parametrize("tests", ["kernels", "loops", "tiles"])
def test_in_the_simulator(tests):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         str(FOLDER / f"test_simulated_{tests}.py")],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 5
