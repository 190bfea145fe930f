"""The CUDA kernels in Numba's simulator: a process of its own, since the switch is global."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

from .. import children

FOLDER = Path(__file__).with_name("cuda")
NEEDED = ("numba_cuda", "greenlet")


def missing():
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


@pytest.mark.gpu
def test_on_a_gpu(request):
    """With a GPU all tests of this folder run on the backend cuda, too."""
    names = [item.name for item in request.session.items]
    assert any("[cuda" in name or "-cuda" in name for name in names)


LOOPS = FOLDER / "test_simulated_loops.py"
#: What one process does.
PARTS = {
    "loops, every": [LOOPS, "-k", "every"],
    "loops, others": [LOOPS, "-k", "not every"],
    "kernels": [
        FOLDER / f"test_simulated_{name}.py"
        for name in ("tiles", "kernels", "entries", "entrywise", "checks")
    ],
    "losses": [FOLDER / "test_simulated_losses.py"],
    "schedules": [FOLDER / "test_simulated_schedules.py"],
    "minibatches": [FOLDER / "test_simulated_minibatches.py"],
    "wide": [FOLDER / f"test_simulated_{name}.py" for name in ("wide", "diagonal")],
}


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")
@pytest.mark.skipif("NUMBA_ENABLE_CUDASIM" in os.environ, reason="in the simulator already")
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_in_the_simulator(part):
    done = children.pytest(*part, limit=600, NUMBA_ENABLE_CUDASIM="1")
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20
