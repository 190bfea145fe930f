"""The group convergence: same iterates everywhere, clocks, and what the tables say."""

import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import accel
from accel.tuning import Model
from benchmarks.groups.convergence import contest, methods, race, table
from benchmarks.groups.convergence.contest import Entrant
from benchmarks.groups.convergence.methods import LIBRARIES, MODELS, DivergedError, Task
from benchmarks.groups.convergence.problems import Problem
from benchmarks.groups.convergence.search import Searched, search
from benchmarks.groups.convergence.solvers import Solver
from benchmarks.harness import timing
from benchmarks.peers import Stepper

from ...children import ROOT, python

# torch and JAX keep threads, after which no later test could fork.
SCRIPT = """
import json, traceback
import accel
from benchmarks.groups.convergence import contest, methods, torch_methods
from benchmarks.groups.convergence.methods import LIBRARIES, MODELS, Task
from benchmarks.groups.convergence.problems import Problem
from benchmarks.peers import Gap

torch_methods.seconds_each = lambda advance: advance(1) or 1.0  # every form that there is

data = accel.datasets.make_ill_conditioned(60, 7, 100.0)
lp = accel.LpProblem(data.X, data.y, p=4.0)
problem = Problem("tiny", "tiny", lp, accel.optimum(lp), 1.0, 100)
outcomes = {}
for model in MODELS:
    rate = 1.0 if model.optimizer == "adadelta" else 0.01
    for library, prepare in LIBRARIES.items():
        task = Task(problem, model, rate, 1)
        try:
            contest._held(task, prepare(task))
            outcome = ["agrees", ""]
        except Gap as gap:
            outcome = ["gap", str(gap)]
        except Exception:
            outcome = ["fails", traceback.format_exc()]
        outcomes[f"{library}: {model}"] = outcome
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes():
    done = python("-c", SCRIPT, cwd=ROOT, limit=300)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow  # torch, JAX and its compiler: some ten seconds for all of them
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_every_library_makes_the_iterates_of_the_reference(model, library, outcomes):
    outcome, why = outcomes[f"{library}: {model}"]
    if outcome == "gap" and "another iterate" not in why:
        pytest.skip(why)
    assert outcome == "agrees", why


@pytest.fixture
def searches(monkeypatch):
    """What `grid_search` has returned, with changes of these fields."""
    made, changes, grid_search = [], {}, accel.grid_search

    def spied(*arguments, **options):
        made.append(replace(grid_search(*arguments, **options), **changes))
        return made[-1]

    monkeypatch.setattr(accel, "grid_search", spied)
    return made, changes


def test_the_best_rate_comes_first(searches):
    data = accel.datasets.make_ill_conditioned(60, 7, 100.0)
    lp = accel.LpProblem(data.X, data.y, p=4.0)
    problem = Problem("tiny", "tiny", lp, accel.optimum(lp), 1.0, 100)
    searched = search(problem, Model("gd", 1), "cpu", 1)
    (made,), changes = searches
    assert searched.rates[0] == made.learning_rate
    assert sorted(searched.rates) == [r.optimizer.learning_rate for r in made.results]
    diverged = {r.optimizer.learning_rate for r in made.results if r.status == "diverged"}
    assert diverged
    assert set(searched.rates[-len(diverged) :]) == diverged
    changes["interrupted"] = True
    with pytest.raises(KeyboardInterrupt):
        search(problem, Model("gd", 1), "cpu", 1)


def test_long_runs_go_by_the_method_that_train_takes(monkeypatch):
    data = accel.datasets.make_ill_conditioned(60, 7, 100.0)
    lp = accel.LpProblem(data.X, data.y, p=2.0)
    problem = Problem("tiny", "tiny", lp, accel.optimum(lp), 0.05, 100)
    task = Task(problem, Model("gd", 2), 0.01, 1)
    assert [methods.method_of(task, steps) for steps in (1, 10**9)] == [lp.form(), "spectral"]
    rotated, judge = methods.ours(task, "spectral")(), methods.reference(task)
    rotated.advance(50)
    judge.advance(50)
    np.testing.assert_allclose(rotated.params(), judge.params(), rtol=1e-10, atol=1e-12)
    taken = []
    monkeypatch.setattr(methods, "method_of", lambda task, steps: taken.append(steps) or "spectral")
    entrant = contest._entered(task, "accel", Searched((0.01,), 100, 1.0, False), None)
    assert (entrant.note, entrant.gap) == ("method spectral", "")
    assert len(taken) == 1
    assert taken[0] > 1
    assert entrant.steps  # it has come within some tolerance


def test_checkpoints():
    steps = list(itertools.islice(race.checkpoints(), 200))
    assert steps[:5] == [1, 2, 3, 4, 5]
    growth = np.divide(steps[60:], steps[59:-1])
    assert 1.03 < growth.min() <= growth.max() < 1.07


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def fresh(self, run_costs=1.0, step_costs=0.1, ends_at=math.inf):
        """A maker of runs whose distance after t steps is 1/t."""

        def made():
            self.now += run_costs
            done = 0

            def advance(steps):
                nonlocal done
                done += steps
                if done >= ends_at:
                    raise DivergedError
                self.now += steps * step_costs

            return Stepper(advance, lambda: np.array([done]))

        return made

    @property
    def task(self):
        def distance(params):
            self.now += 1000.0  # for which the clock of a run has to be stopped
            return 1 / params[0]

        return SimpleNamespace(distance=distance)


def test_the_clock_is_stopped_at_checkpoints(monkeypatch):
    clock = Clock(monkeypatch)
    ran = race.trace(clock.task, clock.fresh(), budget=1e6)
    assert ran.ended == "reached"
    first, second, third = ran.reached.values()
    assert (first, ran.steps) == (10, third)
    assert 100 <= second <= 105
    assert 1000 <= third <= 1050
    assert ran.points[0] == pytest.approx((1.1, 1.0))  # the making of the run counts
    assert ran.points[-1] == pytest.approx((1.0 + 0.1 * third, 1 / third))


def test_a_run_that_takes_too_long_or_diverges(monkeypatch):
    clock = Clock(monkeypatch)
    late = race.trace(clock.task, clock.fresh(), budget=3.0)
    assert (late.ended, list(late.reached)) == ("budget", [0.1])
    assert late.points[-1][0] == pytest.approx(3.1)
    lost = race.trace(clock.task, clock.fresh(ends_at=12), budget=1e6)
    assert (lost.ended, lost.steps) == ("diverged", 11)


def test_rounds_have_no_checkpoints(monkeypatch):
    clock = Clock(monkeypatch)
    assert race.timed(clock.task, clock.fresh(), [10, 100]) == pytest.approx([2.0, 11.0])
    with pytest.raises(DivergedError):  # not where the run with checkpoints was
        race.timed(clock.task, clock.fresh(), [10, 50])


def test_arrivals_and_rounds():
    points = [(1.0, 5.0), (2.0, 0.05), (3.0, 0.005), (4.0, 0.02), (5.0, 0.004)]
    assert contest.arrivals(points) == {0.1: 2.0, 0.01: 3.0}
    entrant = Entrant("gd, depth 1", "accel", points=points)
    assert [entrant.rounds(5, budget) for budget in (1.0, 13.0, 100.0)] == [1, 2, 5]
    solver = Entrant("sgd", "solver", points=points, solver=Solver(lambda: points))
    assert [solver.rounds(5, budget) for budget in (1.0, 13.0, 20.0)] == [1, 1, 2]
    assert Entrant("gd, depth 1", "accel", points=[(1.0, 5.0)]).rounds(5, 100.0) == 0
    assert Entrant("gd, depth 1", "accel", gap="why").rounds(5, 100.0) == 0


def test_only_what_every_round_met_is_kept():
    entrant = Entrant("a", "solver", samples={0.1: [1.0, 1.0], 0.01: [2.0]})
    entrant.settle()
    assert entrant.samples == {0.1: [1.0, 1.0]}


def test_a_hopeless_run():
    ours = Entrant("gd", "accel", facts={"steps": 1000}, steps={0.1: 100})
    assert contest._is_hopeless(0.02, 1.0, ours)  # 50 steps, 100 are needed
    assert not contest._is_hopeless(0.005, 1.0, ours)
    never = Entrant("gd", "accel", facts={"steps": 1000})
    assert contest._is_hopeless(0.002, 1.0, never)  # fewer than those that led nowhere
    assert not contest._is_hopeless(0.0005, 1.0, never)  # more: nobody knows


def entrant(library, method, times, **facts):
    steps = {t: round(1000 * samples[0]) for t, samples in times.items()}
    ended = "reached" if 0.001 in times else "budget"
    facts = {"rate": 0.1, "step_us": 5.0, "steps": 9, "at_edge": False, **facts}
    points = [(0.1, 1.0), (3.0, 0.0005 if ended == "reached" else 0.02)]
    return Entrant(method, library, "", "", facts, points, steps, ended, samples=times)


@pytest.fixture
def record():
    times = {0.1: [1.0, 1.0, 1.0], 0.001: [2.0, 2.0, 2.0]}
    problem = SimpleNamespace(
        name="p", title="a problem", budget=5.0, best=SimpleNamespace(loss=0.5, duality_gap=1e-12)
    )
    solver = Entrant("SciPy L-BFGS-B", "solver", points=[(0.3, 0.0)], ended="reached")
    solver.samples = {0.1: [0.1], 0.01: [0.2], 0.001: [0.3]}
    entrants = [
        entrant("accel", "gd, depth 1", times, grid_seconds=7.0, grid_steps=100),
        entrant("PyTorch", "gd, depth 1", {0.1: [3.0, 4.0, 5.0]}, grid_seconds=None, grid_steps=9),
        entrant("JAX", "gd, depth 1", {0.1: [0.5], 0.001: [1.0]}, grid_seconds=None, grid_steps=9),
        entrant("accel", "adam, depth 1", {}, grid_seconds=1.0, grid_steps=100),
        Entrant("adam, depth 1", "PyTorch", gap="torch is not installed"),
        solver,
        Entrant("scikit-learn SGDRegressor", "solver", gap="scikit-learn has it for p = 2 only"),
    ]
    return contest._record(problem, entrants, 3)


def test_a_row(record):
    torch, jax = record["rows"][1:3]
    assert torch["ratio"] == [4.0, 3.5, 4.5]
    assert torch["ratio_at"] == 0.1
    assert jax["ratio"] == [0.5, 0.5, 0.5]
    assert jax["ratio_at"] == 0.001
    assert torch["grid_seconds"] == pytest.approx(9 * 4.0 / 3000)
    assert jax["grid_seconds"] == pytest.approx(9 * 1.0 / 1000)
    assert record["rows"][0]["grid_seconds"] == 7.0


def test_every_row_is_in_the_table(record):
    made = table.problem_table(record)
    header, _, gd, adam = [line for line in made.splitlines() if line.startswith("|")][:4]
    assert header.startswith("| method, to 0.1 / 0.01 / 0.001 | rate | steps | accel |")
    assert "| 1 s / - / 2 s | 4 s / - / - (0.02 after 3 s) | 500 ms / - / 1 s |" in gd
    assert "| 4.00 (3.50 to 4.50) | 0.50 (0.50 to 0.50) | 7 s / 12 ms / 9 ms |" in gd
    assert "| - / - / - (0.02 after 3 s) |  |  |" in adam
    assert "| SciPy L-BFGS-B | 100 ms / 200 ms / 300 ms |" in made
    assert "not measured: scikit-learn has it for p = 2 only" in made
    assert "Not measured: PyTorch: torch is not installed (adam, depth 1)." in made
    earlier = [{k: v for k, v in row.items() if k != "end"} for row in record["rows"]]
    assert table.problem_table(record | {"rows": earlier}) == made  # of its curve's last point


def test_where_others_are_ahead(record):
    content = {"problems": [record], "tolerances": [0.1, 0.01, 0.001]}
    assert table.losses(content) == [
        "a problem: gd, depth 1 in JAX takes 0.50 (0.50 to 0.50) times as long as ours to 0.001.",
        "a problem, within 0.1: SciPy L-BFGS-B in 100 ms, our fastest descent, gd, depth 1, in "
        "1 s.",
        "a problem, within 0.01: SciPy L-BFGS-B in 200 ms, no descent of ours.",
        "a problem, within 0.001: SciPy L-BFGS-B in 300 ms, our fastest descent, gd, depth 1, in "
        "2 s.",
    ]
    line = table.summary_table(content).splitlines()[2]
    assert line == (
        "| a problem | 0.001 | 2 s | - | 2 s (gd, depth 1) | - | 1 s (gd, depth 1) | "
        "300 ms (SciPy L-BFGS-B) | - | none: scikit-learn has it for p = 2 only |"
    )


def test_models_are_what_the_group_promises():
    assert {m.depth for m in MODELS if m.optimizer == "gd"} == {1, 2, 3, 4}
    for name in ("momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam"):
        assert {m.depth for m in MODELS if m.optimizer == name} == {1, 3}
    assert Model("end-to-end", 3) in MODELS
