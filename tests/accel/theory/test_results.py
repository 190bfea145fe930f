"""The results of the theory are immutable."""

import copy
import dataclasses

import numpy as np
import pytest

from accel import LinearNetwork, LpProblem, theory

PROBLEM = LpProblem(np.eye(2), [3.0, 1.0], 4)
RESULTS = {
    "preconditioner": lambda: theory.preconditioner(np.eye(2), 2),
    "flow": lambda: theory.end_to_end_flow(PROBLEM, [0.1, 0.1], 2, 0.01),
    "factor flow": lambda: theory.factor_flow(PROBLEM, LinearNetwork((2, 1)), 0.01),
    "integral": lambda: theory.closed_curve_integral(PROBLEM, 3, [1.0, 0.0], 0.5, 1.0),
    "two points": lambda: theory.two_point(2.0, 1.0),
    "descent": lambda: theory.two_point(2.0, 1.0).deep,
}


@pytest.mark.parametrize("name", RESULTS)
def test_cannot_be_changed_but_kept_in_a_set(name):
    result = RESULTS[name]()
    for field in dataclasses.fields(result):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, field.name, None)
    assert result in {result}
    # Results of numbers compare by value; results with arrays by identity.
    assert (copy.copy(result) == result) == (name in {"two points", "descent"})
