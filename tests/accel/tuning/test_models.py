"""What is tuned, and how its networks begin."""

import numpy as np
import pytest

import accel
from accel.tuning import Model, Start

PROBLEM = accel.LpProblem(np.eye(4) + 1.0, [4.0, 3.0, 2.0, 1.0])
WIDE = accel.LpProblem(np.eye(4), np.arange(8.0).reshape(4, 2))


@pytest.mark.parametrize("spelling", ["end-to-end", "EndToEnd", "end_to_end"])
def test_models_are_equal_however_they_are_spelled(spelling):
    model = Model(spelling, 3)
    assert model == Model("end-to-end", 3)
    assert model.at(0.1) == accel.EndToEnd(0.1, 3)
    assert str(model) == "end-to-end, depth 3"


def test_a_model_with_noise():
    assert Model("Langevin", 3, 0.5).at(0.1) == accel.Langevin(0.1, 0.5)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("gdd", 1), ValueError), (("gd", 0), ValueError), (("gd", 1.5), TypeError),
     ((3, 1), TypeError), (("gd", 1, 0.5), TypeError), (("langevin", 1), TypeError),
     (("langevin", 1, -0.5), ValueError)],
)  # fmt: skip
def test_bad_models(arguments, error):
    with pytest.raises(error):
        Model(*arguments)


@pytest.mark.parametrize("problem", [PROBLEM, WIDE])
def test_every_depth_begins_with_the_same_map(problem):
    maps = [
        Start().network(problem, Model(optimizer, depth)).end_to_end()
        for optimizer in ("gd", "end-to-end")
        for depth in (1, 2, 5)
    ]
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], rtol=1e-12, atol=1e-15)


def test_the_end_to_end_rule_begins_where_its_net_does():
    start = Start(init="near_zero", width=7, seed=3)
    network = start.network(PROBLEM, Model("end-to-end", 3))
    assert network.depth == 1
    deep = start.network(PROBLEM, Model("gd", 3))
    assert deep.widths == (4, 7, 7, 1)
    np.testing.assert_array_equal(network.end_to_end(), deep.end_to_end())
