"""Tests on a dask cluster: a process of their own, since distributed's threads outlive a cluster.

``tests/accel/distributed/test_processes.py`` starts it; elsewhere they are not collected.
"""

import os

import pytest

collect_ignore_glob = [] if os.environ.get("ACCEL_TEST_CLUSTER") == "1" else ["test_*.py"]


@pytest.fixture(scope="session")
def client():
    """The client, dask's default one, of a cluster of two processes."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    from .runs import cluster_of

    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="session")
def inside():
    """A cluster in this process, which is quick; every test makes a client of its own."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False,
                                  dashboard_address=":0") as cluster:  # fmt: skip
        yield cluster
