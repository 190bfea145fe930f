"""The measured part of ``docs/distributed.md``, and what follows from it for many workers."""

import math
from typing import Any

from accel._reports.text import duration
from benchmarks.harness.page import table

WORKERS = (10, 100, 1000, 10_000)
COMPUTE = (0.001, 0.01, 0.1, 1.0)  # seconds of a worker's step with one model
GOAL = 0.9  # of the time spent on computing


def overhead(record: dict[str, Any], workers: int, numbers: int) -> float:
    """Seconds of a step beside the arithmetic, with so many float64 numbers a message."""
    cost, adding = record["messages"], record["reduction"]
    message = cost["per_worker"] + 16 * numbers * cost["per_byte"]
    node = adding["per_node"] + numbers * adding["per_number"]
    return float(cost["latency"] + workers * (message + node))


def growth(record: dict[str, Any], models: int) -> float:
    """How much longer a pass for so many models takes than one for a single one, as measured."""
    seconds = {int(m): s for m, s in record["efficiency"]["sweep_seconds"].items()}
    return float(seconds[models] / seconds[1])


def measured(record: dict[str, Any]) -> str:
    """The targets and what was measured."""
    small, large = record["overhead"], record["efficiency"]
    reached = large["efficiency"] / large["possible"]
    cost, adding = record["messages"], record["reduction"]
    beside = large["two"] - large["local_two"]
    rows = [
        (
            "step with next to no arithmetic, two workers",
            duration(small["step_seconds"]),
            "under 5 ms",
        ),
        (f"step of {duration(large['one'])} on one worker: on two", duration(large["two"]), ""),
        ("of that, beside the slower worker's own pass", duration(beside), "under 5 ms"),
        ("parallel efficiency of two workers", f"{large['efficiency']:.2f}", ""),
        ("the same passes in two processes, no message", f"{large['possible']:.2f}", ""),
        ("the one over the other", f"{reached:.2f}", "0.9"),
        ("a message and its answer: CPU time of the client", duration(cost["per_worker"]), ""),
        ("a byte of them", f"{cost['per_byte'] * 1e9:.2g} ns", ""),
        ("adding up: a node of the tree", duration(adding["per_node"]), ""),
        ("a number of it", f"{adding['per_number'] * 1e9:.2g} ns", ""),
    ]
    return table(["what", "measured", "target"], rows)


def hidden(record: dict[str, Any]) -> str:
    """What 1000 workers need: models a step, or steps between two sums."""
    d, rows = record["efficiency"]["d"], []
    models = sorted(int(m) for m in record["efficiency"]["sweep_seconds"])
    for compute in COMPUTE:
        row = [duration(compute)]
        for count in models:
            work = compute * growth(record, count)
            row.append(f"{work / (work + overhead(record, 1000, d * count)):.0%}")
        row.append(str(max(math.ceil(GOAL / (1 - GOAL) * overhead(record, 1000, d) / compute), 1)))
        rows.append(row)
    head = ["a worker's pass, one model"]
    head += [f"{count} model{'s' * (count > 1)} a step" for count in models]
    return table([*head, f"local steps for {GOAL:.0%}"], rows)


def limits(record: dict[str, Any]) -> str:
    """The overhead by number of workers."""
    d, rows = record["efficiency"]["d"], []
    for workers in WORKERS:
        one, many = overhead(record, workers, d), overhead(record, workers, 64 * d)
        rows.append(
            [f"{workers}", duration(one), duration(GOAL / (1 - GOAL) * one), duration(many)]
        )
    head = ["workers", "overhead, one model", f"pass of a worker for {GOAL:.0%}", "64 models"]
    return table(head, rows)


def summary(record: dict[str, Any]) -> str:
    """Everything between the two markers of the page."""
    d, cost, about = record["efficiency"]["d"], record["messages"], record["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    short = " A short run (`--quick`): orders of magnitude only." if record["quick"] else ""
    thousand = overhead(record, 1000, d)
    crossing = duration(thousand)
    per_worker = (thousand - cost["latency"]) / 1000
    adding = (record["reduction"]["per_node"] + d * record["reduction"]["per_number"]) / per_worker
    return f"""\
Measured by `python -m benchmarks distributed`
on {record["date"]}: {about["cpu"]}, {about["cpus_in_use"]} CPUs; {versions}.{short}
Client, scheduler and both workers share the CPUs.

{measured(record)}

### 1000 workers
Nothing here was run on 1000 workers. The client is the bottleneck: in one thread it writes to and
reads from every worker, one after the other. So a step takes, beside the slowest worker's pass,

    {duration(cost["latency"])} + workers x {duration(per_worker)}          (one model, d = {d})

of which the bytes are {16 * d * cost["per_byte"] / per_worker:.0%} and the additions {adding:.0%}.
The rest is the cost of a message. A network adds its latency once and, if it is slower than the
{1 / max(cost["per_byte"], 1e-12) / 1e9:.2g} GB/s that the client handles, more for the bytes.

{limits(record)}

With 1000 workers the pass of each takes as long as the overhead at {crossing}. There half of
the cluster is wasted, and more workers make no step shorter. What helps is more work between two
messages. The models of a sweep share a message; share of the time of 1000 workers that is spent on
computing then, with passes that grow with the models as measured above:

{hidden(record)}

The last column is for a single model: so many steps would each worker have to take on its own rows
between two sums. That is another algorithm (local gradient descent, which averages factors) with
other iterates, and not offered here; a sweep changes them by rounding errors only."""
