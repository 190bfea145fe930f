"""Saddles and local minima of the factors, told from minima, and lower maps beside them."""

import numpy as np
import pytest

from accel import LpProblem, Problem, optimum
from accel.sklearn.saddles import trap

RNG = np.random.default_rng(7)
X = RNG.standard_normal((60, 4))
Y = X @ RNG.standard_normal((4, 3)) + 0.3 * RNG.standard_normal((60, 3))
ZERO = np.zeros((3, 4))


def problem(p=4.0, scale=1.0, dtype="f8"):
    return LpProblem(X, scale * Y, p, dtype=dtype)


def best(p=4.0):
    return optimum(problem(p)).W


def truncated(W, rank):
    U, sizes, Vt = np.linalg.svd(W, full_matrices=False)
    return (U[:, :rank] * sizes[:rank]) @ Vt[:rank]


def objective(problem, W, depth, decay):
    sizes = np.linalg.svd(W, compute_uv=False)
    return problem.loss(W) + decay * depth / 2 * np.sum(sizes ** (2 / depth))


def rest_of_rank(problem, rank, decay=0.0):
    """The map of least loss of a rank, by L-BFGS over its two factors."""
    optimize = pytest.importorskip("scipy.optimize")
    U, sizes, Vt = np.linalg.svd(truncated(optimum(problem).W, rank), full_matrices=False)
    roots = np.sqrt(sizes[:rank])
    start = np.concatenate([(U[:, :rank] * roots).ravel(), (roots[:, None] * Vt[:rank]).ravel()])
    cut = problem.k * rank

    def value(flat):
        A, B = flat[:cut].reshape(problem.k, rank), flat[cut:].reshape(rank, problem.d)
        loss, G = problem.loss_and_gradient(A @ B)
        slope = np.concatenate([(G @ B.T).ravel(), (A.T @ G).ravel()])
        return loss + decay / 2 * np.sum(flat**2), slope + decay * flat

    flat = optimize.minimize(value, start, jac=True, options={"gtol": 1e-9}).x
    return flat[:cut].reshape(problem.k, rank) @ flat[cut:].reshape(rank, problem.d)


@pytest.mark.parametrize("p", [1, 1.5, 2, 4, 8])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("depth", [2, 3, 7])
def test_zero_is_a_saddle_and_the_minimum_is_none(p, scale, depth):
    given = problem(p, scale)
    trapped = trap(given, ZERO + 1e-9 * scale, depth, 3, 0.0, 1e-8)
    assert trapped.reason == "the factors are held at a saddle where W is 0"
    assert np.linalg.matrix_rank(trapped.lower) == 1
    assert given.loss(trapped.lower) < 0.95 * given.loss(ZERO)
    assert trap(given, scale * best(p), depth, 3, 0.0, 1e-8) is None
    assert trap(given, ZERO, 1, 3, 0.0, 1e-8) is None  # a single factor leaves any point


LABELS = np.where(Y[:, 0] + RNG.logistic(size=60) > 0, 1.0, -1.0)
CLASSES = np.argmax(Y + RNG.gumbel(size=Y.shape), axis=1).astype(float)


@pytest.mark.parametrize(("loss", "targets"), [
    ("huber(0.5)", Y), ("pinball(0.3)", Y), ("expectile(0.8)", Y), ("logcosh", Y),
    ("logistic", LABELS), ("exponential", LABELS), ("cross-entropy", CLASSES),
])  # fmt: skip
def test_zero_is_a_saddle_of_every_loss(loss, targets):
    given = Problem(X, targets, loss)
    zero = np.full((given.k, 4), 1e-9)
    trapped = trap(given, zero, 2, given.k, 0.0, 1e-8)
    assert trapped.reason == "the factors are held at a saddle where W is 0"
    assert given.loss(trapped.lower) < 0.98 * given.loss(zero)
    assert trap(given, optimum(given).W, 2, given.k, 0.0, 1e-8) is None


@pytest.mark.parametrize("rank", [1, 2])
def test_a_missing_rank_is_found_unless_the_width_forbids_it(rank):
    given = problem()
    W = rest_of_rank(given, rank)
    trapped = trap(given, W, 3, 3, 0.0, 1e-8)
    assert trapped.reason == f"the factors are held at a saddle of rank {rank}"
    assert np.linalg.matrix_rank(trapped.lower) == rank + 1
    assert given.loss(trapped.lower) < 0.99 * given.loss(W)
    assert trap(given, W, 3, rank, 0.0, 1e-8) is None


def test_at_depth_2_decay_is_the_nuclear_norm_of_which_a_low_rank_is_the_minimum():
    given = problem(2)
    G = given.gradient(ZERO)
    largest = np.linalg.norm(G, 2)
    assert trap(given, ZERO, 2, 3, 1.01 * largest, 1e-8) is None
    trapped = trap(given, ZERO, 2, 3, 0.9 * largest, 1e-8)
    assert "saddle where W is 0" in trapped.reason
    assert objective(given, trapped.lower, 2, 0.9 * largest) < given.loss(ZERO)


@pytest.mark.parametrize("depth", [3, 5])
def test_from_depth_3_on_decay_makes_local_minima(depth):
    given = problem(4)
    trapped = trap(given, ZERO, depth, 3, 0.01, 1e-8)
    assert trapped.reason == (
        f"weight_decay at depth {depth} holds the factors at a local minimum where W is 0"
    )
    assert objective(given, trapped.lower, depth, 0.01) < given.loss(ZERO)
    # There is no lower point for a huge decay, which is proved, and none on the line in between.
    assert trap(given, ZERO, depth, 3, 1e3 * given.loss(ZERO), 1e-8) is None


def test_a_minimum_that_is_not_proved_is_told_as_such():
    given = LpProblem(np.eye(2), [3.0, 3.0], 2)
    slope, loss = np.linalg.norm(given.gradient(np.zeros((1, 2)))), given.loss([0.0, 0.0])
    decays = np.geomspace(0.1, 1e3, 200)
    trapped = [trap(given, np.zeros((1, 2)), 3, 1, decay, 1e-8) for decay in decays]
    kinds = [0 if f and f.lower is not None else 1 if f else 2 for f in trapped]
    assert kinds == sorted(kinds)
    assert set(kinds) == {0, 1, 2}
    assert trapped[kinds.index(1)].reason.endswith("where W is 0 that may not be the lowest")
    # 0 is proved the least where no size s has both 1.5 decay s^(2/3) < loss and < slope s.
    share = 1.5 * decays[kinds.index(2)]
    assert (share / slope) ** 3 >= (loss / share) ** 1.5
    # And it is where no point of a grid is lower.
    sizes = np.linspace(0, 6, 601)
    lower = [np.min((3 - sizes / np.sqrt(2)) ** 2 + 1.5 * d * sizes ** (2 / 3)) for d in decays]
    assert all(low < loss * (1 - 1e-8) for low, kind in zip(lower, kinds, strict=True) if not kind)
    assert all(low >= loss for low, kind in zip(lower, kinds, strict=True) if kind == 2)


def test_extremes_neither_fail_nor_warn():
    for depth in (2, 3, 10_000):
        for scale in (1e-150, 1e60):
            given = problem(4, 1e-60 if scale < 1 else scale)
            trap(given, ZERO, depth, 3, 0.0, 1e-8)
            trap(given, ZERO, depth, 3, 0.1, 1e-8)
    flat = LpProblem(X, np.zeros_like(Y), 4)
    assert trap(flat, ZERO, 3, 3, 0.1, 1e-8) is None
    single = problem(4, dtype="f4")
    assert trap(single, ZERO, 3, 3, 0.0, 1e-8).lower.dtype == np.float64
