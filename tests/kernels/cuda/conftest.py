"""CUDA kernels without a GPU: simulated, or compiled to machine code, each in its own process.

``tests/kernels/test_cuda.py`` starts both. Outside the simulator's process its tests are not
collected, inside nothing else is.
"""

import os

import pytest

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"

REAL = ["test_machine_code.py", "test_host_side.py", "test_warm.py"]
collect_ignore_glob = REAL if SIMULATED else ["test_simulated_*.py"]

if SIMULATED:
    from accel.kernels.cuda import jit, loop

    from ..simulator import install

    # Every block reads its models at the start and the first of a team writes them at the end: in
    # between lies an exchange, which the simulator does not take for an order.
    install(ordered=("argument 1.memory", "argument 1.models"))

    #: How a loop is made to hold its data: by so many blocks on the chip, or streamed.
    WAYS = ["2 blocks", "streaming"]

    class Way:
        """A module's stand-in whose loops hold their data one way."""

        def __init__(self, name):
            self.name = name
            self.blocks = None if name == "streaming" else int(name.split()[0])

        def TrainingLoop(self, X, Y, loss, models, threads=1):
            if self.blocks:
                made = loop.TrainingLoop(X, Y, loss, models, blocks=self.blocks)
            else:
                plan, loop.plan = loop.plan, lambda *arguments: None
                try:
                    made = loop.TrainingLoop(X, Y, loss, models)
                finally:
                    loop.plan = plan
            assert made.engine == ("resident" if self.blocks else "streaming")
            return made

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
