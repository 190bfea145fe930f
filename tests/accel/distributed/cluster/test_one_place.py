"""What needs the data in one place refuses a ``DaskProblem``; what needs only losses takes it."""

import numpy as np
import pytest

import accel

pytest.importorskip("distributed", reason="distributed is not installed")

from ...problems import make_problem, start
from .runs import client_of, split

RULE = accel.GradientDescent(0.002)


@pytest.mark.parametrize(
    "use",
    [
        accel.optimum,
        lambda problem: accel.stable_rate(problem, start(), RULE),
        lambda problem: accel.train(problem, start(), RULE, 3, learning_rate="auto"),
        lambda problem: accel.grid_search(problem, start(), RULE, 3),
        lambda problem: accel.theory.curl(problem, np.ones(4), 3),
        lambda problem: accel.theory.closed_curve_integral(problem, 3, np.ones(4), 0.1, 1.0),
    ],
    ids=["optimum", "stable_rate", "auto", "grid_search", "curl", "curve"],
)
def test_refused(inside, use):
    told = "data of a DaskProblem are on the workers.*: make an LpProblem of them if they fit"
    with client_of(inside) as client, pytest.raises(TypeError, match=told):
        use(split(make_problem(), client=client))


def test_a_flow_and_a_usual_rate(inside):
    problem, adam = make_problem(), accel.Adam(1.0)
    with client_of(inside) as client:
        there = split(problem, client=client)
        here, far = (
            accel.theory.end_to_end_flow(each, np.full(4, 0.1), depth=2, t=[0.0, 0.1])
            for each in (problem, there)
        )
        np.testing.assert_allclose(far.matrices, here.matrices, rtol=1e-8)
        assert accel.stable_rate(there, start(), adam) == accel.stable_rate(problem, start(), adam)
