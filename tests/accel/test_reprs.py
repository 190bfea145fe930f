"""What public values show of themselves: one short line and, in a notebook, a table."""

import dataclasses
import importlib
import inspect
import math
from html.parser import HTMLParser

import numpy as np
import pytest

import accel
from accel import losses, recording, schedules, theory, tuning
from accel._core import network as networks
from accel._core.optimizers import OPTIMIZERS
from accel._support import showing
from accel.datasets import Dataset, LowRank
from accel.datasets.mnist import MnistData
from accel.experiments import mnist

MODULES = [
    "accel", "accel.datasets", "accel.experiments.mnist", "accel.losses", "accel.recording",
    "accel.schedules", "accel.theory", "accel.tuning",
]  # fmt: skip
LONG = "<b>&" * 500
N, D = 3000, 200
X = np.random.default_rng(0).standard_normal((N, D))
Y = X[:, :3] + 1.0
RATE = 0.01


def trained(**more):
    problem = accel.LpProblem(X[:50, :4], Y[:50, 0])
    network = accel.LinearNetwork.for_problem(problem, 2)
    models = [(network, accel.GradientDescent(RATE / 2**i)) for i in range(9)]
    options = {"record": [*"abcdefghij"], "backend": "reference", **more}
    options["record"] = [recording.Function(lambda step, net: 1.0, 30 * a) for a in "abcdefghij"]
    return problem, network, accel.sweep(problem, models, 5, **options)


def others():
    """Values of the classes that are neither constants nor made by the calls above."""
    wide = accel.LpProblem(X, Y, p=4)
    part = accel.LpProblem(X[:50, :4], Y[:50, 0])
    seen = np.arange(N) % 50, np.arange(N) // 50, X[:, 0]
    completion = accel.MatrixCompletion((50, 60), *seen)
    yield from (wide, completion, accel.Problem(X, Y, "huber"))
    yield accel.MatrixFactorization(X)
    yield accel.MatrixSensing(X.reshape(N, 10, 20)[:100], X[:100, 0])
    yield accel.LinearNetwork((500, *[7] * 998, 1), scale=0.0)
    yield accel.LinearNetwork.for_problem(wide)
    yield accel.DiagonalNetwork(5000)
    yield accel.standardize(X, Y)
    yield accel.standardize(X, np.tile(Y, 30))
    yield Dataset(X, Y, LONG, (LONG,) * D, LONG, LONG)
    yield Dataset(X.tolist(), None, "lists", (), "", "")
    yield LowRank(X, completion, None)
    yield accel.datasets.make_low_rank((30, 20), 2, 300)
    yield MnistData(np.zeros((70, 28, 28), np.uint8), np.zeros(70, np.uint8), "digits", LONG)
    yield accel.optimum(part)
    found = accel.optimum(accel.MatrixFactorization(X[:20, :10]))
    yield from (found, found.nuclear)
    yield dataclasses.replace(found, doubtful=3, loss=math.nan)
    yield accel.Batches(2**31 - 1, 2**30, seed=2**63 - 1)
    yield accel.LabelNoise(1e-300, "sign")
    problem, network, swept = trained()
    yield from (swept, swept.best, swept.best.history)
    model = recording.Model(problem, network, accel.Adam())
    yield from (model, recording.Output((3, 4)))
    yield recording.Moment(5, network, network.params, accel.Adam(), None, None)
    yield accel.History(*(np.empty(0),) * 5)
    yield accel.grid_search(
        problem, network, accel.GradientDescent(1.0), 5, learning_rates=[0.01, 0.1], refine=0,
        backend="reference",
    )  # fmt: skip
    models = [tuning.Model("gd", 1), tuning.Model("gd", 2)]
    compared = tuning.compare(problem, models, 30, grid=tuning.Grid(4), backend="reference")
    yield from (compared, compared.models[0], compared.models[0].trial, *models)
    yield from (tuning.Grid(4), tuning.Start())
    yield tuning.Search(tuning.Grid(4), 0, 0.0, print, 0.0, dict.fromkeys(range(999)), swept[0])
    yield theory.preconditioner(X[:3], 3)
    yield theory.ClosedCurveIntegral(math.pi, 1e-9, (1.0, 2.0, 3.0, 4.0), X[:, :2])
    flow = np.arange(9.0), np.zeros((9, 3, 200)), np.ones(9)
    yield theory.Flow(*flow)
    yield theory.FactorFlow(*flow, (network,) * 9, np.zeros(9))
    descent = theory.Descent(0.1, 10**9)
    yield from (descent, theory.TwoPoint(1 / 3, descent, descent))
    yield recording.DistanceTo(X)
    yield recording.RecoveryError(X, LONG)
    yield recording.LossOn(completion)
    net = mnist.NetResult(*(np.arange(5000),) * 5, 3_274_634, 0.0123456789)
    yield from (net, mnist.MnistResult(net, net, "completed", 8000, 1e4, "MNIST", LONG, "balanced",
                                       100, 0, 2))  # fmt: skip


def constants():
    """Rules, losses and quantities with no more than their defaults, or a number or two."""
    for module in (losses, recording, accel, schedules):
        for name in module.__all__:
            kind = getattr(module, name)
            rule = module is not accel or kind in OPTIMIZERS.values()
            if not (rule and inspect.isclass(kind)) or inspect.isabstract(kind):
                continue
            needed = [
                parameter
                for parameter in inspect.signature(kind).parameters.values()
                if parameter.default is parameter.empty
                and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            ]
            if all(p.annotation in _NUMBERS for p in needed):
                yield kind(*(_NUMBERS[p.annotation] + i for i, p in enumerate(needed)))
    yield schedules.Product((schedules.Constant(0.1), schedules.Step(0.1, 10, 0.5)))
    yield schedules.Join((schedules.Constant(1.0), schedules.Constant(2.0)), (5,))
    yield schedules.PiecewiseConstant(range(1, 5000), np.linspace(0, 1, 5000))
    yield schedules.PiecewiseInterpolate(range(1, 5000), np.linspace(0, 1, 5000))
    yield recording.Function(print)


_NUMBERS = {float: 0.5, int: 2, float | schedules.Schedule: 0.5}


class Tags(HTMLParser):
    """Which tags there are, and that what is opened is closed."""

    def __init__(self):
        super().__init__()
        self.seen, self.open = set(), []

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def values():
    with np.errstate(all="ignore"):
        return [*others(), *constants()]


def test_all_reprs_are_short(values):
    for value in values:
        text = repr(value)
        assert text.startswith(f"{type(value).__name__}("), text
        assert len(text) <= 240, text
        assert "\n" not in text


def test_all_html_is_short_and_escaped(values):
    shown = [value for value in values if hasattr(value, "_repr_html_")]
    for value in shown:
        html = value._repr_html_()
        tags = Tags()
        tags.feed(html)
        assert not tags.open
        assert tags.seen >= {"tr", "td"}
        assert "b" not in tags.seen
        assert len(html) < 20_000, type(value)
    kinds = {type(value).__name__ for value in shown}
    assert kinds == {
        "Comparison", "Dataset", "DiagonalNetwork", "GridSearch", "History", "LinearNetwork",
        "LowRank", "LpProblem", "MatrixCompletion", "MatrixFactorization", "MatrixSensing",
        "MinimumNuclearNorm", "MnistData", "Optimum", "Problem", "Result", "Standardized", "Sweep",
    }  # fmt: skip


def test_no_public_class_is_forgotten(values):
    kinds = {type(value) for value in values}
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            kind = getattr(module, name)
            if not inspect.isclass(kind) or inspect.isabstract(kind):
                continue
            if issubclass(kind, Warning):
                continue
            assert any(issubclass(other, kind) for other in kinds), kind


def test_what_some_of_them_say():
    data = accel.datasets.make_ill_conditioned(40, 3)
    assert repr(data) == "Dataset(name='ill_conditioned', X=(40, 3), y=(40,), dtype=float64)"
    scaled = accel.standardize(data.X, data.y)
    assert repr(scaled) == "Standardized(X=(40, 3), y=(40,), dtype=float64)"
    assert f'<td style="text-align: left">{scaled.y_mean:.6g}</td>' in scaled._repr_html_()
    problem = accel.LpProblem(scaled.X, scaled.y)
    best = accel.optimum(problem)
    assert repr(best).startswith(f"Optimum(status='optimal', loss={best.loss:.6g}, duality_gap=")
    assert repr(best).endswith(", W=(1, 3), rank=3)")
    deep = accel.LinearNetwork((3, *[2] * 20, 1))
    assert repr(deep) == ("LinearNetwork(widths=(3, 2, 2, ..., 2, 1), depth=21, dtype=float64)")
    assert showing.widths((3, 2, 1)) == "(3, 2, 1)"
    result = accel.train(problem, accel.LinearNetwork((3, 1)), accel.Adam(), 5, backend="reference")
    history = result.history
    assert repr(history) == f"History(records=6, last_step=5, loss={result.loss:.6g}, recorded=[])"
    assert f">{history.loss[0]:.6g} to {history.loss[-1]:.6g}</td>" in history._repr_html_()


def test_factors_on_a_gpu_stay_there(monkeypatch):
    """What is shown asks for no copy on the host."""
    monkeypatch.setattr(networks.arrays, "to_host", lambda array: pytest.fail("copied"))
    network = accel.LinearNetwork((3, 2, 1))
    vars(network).pop("params", None)
    assert "(3, 2, 1)" in repr(network)
    assert ">8</td>" in network._repr_html_()
