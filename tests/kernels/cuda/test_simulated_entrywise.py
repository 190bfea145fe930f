"""Runs of diagonal networks in the simulator, on the chip and streamed."""

import numpy as np
import pytest

import accel
from accel.kernels.cuda import loop as cuda_loop

from ..runs import RULES, Problem, diagonal, problem
from ..simulator import options
from ..test_entrywise import DESCENTS, FORMS, models_of
from .test_simulated_entries import compared
from .ways import Way

WAYS = [Way(name) for name in ("2 blocks", "streaming")]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
each_form = pytest.mark.parametrize("form", FORMS)


def mixed(form, dtype=np.float64, depths=(2, 3)):
    """A model for every rule and depth, of which some have group RMSProp."""
    return [model for n in depths for model in models_of(form, n, DESCENTS, 7, dtype)]


@each_way
@each_form
def test_every_rule(way, form):
    compared(way, problem(n=12, d=7), mixed(form))


@each_way
@each_form
@pytest.mark.parametrize("name", ["adam", "group rmsprop, factors"])
def test_one_rule_at_every_depth(way, form, name):
    """Kernels for a rule alone; more entries than threads."""
    models = [models_of(form, depth, [RULES[name]], 70)[0] for depth in (1, 2, 5)]
    compared(way, problem(n=9, d=70), models)


@each_form
def test_float32(form):
    case = problem(n=12, d=7, dtype=np.float32)
    compared(WAYS[0], case, mixed(form, np.float32, depths=(3,))[:3], 1e-4)


@each_form
@pytest.mark.parametrize("data", ["gram", "diagonal"])
def test_other_forms_of_the_loss(form, data):
    """As ``plan`` has it; the diagonal is on one block."""
    if data == "gram":
        case = problem(n=12, d=7, p=2.0, form="gram")
    else:
        case = Problem(*diagonal(d=7), (), None)
    compared(cuda_loop, case, models_of(form, 2, DESCENTS[:2], 7))


@each_way
@pytest.mark.parametrize("seed", [1])
def test_whatever_the_order_of_blocks_and_warps(way, seed):
    case, ends = problem(n=9, d=7), []
    models = models_of("hadamard", 3, [RULES["group rmsprop, factors"]], 7)
    for schedule in (None, seed):
        with options(seed=schedule):
            loop = way.TrainingLoop(*case[:3], models)
            loop.advance(2)
            ends.append(loop.params(0))
    np.testing.assert_array_equal(*ends)


@each_form
def test_through_train(form):
    """Beside a product of matrices, and from where it is 0."""
    data = accel.LpProblem(*problem(n=12, d=5)[:2], p=4.0)
    networks = [
        accel.DiagonalNetwork.for_problem(data, 3, form, scale=0.3),
        accel.LinearNetwork.for_problem(data, 2, scale=0.3),
    ]
    models = [(network, accel.GradientDescent(0.1)) for network in networks]
    ours, theirs = (
        accel.sweep(data, models, 3, backend=backend, record_every=1)
        for backend in ("cuda", "reference")
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one.backend == "cuda"
        np.testing.assert_allclose(one.history.loss, other.history.loss, rtol=1e-12)
        np.testing.assert_allclose(one.network.params, other.network.params, rtol=1e-12)
    assert ours[0].history.weight_norm[0] == 0
