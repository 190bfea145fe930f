"""Train on a cluster of two processes, from a file, and lose one of them on the way.

pip install "implicit-accel[dask]" && python examples/dask_cluster.py
"""

import os
import signal
import tempfile
from pathlib import Path

import numpy as np
from distributed import Client, LocalCluster

import accel
from accel.distributed import DaskProblem, from_npy


def main():
    """Make the data, and the cluster."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100_000, 64))
    y = X @ rng.standard_normal(64) + 0.1 * rng.standard_normal(len(X))
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "X.npy", X)
        np.save(Path(folder) / "y.npy", y)
        with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
            train(client, Path(folder))


def train(client, folder):
    """Run once undisturbed, once with a loss, and a sweep."""
    X, y = from_npy(folder / "X.npy", rows=10_000), from_npy(folder / "y.npy")
    problem = DaskProblem(X, y, p=4)
    network = accel.LinearNetwork.for_problem(problem, depth=2, init="balanced", seed=0)
    rule = accel.GradientDescent(1e-4)
    whole = accel.train(problem, network, rule, steps=100)
    print(f"{whole.status}: loss {whole.loss:.6g}, {10 * whole.seconds:.2f} ms a step")

    killed = []

    def kill(step, loss):
        if not killed:
            killed.append(min(client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    other = accel.train(problem, network, rule, steps=100, callback=kill)
    same = np.array_equal(whole.network.params, other.network.params)
    print(f"with process {killed[0]} killed: {other.seconds:.1f} s in all, same bits: {same}")

    models = [(network, accel.GradientDescent(rate)) for rate in (1e-5, 1e-4, 1e-3)]
    print(accel.sweep(problem, models, steps=100))


if __name__ == "__main__":
    main()
