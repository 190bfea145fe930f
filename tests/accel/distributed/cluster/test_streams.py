"""Data that stay in their files and are read once a step."""

import numpy as np
import pytest

da = pytest.importorskip("dask.array", reason="dask is not installed")
pytest.importorskip("distributed", reason="distributed is not installed")

from accel.distributed import DaskProblem, from_npy  # noqa: E402

from ...problems import make_problem  # noqa: E402
from .runs import split, train  # noqa: E402


def noted(block, path):
    """Return the block, and write a line to a file every time it is read."""
    with open(path, "a") as file:
        file.write(f"{len(block)}\n")
    return block


def test_streams_a_file_and_reads_it_once_a_step(client, tmp_path):
    problem, steps = make_problem(n=1000, d=8), 6
    np.save(tmp_path / "X.npy", problem.X)
    np.save(tmp_path / "y.npy", problem.Y[:, 0])
    reads = tmp_path / "reads"
    X = from_npy(tmp_path / "X.npy", rows=90).map_blocks(noted, str(reads), meta=np.empty((0, 0)))
    there = DaskProblem(X, from_npy(tmp_path / "y.npy"), keep=False)
    assert "keep=False" in repr(there)
    before = len(reads.read_text().split())
    assert before == 12  # read once to be checked; the last of 12 chunks is short
    result = train(there, steps=steps, record_every=steps + 1)
    # Once a step, and once for the last iterate.
    assert len(reads.read_text().split()) - before == 12 * (steps + 1)
    np.testing.assert_allclose(
        result.network.params, train(problem, steps=steps).network.params, rtol=1e-10
    )


def test_streams_zarr(client, tmp_path):
    zarr = pytest.importorskip("zarr")
    problem = make_problem(n=100, d=8)
    array = zarr.open_array(
        str(tmp_path / "X"), mode="w", shape=(100, 8), chunks=(30, 8), dtype="f8"
    )
    array[:] = problem.X
    there = DaskProblem(
        da.from_zarr(str(tmp_path / "X")), da.from_array(problem.Y[:, 0]), keep=False
    )
    np.testing.assert_allclose(
        train(there).network.params, train(problem).network.params, rtol=1e-10
    )


def test_streams_what_does_not_fit(client, monkeypatch):
    from accel.distributed import placing

    monkeypatch.setattr(placing, "_SHARE", 1e-12)
    assert "keep=False" in repr(split(make_problem(), keep="auto"))
