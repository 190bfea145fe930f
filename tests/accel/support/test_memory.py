"""A call that needs more memory than is available raises MemoryError before it takes any."""

import tracemalloc

import numpy as np
import pytest

import accel
from accel import datasets
from accel._support import memory
from accel._support.backends import resolve

from ..problems import make_problem, start


@pytest.mark.parametrize(
    ("size", "text"), [(2**20, "1.0 MiB"), (300e9, "279 GiB"), (2e9, "1.9 GiB"), (9e30, "EiB")]
)
def test_sizes(size, text):
    assert text in memory.readable_size(size)


HUGE = 10**9


def refused():
    """Calls that need more than the 64 MiB that the tests leave, and what the message says."""
    X = np.broadcast_to(1.0, (10**5, 128))
    network = accel.LinearNetwork.for_problem(make_problem())
    rule = accel.Adam(0.01)

    def run(**arguments):
        return accel.train(make_problem(), network, rule, HUGE, record_every=1, **arguments)

    return {
        "network": (lambda: accel.LinearNetwork((3000, 3000, 1)), r"widths \(3000, 3000, 1\)"),
        "problem": (lambda: accel.LpProblem(X, X[:, 0]), r"an array of shape \(100000, 128\)"),
        "train": (run, "a history of 1e.09 records"),
        "sweep": (
            lambda: accel.sweep(make_problem(), [(network, rule)] * 9, HUGE, record_every=9),
            "a history of 1.11e.08 records",
        ),
        "data set": (lambda: datasets.make_ill_conditioned(10**5, 100), r"\(100000, 100\)"),
    }


@pytest.mark.parametrize("name", refused())
def test_refused_before_it_is_taken(name, monkeypatch):
    call, told = refused()[name]
    kernels = resolve("cpu")
    assert kernels.lp_loss  # imported, and what it needs to say what it takes
    assert kernels.needs
    monkeypatch.setattr(memory, "available", lambda: 2.0**26)
    tracemalloc.start()
    try:
        with pytest.raises(MemoryError, match=rf"{told}.* but 64.0 MiB are available$"):
            call()
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_network_that_no_machine_holds():
    with pytest.raises(MemoryError, match=r"needs about 36.4 TiB of memory, but .* are available"):
        accel.LinearNetwork((10**6, 10**6, 1))


def test_parts(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 0.0)
    told = "needs about 192 MiB of memory, 128 MiB of it for rows"
    with pytest.raises(MemoryError, match=told):
        memory.require("it", {"columns": 2**26, "rows": 2**27})
    memory.require("it", 2**26)  # too little to be checked


def test_a_run_that_may_end_by_itself_is_not_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2.0**26)
    problem = make_problem()
    network, rule = start(problem), accel.GradientDescent(0.002)
    loss = accel.train(problem, network, rule, 10).loss
    for how in ({"target": loss}, {"tol": 1e9}, {"callback": lambda step, loss: True}):
        accel.train(problem, network, rule, HUGE, record_every=1, **how)


def test_the_estimator(monkeypatch):
    sklearn = pytest.importorskip("accel.sklearn")
    monkeypatch.setattr(memory, "available", lambda: 2.0**26)
    with pytest.raises(MemoryError, match=r"the fit needs about 73.2 MiB"):
        sklearn.LpRegressor().fit(np.ones((32_000, 100)), np.ones(32_000))


def test_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2.0**26)
    with (tmp_path / "large.npy").open("wb") as file:
        file.truncate(2**26)
    with pytest.raises(MemoryError, match=r"large.npy needs about 128 MiB"):
        datasets.load_file(tmp_path / "large.npy")


def test_the_command(monkeypatch):
    pytest.importorskip("typer")
    from ..shell import run

    ended = run("train", "ill-conditioned:n=1000000000,d=1000")
    assert ended.exit_code == 2
    assert "needs about" in ended.stderr
    assert ended.stderr.count("\n") == 1


def network_of(widths, init):
    return lambda: accel.LinearNetwork(widths, init=init)


def trained(rule, backend, depth=2, **problem):
    problem = make_problem(**problem)
    network = accel.LinearNetwork.for_problem(problem, depth, 500)
    return lambda: accel.train(problem, network, rule, 3, backend=backend, threads=2)


def rotated(method, n, d):
    """A run that begins with a decomposition of the data, anew each time."""
    data = make_problem(n=n, d=d, p=2)
    network = accel.LinearNetwork.for_problem(data, 2, 20)

    def call():
        problem = accel.LpProblem(data.X, data.Y, 2, method=method)
        accel.train(problem, network, accel.GradientDescent(1e-6), 3, backend="cpu")

    return call


def recorded():
    problem = make_problem(n=2)
    network = start(problem)
    return lambda: accel.train(problem, network, accel.GradientDescent(1e-9), 300_000,
                               record_every=1, backend="cpu")  # fmt: skip


LARGE = make_problem(n=5000, d=200)

ESTIMATES = {
    "near zero": network_of((1000, 1000, 1), "near_zero"),
    "orthogonal": network_of((1000, 1000, 1), "orthogonal"),
    "gradient descent": trained(accel.GradientDescent(1e-6), "cpu", depth=3, d=1000),
    "adam": trained(accel.Adam(1e-6), "cpu", depth=3, d=1000),
    "reference": trained(accel.Adam(1e-6), "reference", depth=3, d=1000),
    "a padded copy": trained(accel.GradientDescent(1e-6), "cpu", n=20_000, d=129, depth=1),
    "gram": trained(accel.GradientDescent(1e-6), "cpu", n=1500, d=700, depth=1, p=2),
    "spectral": rotated("spectral", 2000, 600),
    "spectral, wide": rotated("spectral", 300, 4000),
    "row space": rotated("rowspace", 300, 4000),
    "history": recorded(),
    "optimum": lambda: accel.optimum(LARGE, max_iter=2),
    "data set": lambda: datasets.make_ill_conditioned(5000, 200),
}


@pytest.mark.parametrize("name", ESTIMATES)
def test_the_estimate_is_about_what_is_taken(name, monkeypatch):
    call, asked = ESTIMATES[name], []

    def note(what, needs):
        asked.append(sum(needs.values()) if isinstance(needs, dict) else needs)

    call()  # compiles the kernels
    monkeypatch.setattr(memory, "require", note)
    tracemalloc.start()
    try:
        call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.4 * max(asked) < peak < 1.2 * max(asked)  # LAPACK's own memory is not traced
