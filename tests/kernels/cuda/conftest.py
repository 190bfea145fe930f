"""CUDA kernels without a GPU: simulated, or compiled to machine code, each in its own process.

``tests/kernels/test_cuda.py`` starts both. Outside the simulator's process its tests are not
collected, inside nothing else is.
"""

import os

import pytest

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def pytest_ignore_collect(collection_path):
    """Leave out, of this folder's tests, those that are for the other kind of process."""
    name = collection_path.name
    return (name.startswith("test_") and name.startswith("test_simulated_") != SIMULATED) or None


if SIMULATED:
    from accel.kernels.cuda import jit

    from ..simulator import install
    from .ways import ORDERED, Way

    install(ordered=ORDERED)

    #: How a loop is made to hold its data: by so many blocks on the chip, or streamed.
    WAYS = ["2 blocks", "streaming"]

    @pytest.fixture(params=WAYS)
    def way(request):
        return Way(request.param)

    @pytest.fixture(params=[*WAYS, "1 block", "3 blocks"])
    def any_way(request):
        return Way(request.param)

    @pytest.fixture
    def streaming():
        return Way("streaming")

    @pytest.fixture
    def on_the_chip():
        return Way("2 blocks")

    @pytest.fixture
    def processors(monkeypatch):
        """Set the multiprocessors of the simulated device."""

        def set_to(count):
            monkeypatch.setitem(jit.SIMULATED_DEVICE, "MultiProcessorCount", count)

        return set_to
