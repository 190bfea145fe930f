"""Ways a training loop may hold its data, chosen by a test and not by the plan."""

from accel.kernels.cuda import loop

#: Every block reads its models at the start and the first of a team writes them at the end: in
#: between lies an all-reduce, which the simulator does not take for an order.
ORDERED = ("argument 1.memory", "argument 1.models")


class Way:
    """A module's stand-in whose loops hold their data on so many blocks, or are "streaming"."""

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
