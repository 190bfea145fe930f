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
def test_in_the_simulator():
    """All simulated tests, in as many processes as keep two CPUs busy to the end."""
    loops = FOLDER / "test_simulated_loops.py"
    parts = [
        [loops, "-k", "every"],
        [loops, "-k", "not every"],
        [FOLDER / "test_simulated_tiles.py", FOLDER / "test_simulated_kernels.py"],
    ]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, part)],
            env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for part in parts
    ]
    try:
        for process in started:
            said, _ = process.communicate(timeout=600)
            assert process.returncode == 0, said[-5000:]
            assert int(re.search(r"(\d+) passed", said)[1]) > 20
    finally:
        for process in started:
            process.kill()
            process.wait()
