"""``python -m benchmarks distributed``: what a step on a dask cluster costs beside its arithmetic.

A LocalCluster of one and of two single-threaded workers on this machine. Each figure is a median of
interleaved rounds. From the record, once it is kept, ``python -m benchmarks readme`` writes the
measured part of ``docs/distributed.md``, with what follows for 1000 workers.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report_folder
from benchmarks.groups.distributed.page import summary
from benchmarks.harness import machine, records
from benchmarks.harness.timing import elapsed, in_turn, medians

LIBRARIES = ("implicit-accel", "numpy", "numba", "dask", "distributed")
D = 128
COMPUTE = 0.1  # seconds of one worker's step at which efficiency is measured
MODELS = (1, 8, 64)

Ask = Callable[[], object]


def median_seconds(calls: dict[str, Ask], rounds: int) -> dict[str, float]:
    """Time of one call of each, all in turn."""
    for call in calls.values():
        call()
    samples = {name: functools.partial(elapsed, call) for name, call in calls.items()}
    return medians(in_turn(samples, rounds))


def problem_of(client: Any, rows: int, chunks: int, d: int = D, workers: Sequence[str] = ()) -> Any:
    """A problem of random rows made where they stay; on these workers only, if any are named."""
    import dask.array as da

    from accel.distributed import DaskProblem

    rng = da.random.default_rng()  # of another name each time: persisted arrays stay apart
    X = rng.standard_normal((rows, d), chunks=(-(-rows // chunks), d))
    y = X.sum(axis=1)
    if workers:
        X, y = client.persist([X, y], workers=list(workers))
    return DaskProblem(X, y, client=client)


def passes_of(problem: Any, models: int) -> Ask:
    """Make one pass for so many maps."""
    from accel.distributed.loop import Passes

    passes = Passes(problem.chunks, problem.n, problem.spec, "cpu", 0, models)
    W = np.random.default_rng(1).standard_normal((models, problem.k, problem.d)) * 0.01
    return lambda: passes(W)


def step_of(problem: Any, steps: int) -> float:
    """Seconds a step of a whole run by ``train``."""
    import accel

    network = accel.LinearNetwork.for_problem(problem, depth=2, init="balanced")
    rule = accel.GradientDescent(1e-6)
    return accel.train(problem, network, rule, steps, backend="cpu").seconds / steps


def _local(token: str, homes: dict[str, list[int]], d: int, rounds: int, dask_worker: Any) -> float:
    """On a worker: the median time of its share of a pass, no message involved."""
    from accel.distributed.passes import Question
    from accel.distributed.service import chunk_key

    indices = homes[dask_worker.address]
    count = sum(map(len, homes.values()))
    held = [dask_worker.data[chunk_key(token, i)] for i in indices]
    question = Question("pass", np.full((1, 1, d), 0.01), 4.0, 1, "cpu")
    share = dask_worker.plugins["accel"].share
    ask = {"share": lambda: share(held, indices, count, 1, question)}
    return median_seconds(ask, rounds)["share"]


def local_seconds(client: Any, problem: Any, rounds: int) -> float:
    """The slowest worker's time of its share, all computing at once and none communicating."""
    chunks = problem.chunks
    by_worker = client.run(
        _local, chunks.token, chunks.homes, problem.d, rounds, workers=list(chunks.homes)
    )
    return max(by_worker.values())


def overhead(client: Any, quick: bool) -> list[float]:
    """Samples of a step with next to no arithmetic."""
    tiny = problem_of(client, 64, 2)
    step = functools.partial(step_of, tiny, 100 if quick else 1000)
    return in_turn({"step": step}, 3 if quick else 9)["step"]


def efficiency(client: Any, quick: bool) -> dict[str, Any]:
    """One worker against two on the same rows, and against the same passes without dask."""
    rounds = 3 if quick else 15
    workers = sorted(client.nthreads())
    rows = 20_000
    probe = problem_of(client, rows, 1, workers=workers[:1])
    seconds = local_seconds(client, probe, rounds)
    rows = int(rows * (COMPUTE / 10 if quick else COMPUTE) / seconds)
    one = problem_of(client, rows, 2, workers=workers[:1])
    two = problem_of(client, rows, 2)
    if len(two.chunks.homes) != 2 or len(one.chunks.homes) != 1:
        raise RuntimeError(f"chunks lie on {one.chunks.homes} and {two.chunks.homes}")
    asked = median_seconds({"one": passes_of(one, 1), "two": passes_of(two, 1)}, rounds)
    alone = [local_seconds(client, one, rounds), local_seconds(client, two, rounds)]
    sweeps = {
        models: median_seconds({"two": passes_of(two, models)}, max(rounds // 3, 2))["two"]
        for models in MODELS
    }
    return {
        "rows": rows, "d": D, "one": asked["one"], "two": asked["two"],
        "local_one": alone[0], "local_two": alone[1],
        "efficiency": asked["one"] / asked["two"] / 2,
        "possible": alone[0] / alone[1] / 2,
        "sweep_seconds": sweeps,
    }  # fmt: skip


def client_cost(client: Any, d: int, workers: Sequence[str], rounds: int) -> dict[str, float]:
    """Wall-clock time of a pass without arithmetic and CPU time of the client for it."""
    problem = problem_of(client, 8 * len(workers), len(workers), d, workers)
    ask = passes_of(problem, 1)
    ask()
    clocks = {"wall": time.perf_counter, "cpu": time.process_time}
    calls = {name: functools.partial(elapsed, ask, 20, clock) for name, clock in clocks.items()}
    return {"workers": len(problem.chunks.homes), "d": d, **medians(in_turn(calls, rounds))}


def messages(quick: bool) -> dict[str, Any]:
    """What a message costs the client, by its size and by their number; slopes by least squares."""
    counts, sizes = (1, 2, 4) if quick else (1, 2, 4, 8), (128, 16_384, 131_072)
    rounds = 3 if quick else 9
    with Cluster(counts[-1]) as client:
        names = sorted(client.nthreads())
        by_count = [client_cost(client, D, names[:count], rounds) for count in counts]
        by_size = [client_cost(client, d, names[:2], rounds) for d in sizes]
    slope = np.polyfit([row["workers"] for row in by_count], [row["cpu"] for row in by_count], 1)
    # There and back for two workers: 8 bytes a number each way.
    moved = [32.0 * row["d"] for row in by_size]
    per_byte = np.polyfit(moved, [row["cpu"] for row in by_size], 1)
    return {
        "by_count": by_count, "by_size": by_size,
        "latency": by_count[0]["wall"],
        "per_worker": float(max(slope[0], 0.0)), "per_byte": float(max(per_byte[0], 0.0)),
    }  # fmt: skip


def reduction(quick: bool) -> dict[str, float]:
    """Adding up the answers of 1000 workers on the client: a node, and a number of it."""
    from accel.distributed.tree import join

    count, per_node = 1000, {}
    for size in (D, 16_384):
        sums = {(i, i + 1): np.ones(size + 1) for i in range(count)}
        calls: dict[str, Ask] = {"join": lambda sums=sums: join((0, count), sums)}
        per_node[size] = median_seconds(calls, 3 if quick else 15)["join"] / count
    per_number = (per_node[16_384] - per_node[D]) / (16_384 - D)
    return {"per_node": max(per_node[D] - D * per_number, 0.0), "per_number": per_number}


class Cluster:
    """A LocalCluster of processes with one thread each, and its client."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def __enter__(self) -> Any:
        import distributed

        self._cluster = distributed.LocalCluster(
            n_workers=self._workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=None,
            dashboard_address=":0",
        )
        self._client = distributed.Client(self._cluster)
        return self._client

    def __exit__(self, *exception: object) -> None:
        self._client.close()
        self._cluster.close()


def measure(quick: bool) -> records.Record:
    """Everything, as a record."""
    about = machine.describe(LIBRARIES)
    with Cluster(2) as client:
        samples, large = overhead(client, quick), efficiency(client, quick)
    content = records.record(
        "distributed", quick, about,
        overhead={"step_seconds": statistics.median(samples)}, efficiency=large,
        messages=messages(quick), reduction=reduction(quick),
    )  # fmt: skip
    name = "a step with next to no arithmetic, two workers"
    content["benchmarks"] = [records.entry("distributed", name, samples, kind="ours")]
    return content


def main(arguments: list[str]) -> int:
    """Measure, write the record and print what the page would say."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks distributed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a minute; prove that it runs")
    parser.add_argument("--output", type=Path, help="JSON file (benchmarks/report/[quick/]...)")
    options = parser.parse_args(arguments)
    content = measure(options.quick)
    path = options.output or report_folder(options.quick) / "distributed.json"
    print(summary(records.read(records.write(content, path))))
    print(f"\nwritten to {path}")
    return 0
