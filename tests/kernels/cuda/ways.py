"""Ways a training loop may hold its data, chosen by a test and not by the plan."""

from accel.kernels.cuda import loop
from accel.kernels.cuda.streamed import Streaming, WideStreaming

#: Every block reads its models at the start and the first of a team writes them at the end: in
#: between lies an all-reduce, which the simulator does not take for an order.
ORDERED = ("argument 1.memory", "argument 1.models")


def _wide(data, loss, models, run, sampled=None):
    return WideStreaming(data, loss, models, run, "blocks", sampled, "blocks")


#: Launchers of streamed runs; "wide" ones have a route of passes of their own, too.
STREAMED = {"streaming": Streaming, "wide": _wide}


class Way:
    """A module's stand-in whose loops hold their data on so many blocks, or stream them."""

    def __init__(self, name):
        self.name = name
        self.blocks = None if name in STREAMED else int(name.split()[0])

    def TrainingLoop(self, X, Y, loss, models, threads=1, batches=None):
        if self.blocks:
            made = loop.TrainingLoop(X, Y, loss, models, blocks=self.blocks)
        else:
            plan, loop.plan = loop.plan, lambda *arguments: None
            stream, loop.stream = loop.stream, STREAMED[self.name]
            try:
                made = loop.TrainingLoop(X, Y, loss, models, batches=batches)
            finally:
                loop.plan, loop.stream = plan, stream
        assert made.engine == ("resident" if self.blocks else self.name)
        return made
