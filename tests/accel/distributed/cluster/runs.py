"""Runs, problems and clients that the tests on a cluster share."""

import logging

import numpy as np
import pytest

import accel

da = pytest.importorskip("dask.array", reason="dask is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")

from accel.distributed import DaskProblem  # noqa: E402

from ...problems import start  # noqa: E402


def cluster_of(workers):
    """A cluster of so many processes with one thread each."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    )


def client_of(cluster):
    """A new client of the cluster, which dask does not take by default."""
    return distributed.Client(cluster, set_as_default=False)


def arrays(n=20, d=3, chunks=(5, 3)):
    """Arrays of ones, in chunks."""
    return da.ones((n, d), chunks=chunks), da.ones(n, chunks=chunks[0])


def split(problem, chunk=9, **arguments):
    """The same problem in row chunks on the workers."""
    X, Y = problem.X, problem.Y if problem.k > 1 else problem.Y[:, 0]
    arguments = {"p": problem.p, "scale": problem.scale, "method": problem.method, **arguments}
    return DaskProblem(da.from_array(X, chunks=chunk), da.from_array(Y, chunks=chunk), **arguments)


def train(problem, like=None, steps=40, optimizer=None, **arguments):
    """Train a small network, by gradient descent unless told otherwise."""
    optimizer = optimizer or accel.GradientDescent(0.002)
    return accel.train(problem, start(like or problem), optimizer, steps, **arguments)


def same_bits(one, other):
    """Both results have the same parameters and the same history, to the last bit."""
    assert np.array_equal(one.network.params, other.network.params)
    for name in ("step", "loss", "gradient_norm", "weight_norm"):
        assert np.array_equal(getattr(one.history, name), getattr(other.history, name))
