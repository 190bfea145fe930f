"""The group ``convergence``: seconds to come close to the optimum, by every method that we have.

Gradient descent at several depths, the accelerated rules, the end-to-end rule, the same in PyTorch
and in JAX with optax, and what a user would pick instead: quasi-Newton, Newton, scikit-learn. All
start at one linear map, each at the best learning rate of a grid. A time counts from the making of
a run, with data in place and code compiled, until the loss is within a distance of the certified
optimum. How many steps that takes, a run with checkpoints has told before, the same for every
library, whose clock stood still at the checkpoints.
"""

from benchmarks.harness import machine, records
from benchmarks.harness.records import Record
from benchmarks.harness.registry import Settings

ROUNDS = 5


def measure(settings: Settings) -> Record:
    from benchmarks.groups.convergence import contest, methods, problems, table
    from benchmarks.peers.common import Gap

    quick = settings.quick
    rounds = settings.rounds or (2 if quick else ROUNDS)
    models = methods.QUICK_MODELS if quick else methods.MODELS
    names = problems.QUICK_NAMES if quick else problems.NAMES
    about = None
    if settings.backend == "cuda":
        from benchmarks.groups.gpu import device

        about = device.describe()
    content = records.record(
        "convergence", quick, about, rounds=rounds, backend=settings.backend,
        tolerances=problems.TOLERANCES, problems=[], gaps={},
    )  # fmt: skip
    for name in names:
        for p in problems.POWERS:
            try:
                problem = problems.load(name, p, quick)
            except Gap as gap:
                content["gaps"][f"{name}, p = {p:g}"] = str(gap)
                continue
            row, benchmarks = contest.contest(
                problem, models, rounds, machine.peer_threads(), settings.backend
            )
            content["problems"].append(row)
            content["benchmarks"] += benchmarks
            print(table.problem_table(row), end="\n\n", flush=True)
    return content


def markdown(content: Record) -> str:
    """The summary, where we are not the fastest, and every row of every problem."""
    from benchmarks.groups.convergence import table

    return table.markdown(content)


def summary(content: Record) -> str:
    """How it is measured, and the fastest of each kind."""
    from benchmarks.groups.convergence import table

    return table.summary(content)


def plots(content: Record) -> dict[str, bytes]:
    """Loss against seconds, a drawing a problem."""
    from benchmarks.harness import plotting

    return plotting.convergence(content)
