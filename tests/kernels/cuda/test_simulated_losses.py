"""The losses of every kind in every route, in the simulator, against the reference."""

import numpy as np
import pytest

from accel.kernels.cuda import chunks, curvature, jit, launch, losses, lp_loss
from accel.kernels.cuda import loop as cuda_loop
from accel.kernels.cuda.lp_loss import Pass, pack
from accel.kernels.reference import chunks as plain_chunks
from accel.kernels.reference import curvature as plain_curvature
from accel.kernels.reference import lp_loss as plain_loss
from accel.kernels.specs import DIVERGED, MARGIN_KINDS, Loss, ModelSpec

from ..runs import DTYPES, PLAIN, Problem, Single, assert_same_run, problem
from .kinds import ALONE, KINDS, SEVERAL, bounded, outputs, targets
from .test_simulated_loops import Plain
from .ways import Way


def case(name, *, dtype=np.float64, n=21, d=9, hidden=(), k=3):
    """The problem of ``runs`` with this loss, one output for a margin."""
    k = outputs(name, k)
    made = problem(n=n, d=d, hidden=hidden, k=k, dtype=dtype)
    Y = targets(np.random.default_rng(n), name, n, k).astype(dtype)
    return made._replace(Y=Y, loss=KINDS[name])


def check(name, route, n, d, models, k, dtype):
    """One pass of some models by a route, held to the bounds of rounding."""
    k, loss, rng = outputs(name, k), KINDS[name], np.random.default_rng(n + d)
    X, W = (rng.standard_normal(s).astype(dtype) for s in [(n, d), (models, k, d)])
    W, Y = W / dtype(np.sqrt(d)), targets(rng, name, n, k).astype(dtype)
    made = Pass(pack(X, Y), W.reshape(-1), loss, np.ones(models, np.int64), route=route)
    made()
    if route == "products" or name == "cross-entropy":
        made()  # a second pass begins with what the first one has left
    gradients = made.partials.sum(axis=0).reshape(models, k, d)
    sums = made.losses.reshape(-1, models, k).sum(axis=(0, 2))
    for m in range(models):
        value, value_error, G, G_error = bounded(loss, X, Y, W[m])
        assert abs(sums[m] - value) <= value_error
        assert np.all(abs(gradients[m] - G) <= G_error)
    return made


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize(
    ("route", "n", "d", "models", "k"),
    [
        ("rows", 37, 17, 1, 1),
        ("rows", 41, 8, 1, 3),
        ("tiles", 33, 12, 5, 1),
        ("tiles", 67, 17, 2, 3),
        ("products", 70, 5, 3, 2),
        ("blocks", 20, 5, 2, 9),
    ],
)
def test_every_pass(name, route, n, d, models, k, dtype):
    check(name, route, n, d, models, k, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["huber", "logcosh"])
def test_tiles_that_need_half_of_the_targets(name, dtype):
    check(name, "tiles", 9, 33, 1, 34, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MARGIN_KINDS)
def test_tiles_of_many_models_of_margins(name, dtype):
    check(name, "tiles", 9, 33, 34, 1, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("route", ["products", "blocks"])
@pytest.mark.parametrize(("n", "d", "models", "k"), [(1, 1, 1, 1), (70, 5, 2, 2), (20, 5, 1, 20)])
def test_every_pass_of_the_cross_entropy(route, n, d, models, k, dtype):
    made = check("cross-entropy", route, n, d, models, k, dtype)
    assert made.on_device == (route == "blocks")


def test_products_of_several_tiles(monkeypatch):
    monkeypatch.setattr(lp_loss, "TILE_BYTES", 8 * 5 * 13)
    for name in ("logistic", "cross-entropy"):
        check(name, "products", 70, 5, 1, 3, np.float64)


def test_only_products_in_memory_can_be_coupled():
    made = case("cross-entropy")
    for route in ("rows", "tiles"):
        with pytest.raises(
            ValueError, match=f"cross-entropy .* by products or blocks, got {route}"
        ):
            Pass(pack(made.X, made.Y), made.params, made.loss, np.ones(1, np.int64), route=route)


def test_a_model_of_the_cross_entropy_that_has_ended_is_left_out():
    made = case("cross-entropy", k=2)
    weights = np.concatenate([made.params] * 3)
    weights[18:36] = np.nan  # the second has diverged
    for route in ("products", "blocks"):
        running = np.array([1, 0, 1])
        one = Pass(pack(made.X, made.Y), weights, made.loss, running, route=route)
        one()
        sums = one.losses.reshape(-1, 3, 2).sum(axis=(0, 2))
        assert sums[1] == 0
        assert sums[0] == sums[2] > 0
        gradients = one.partials.sum(axis=0).reshape(3, -1)
        np.testing.assert_allclose(gradients[0], gradients[2], rtol=1e-13)
        assert np.isfinite(gradients[0]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "k"), [(name, 2) for name in KINDS] + [("cross-entropy", 40)])
def test_loss_and_gradient(name, k, dtype):
    """By the route that is chosen, with factors."""
    made = case(name, k=k, dtype=dtype)
    W = made.params.reshape(-1, 9)
    value, G = lp_loss.loss_and_gradient(made.X, made.Y, W, made.loss)
    expected = bounded(made.loss, made.X, made.Y, W)
    scale, eps = made.loss.factor / 21, np.finfo(dtype).eps
    assert abs(value - scale * expected.value) <= 1.01 * scale * expected.value_error
    error = scale * expected.gradient_error + 2 * eps * abs(scale * expected.gradient)
    assert np.all(abs(G - scale * expected.gradient) <= error)
    assert G.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "at", "value", "slope"),
    [
        ("logcosh", 1e-4, 5e-9 - 1e-16 / 12, np.tanh(1e-4)),  # its square would be lost beside 1
        ("logcosh", 3000.0, 3000 - np.log(2), 1.0),
        ("logcosh", -0.5, np.log(np.cosh(0.5)), -np.tanh(0.5)),
        ("logistic", 40.0, np.exp(-40.0), -np.exp(-40.0)),
        ("logistic", -3000.0, 3000.0, -1.0),
        ("logistic", 0.0, np.log(2), -0.5),
        ("huber", 3000.0, 0.4 * (3000 - 0.2), 0.4),
        ("huber", 1e-4, 5e-9, 1e-4),
        ("pinball", 0.0, 0.0, 0.0),
        ("expectile", -2.0, 3.2, -3.2),
    ],
)
def test_values_far_from_one(name, at, value, slope, dtype):
    """A single sample x = 1, whose product is all there is."""
    X, W = np.ones((1, 1), dtype), np.full((1, 1), at, dtype)
    Y = np.full((1, 1), 1.0 if name in MARGIN_KINDS else 0.0, dtype)
    got, G = lp_loss.loss_and_gradient(X, Y, W, KINDS[name]._replace(factor=1.0))
    eps = 16 * float(np.finfo(dtype).eps)
    assert got == pytest.approx(value, rel=eps, abs=0)
    assert float(G[0, 0]) == pytest.approx(slope, rel=eps, abs=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_soft_max_of_large_products_is_finite(dtype):
    X, Y = np.ones((1, 1), dtype), np.array([[0.0, 1.0, 0.0]], dtype)
    W = np.array([[3000.0], [2000.0], [-3000.0]], dtype)
    value, G = lp_loss.loss_and_gradient(X, Y, W, Loss(1.0, kind="cross-entropy"))
    assert value == 1000.0
    np.testing.assert_array_equal(G[:, 0], [1.0, -1.0, 0.0])


@pytest.mark.parametrize("name", KINDS)
def test_nan_stays_nan(name):
    made = case(name)
    W = made.params.reshape(-1, 9).copy()
    W[0, 0] = np.nan
    value, G = lp_loss.loss_and_gradient(made.X, made.Y, W, made.loss)
    assert np.isnan(value)
    assert np.isnan(G[0]).all()


def test_bits_of_a_margin_do_not_depend_on_its_company():
    rng = np.random.default_rng(0)
    X, W = (rng.standard_normal(s).astype(np.float32) for s in [(75, 6), (12, 6)])
    Y = targets(rng, "logistic", 75, 1).astype(np.float32)

    def made(maps):
        one = Pass(pack(X, Y), W[maps].reshape(-1), KINDS["logistic"],
                   np.ones(len(maps), np.int64), 12, route="tiles")  # fmt: skip
        one()
        return one

    whole = made(list(range(12)))
    for some in ([7, 2], [11]):
        part = made(some)
        np.testing.assert_array_equal(part.partials, whole.partials[:, some])
        np.testing.assert_array_equal(part.losses, whole.losses[:, some])


@pytest.mark.parametrize("name", KINDS)
def test_sums_of_a_chunk(name):
    made = case(name)
    W = np.stack([made.params.reshape(-1, 9), 2 * made.params.reshape(-1, 9)])
    ours, plain = (
        module.sums(module.pieces(made.X, made.Y, 9, 64)[0], W, made.loss, 2)
        for module in (chunks, plain_chunks)
    )
    np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-12)


# Curvature --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_hessian_product(name):
    made = case(name)
    W, V = made.params.reshape(-1, 9), made.params[::-1].reshape(-1, 9)
    ours, plain = (
        module.hessian_product(made.X, made.Y, W, V, made.loss)
        for module in (curvature, plain_curvature)
    )
    np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)
    assert np.any(ours) == (name != "pinball")


@pytest.mark.parametrize("name", ALONE)
def test_hessian(name):
    made = case(name, k=1)
    y, w = made.Y[:, 0].copy(), made.params
    if name not in MARGIN_KINDS:
        y[::2] = (made.X @ w)[::2]  # every other residual is zero
    ours, plain = (m.hessian(made.X, y, w, made.loss) for m in (lp_loss, plain_loss))
    np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)


def test_the_cross_entropy_has_no_curvature_of_one_output():
    made = case("cross-entropy")
    with pytest.raises(ValueError, match="cross-entropy"):
        losses.curvature(made.loss, made.Y, made.Y)


# Runs -------------------------------------------------------------------------------------------


def run(way, made, steps=3):
    with Single(way, *made, PLAIN) as loop:
        assert_same_run(Plain, loop, made, PLAIN, steps)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, np.float64) for name in ALONE] + [("logcosh", np.float32), ("logistic", np.float32)],
)
def test_every_run(way, name, dtype):
    """In float32 one of a residual and one of a margin: the passes of all are above."""
    run(way, case(name, k=1, hidden=(4,), dtype=dtype))


@pytest.mark.parametrize("name", ["logcosh", *MARGIN_KINDS])
def test_every_run_with_rows_outside_the_registers(on_the_chip, name):
    """Rows that pad the last batch add nothing."""
    run(on_the_chip, case(name, n=170, d=5, k=1), 2)


@pytest.mark.parametrize("name", [name for name in ALONE if name in SEVERAL])
def test_several_outputs_on_the_chip(name):
    run(Way("3 blocks"), case(name, k=4))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("huber", np.float64), ("cross-entropy", np.float32), ("cross-entropy", np.float64)],
)
def test_wide_runs(name, dtype):
    """Their passes are those by blocks, see above."""
    run(Way("wide"), case(name, n=9, d=5, k=3, hidden=(4,), dtype=dtype), 2)


@pytest.mark.parametrize(
    ("name", "k", "dtype"),
    [
        ("cross-entropy", 3, np.float32),
        ("cross-entropy", 20, np.float64),
        ("huber", 20, np.float64),
    ],
)
def test_runs_by_products(streaming, name, k, dtype):
    run(streaming, case(name, k=k, hidden=(4,), dtype=dtype), 2)


def test_a_run_of_the_cross_entropy_is_never_on_the_chip(processors):
    processors(132)
    made = case("cross-entropy", k=2)
    spec = ModelSpec(made.widths, made.params, PLAIN)
    loop = cuda_loop.TrainingLoop(made.X, made.Y, made.loss, [spec])
    assert loop.engine == "streaming"
    with pytest.raises(ValueError, match="blocks must be able to hold the data, got 2"):
        cuda_loop.TrainingLoop(made.X, made.Y, made.loss, [spec], blocks=2)
    logistic = Problem(made.X, made.Y[:, :1] * 2 - 1, KINDS["logistic"], (9, 1), made.params[:9])
    one = ModelSpec(logistic.widths, logistic.params, PLAIN)
    assert cuda_loop.TrainingLoop(logistic.X, logistic.Y, logistic.loss, [one]).engine == "resident"


def test_a_wide_network_with_the_cross_entropy_has_many_blocks(processors):
    processors(132)
    made = case("cross-entropy", d=100, k=100, hidden=(100, 100), n=30)
    models = cuda_loop.Models([ModelSpec(made.widths, made.params, PLAIN)], made.X.dtype)
    assert launch.wide_route(pack(made.X, made.Y), made.loss, models) == (True, "blocks")
    assert jit.attribute("MultiProcessorCount") == 132


@pytest.mark.parametrize("name", ["huber", "logistic", "cross-entropy"])
def test_a_run_that_diverges_says_so(streaming, name):
    made = case(name)
    params = made.params.copy()
    params[0] = np.nan
    with Single(streaming, *made._replace(params=params), PLAIN) as loop:
        assert loop.advance(3) == DIVERGED
