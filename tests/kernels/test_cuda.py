"""The CUDA kernels in Numba's simulator: a process of its own, since the switch is global."""

import importlib.util
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .. import children

FOLDER = Path(__file__).with_name("cuda")
NEEDED = ("numba_cuda", "greenlet")


def missing():
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def simulate(part):
    return children.pytest(*part, limit=600, NUMBA_ENABLE_CUDASIM="1")


@pytest.mark.gpu
def test_on_a_gpu(request):
    """With a GPU all tests of this folder run on the backend cuda, too."""
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
        [
            FOLDER / f"test_simulated_{name}.py"
            for name in ("tiles", "kernels", "entries", "entrywise", "checks")
        ],
        [FOLDER / "test_simulated_losses.py"],
        [FOLDER / "test_simulated_schedules.py"],
        [FOLDER / "test_simulated_minibatches.py"],
        [FOLDER / f"test_simulated_{name}.py" for name in ("wide", "diagonal")],
    ]
    with ThreadPoolExecutor(len(parts)) as pool:
        for done in pool.map(simulate, parts):
            assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20
