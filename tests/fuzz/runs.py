"""Random runs: the compiled loop against the plain one, and against itself in other ways.

Rounding grows along a run, without bound near divergence, so how far two right answers may lie
apart is measured: the plain run is repeated from data and factors that are moved by a few units in
the last place, or by many for p = 1 and pinball, whose gradients jump. Where that changes how the
run ends, or from where on it has changed the run by a part of itself, only what is exact is
checked.
"""

import contextlib
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import accel
from accel import DiagonalNetwork, LinearNetwork, MatrixCompletion, Problem, sweep, train
from accel._core.optimizers import OPTIMIZERS, by_name
from accel._runs import run
from accel._runs.saddles import unwarned
from accel.schedules import (
    CosineDecay,
    ExponentialDecay,
    InversePower,
    Join,
    Linear,
    PiecewiseInterpolate,
    Step,
)

_MOVED = 4.0  # units in the last place
_AMPLE = 1000.0  # times such a change the run is still the same
_LOST = 0.1  # of a number; where it changes by more, the run is chaotic
_TINY = float(np.finfo(np.float64).tiny)
_COLUMNS = ("loss", "gradient_norm", "weight_norm")


class Case(NamedTuple):
    """A run, in values that can be printed and pasted.

    The loss is ``data["loss"]``, or without one l_p. ``entries``: n entries of a matrix (k, d) are
    seen in place of samples. ``diagonal``: arguments of a diagonal network, which then takes the
    place of the linear one.
    """

    shape: tuple[int, int, int]
    hidden: tuple[int, ...]
    seed: int
    data: dict[str, Any]
    scales: tuple[float, float]
    init: dict[str, Any]
    optimizer: dict[str, Any]
    stops: dict[str, Any]
    steps: int
    threads: int
    others: tuple[dict[str, Any], ...]
    entries: bool = False
    diagonal: dict[str, Any] | None = None


def _floats(least, most):
    return st.floats(least, most, allow_nan=False, allow_infinity=False)


def _powers(least, most):
    """Numbers spread evenly over the orders of magnitude."""
    return _floats(least, most).map(lambda power: float(f"{10**power:.3g}"))


_CONSTANTS = {
    **dict.fromkeys(
        ("momentum", "rho", "alpha", "beta1", "beta2"),
        st.one_of(st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999]), _floats(0, 0.9999)),
    ),
    "eps": _powers(-10, -1),
    "depth": st.integers(1, 9),
    "scale": st.sampled_from(["network", "factor"]),
    "temperature": _powers(-8, 1),
    "seed": st.integers(0, 2**53),
}
_NEEDED = ("depth", "temperature")


#: Schedules that rates are multiplied by, of at most 1.
_SHAPES = st.sampled_from([
    Step(1.0, 7, 0.5),
    InversePower(1.0, 0.6, 5.0),
    Join([Linear(0.0, 1.0, 5), CosineDecay(1.0, 20, 0.1)], [5]),
    PiecewiseInterpolate([4, 11], [0.2, 1.0, 0.3], "cosine") * ExponentialDecay(1.0, 10, 0.8),
])  # fmt: skip

_ALL = sorted(OPTIMIZERS)
_WITHOUT_MATRIX = [name for name in _ALL if name != "end-to-end"]


@st.composite
def _optimizers(draw, names):
    name = draw(st.sampled_from(names))
    made: dict[str, Any] = {"name": name, "learning_rate": draw(_powers(-5, 1))}
    if draw(st.booleans()):
        made["weight_decay"] = draw(_powers(-4, 1))
    for constant in ("learning_rate", "weight_decay"):
        if constant in made and draw(st.integers(0, 3)) == 3:
            made[constant] = made[constant] * draw(_SHAPES)
    for constant in OPTIMIZERS[name].__dataclass_fields__:
        if constant in _CONSTANTS and (constant in _NEEDED or draw(st.booleans())):
            made[constant] = draw(_CONSTANTS[constant])
    return made


@st.composite
def _losses(draw, k, entries):
    """The arguments of a problem that say which loss it has, of k outputs."""
    tau = _floats(0.01, 0.99).map(lambda tau: float(f"{tau:.3g}"))
    labels = ["logistic", "exponential"] if k == 1 or entries else [f"cross-entropy({k})"]
    name = draw(st.sampled_from(["huber", "pinball", "expectile", "logcosh", *labels]))
    if name == "huber":
        name = f"huber({draw(_powers(-3, 2))})"
    elif name in ("pinball", "expectile"):
        name = f"{name}({draw(tau)})"
    return {"loss": name}


@st.composite
def cases(draw, losses=True):
    """A run of any kind; of l_p alone without ``losses``, each of which compiles a pass."""
    diagonal, entries = draw(st.sampled_from([(False, False)] * 4 + [(False, True), (True, False)]))
    large = draw(st.integers(0, 9)) == 9  # else no pass is large enough for a team of threads
    n = draw(st.integers(500, 3000) if large else st.integers(1, 60))
    d = draw(st.integers(30, 140) if large else st.integers(1, 20))
    k = 1 if diagonal else draw(st.integers(1, 20 if entries else 4))
    dtype = draw(st.sampled_from(["f8", "f4"]))
    p = draw(st.one_of(st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.0, 6.0]), _floats(1, 8)))
    names = _WITHOUT_MATRIX if diagonal else _ALL
    optimizer = draw(_optimizers(names))
    others = tuple(draw(st.lists(_optimizers(names), max_size=3)))
    loss: dict[str, Any] = {"p": p, "scale": draw(st.sampled_from(["mean", "1/p"]))}
    if losses and draw(st.booleans()):
        loss = draw(_losses(k, entries))
    power = loss.get("p")
    methods = ["auto", "direct"] + ["gram"] * (power == 2 and dtype == "f8" and not entries)
    rotates = not (diagonal or entries) and not loss.get("loss", "").startswith("cross")
    if rotates and all(OPTIMIZERS[each["name"]].rotates for each in (optimizer, *others)):
        methods += ["rowspace"] + ["spectral"] * (power == 2)
    data = {**loss, "dtype": dtype, "method": draw(st.sampled_from(methods))}
    hidden = () if optimizer["name"] == "end-to-end" else tuple(
        draw(st.lists(st.integers(1, 9), max_size=5))
    )  # fmt: skip
    inits = ["near_zero", "identity", "orthogonal"]
    inits += ["balanced"] if min(hidden, default=d) >= min(d, k) else []
    stops = {"record_every": draw(st.integers(1, 12))}
    if draw(st.booleans()):
        stops["tol"] = draw(_powers(-6, 1))
    if draw(st.booleans()):
        stops["target"] = draw(_powers(-6, 2))
    vectors = {
        "depth": draw(st.integers(1, 6)),
        "form": draw(st.sampled_from(["power-difference", "hadamard"])),
        "init": draw(st.sampled_from(["constant", "near_zero"])),
        "scale": draw(_powers(-2, 0.5)),
    } if diagonal else None  # fmt: skip
    return Case(
        (n, d, k), hidden, draw(st.integers(0, 2**32 - 1)), data,
        (draw(_powers(-3, 3)), draw(_powers(-3, 3))),
        {"init": draw(st.sampled_from(inits)), "scale": draw(_powers(-3, 0.5))},
        optimizer, stops, draw(st.integers(1, 30)), draw(st.integers(1, 3)),
        others, entries, vectors,
    )  # fmt: skip


def _data(case):
    """X and Y; for entries the places (n, 2) and values (n, 1), for labels the labels."""
    rng = np.random.default_rng(case.seed)
    (n, d, k), (scale_x, scale_y) = case.shape, case.scales
    X = rng.standard_normal((n, d))
    Y = X @ rng.standard_normal((d, k)) + 0.1 * rng.standard_normal((n, k))
    X, Y = X * scale_x, Y * scale_y
    if case.entries:
        X, Y = rng.integers(0, (k, d), (n, 2)), Y[:, :1]
    kind = case.data.get("loss", "").partition("(")[0]
    if kind == "cross-entropy":
        Y = np.eye(k)[Y.argmax(axis=1)]
    elif kind in ("logistic", "exponential"):
        Y = np.where(Y > 0, 1.0, -1.0)
    return X, Y


def _problem(case, X, Y, **different):
    settings = {**case.data, **different}
    dtype = settings.pop("dtype")
    loss = settings.pop("loss", None)
    if loss is None:
        loss = accel.losses.Lp(settings.pop("p"), settings.pop("scale"))
    Y = Y.astype(dtype)
    if case.entries:
        (_, d, k), (rows, columns) = case.shape, X.T
        return MatrixCompletion((k, d), rows, columns, Y[:, 0], loss, **settings)
    return Problem(X.astype(dtype), Y, loss, **settings)


def _network(case, hidden, problem, depth=0):
    """A start; that of a diagonal network has so many factors more."""
    if case.diagonal is not None:
        options = {**case.diagonal, "depth": case.diagonal["depth"] + depth}
        return DiagonalNetwork(problem.d, seed=case.seed, dtype=problem.dtype, **options)
    widths = (problem.d, *hidden, problem.k)
    init = dict(case.init)
    if init["init"] == "balanced" and min(hidden, default=problem.d) < min(problem.d, problem.k):
        init["init"] = "orthogonal"
    return LinearNetwork(widths, seed=case.seed, dtype=problem.dtype, **init)


def _moved(rng, array, units):
    if array.dtype.kind != "f":  # places of entries
        return array
    eps = np.finfo(array.dtype).eps
    return array * (1 + units * eps * rng.uniform(-1, 1, array.shape)).astype(array.dtype)


def _moved_data(rng, problem, units):
    """X and Y of a problem, or places and values, all but labels moved."""
    X, Y = (
        (problem.places, problem.values)
        if isinstance(problem, MatrixCompletion)
        else (problem.X, problem.Y)
    )
    return _moved(rng, X, units), Y if problem.loss_function.classifies else _moved(rng, Y, units)


@contextlib.contextmanager
def _chunks_of_one_step():
    before = run._CHUNK_SECONDS
    run._CHUNK_SECONDS = 1e-9
    try:
        yield
    finally:
        run._CHUNK_SECONDS = before


def check(case, folder):
    """Compare one run with the plain kernels and with itself, unless it is refused."""
    try:
        with unwarned():  # small factors are drawn on purpose
            _check(case, folder)
    except ValueError as error:
        if "has not the digits" not in str(error):
            raise


def _check(case, folder):
    problem = _problem(case, *_data(case))
    network, optimizer = _network(case, case.hidden, problem), by_name(**case.optimizer)
    how = {**case.stops, "backend": "cpu", "threads": case.threads}
    ours = train(problem, network, optimizer, case.steps, **how)
    # The same result whatever else is recorded; other tests are about the choice of the method.
    problem = _problem(case, *_data(case), method=ours.method)
    _check_whole(ours, case)
    _check_against_plain(ours, case, problem, network, optimizer)
    _check_ending(ours, problem, network, optimizer, how, case)
    _check_interrupted(ours, problem, network, optimizer, how, case, folder / "run.npz")
    _check_sweep(ours, case, problem, network, optimizer, how)


def _check_whole(result, case):
    history = result.history
    assert np.isfinite(result.network.params).all()
    assert history.step[-1] == result.steps <= case.steps
    assert (np.diff(history.step) > 0).all()
    finite = [np.isfinite(getattr(history, name)).all() for name in _COLUMNS]
    assert all(finite) or result.diverged_at == 0
    assert (result.diverged_at is None) == (result.status != "diverged")
    if result.diverged_at is not None:
        assert result.steps == max(result.diverged_at - 1, 0)


def _check_against_plain(ours, case, problem, network, optimizer):
    def plain(problem, network):
        return train(problem, network, optimizer, case.steps, backend="reference", **case.stops)

    theirs, rng = plain(problem, network), np.random.default_rng(case.seed)
    units = _MOVED if problem.loss_function.smoothness else _AMPLE
    near = [
        plain(
            _problem(case, *_moved_data(rng, problem, units), method=problem.method),
            network.with_params(_moved(rng, network.params, units)),
        )
        for _ in range(3)
    ]
    ends = [(result.status, result.steps) for result in (theirs, *near)]
    if len(set(ends)) > 1:
        return
    largest = np.finfo(problem.dtype).max
    if np.abs(ours.network.params).max() > largest / _AMPLE:  # a step may overflow or not
        return
    if (ours.status, ours.steps) != ends[0] and _chaotic(theirs, near):
        return
    assert (ours.status, ours.steps) == ends[0]
    np.testing.assert_array_equal(ours.history.step, theirs.history.step)
    if ours.diverged_at == 0:
        return
    eps = float(np.finfo(problem.dtype).eps)
    for name in _COLUMNS:
        columns = [getattr(result.history, name) for result in (ours, theirs, *near)]
        _assert_near(name, columns, eps)
    params = [result.network.params.astype(float) for result in (ours, theirs, *near)]
    _assert_near("params", params, eps)


def _chaotic(theirs, near):
    """Whether runs that end alike have losses at their ends that the change has made others."""
    last, *others = (result.history.loss[-1] for result in (theirs, *near))
    return max(abs(other - last) for other in others) > _LOST * abs(last)


def _assert_near(name, values, eps):
    """Compare the first with the second, by how far the others are from that."""
    ours, theirs, *near = values
    with np.errstate(over="ignore", invalid="ignore"):
        apart, moves = abs(ours - theirs), np.max([abs(other - theirs) for other in near], axis=0)
        if name == "params":  # an error in one factor reaches all of them at the next step
            moves, size = np.max(moves), np.max(abs(theirs))
        else:  # diverging values may come near each other for a moment
            moves = abs(theirs) * np.maximum.accumulate(moves / (abs(theirs) + _TINY))
            size = np.maximum.accumulate(abs(theirs))  # factors of that size may cancel now
        lost = np.maximum.accumulate(np.atleast_1d(moves > _LOST * size))
        allowed = np.where(lost, np.inf, _AMPLE * (moves + eps * size) + _TINY)
        excess = apart / allowed
    worst = int(np.argmax(excess))
    assert not (apart > allowed).any(), (
        f"{name}[{worst}] is {ours[worst]!r}, not {theirs[worst]!r}: {excess[worst]:.3g} times "
        "further than allowed"
    )


def _assert_same(ours, theirs):
    ends = [(result.status, result.steps, result.diverged_at) for result in (ours, theirs)]
    assert ends[0] == ends[1]
    np.testing.assert_array_equal(ours.network.params, theirs.network.params)
    for name in ("step", *_COLUMNS):
        np.testing.assert_array_equal(getattr(ours.history, name), getattr(theirs.history, name))


def _check_ending(ours, problem, network, optimizer, how, case):
    """A run of as many steps ends at the same iterate; a diverged run cannot make one more."""
    if ours.steps:
        exact = {**how, "tol": 0.0, "target": None}
        again = train(problem, network, optimizer, ours.steps, **exact)
        np.testing.assert_array_equal(again.network.params, ours.network.params)
        if ours.status == "diverged":
            assert again.status == "completed"
    if ours.status == "diverged" and ours.diverged_at:
        one_more = train(problem, network, optimizer, ours.diverged_at, **how)
        _assert_same(one_more, ours)


def _check_interrupted(ours, problem, network, optimizer, how, case, path):
    """A run in single steps, stopped and resumed, has the same bits."""
    path.unlink(missing_ok=True)
    half = case.seed % case.steps + 1
    with _chunks_of_one_step():
        part = train(
            problem, network, optimizer, case.steps, checkpoint=path,
            callback=lambda step, loss: step >= half, **how,
        )  # fmt: skip
    assert part.status in ("interrupted", ours.status)
    _assert_same(train(problem, network, optimizer, case.steps, checkpoint=path, **how), ours)


def _check_sweep(ours, case, problem, network, optimizer, how):
    """A model has the same bits in any sweep of several; alone as well, or with several outputs.

    And alone, too, where entries of a matrix are seen.
    """
    alone = problem.k > 1 or case.entries
    models = [(network, optimizer)]
    for constants in case.others:
        other = by_name(**constants)
        hidden = () if isinstance(other, accel.EndToEnd) else case.hidden[::-1]
        models.append((_network(case, hidden, problem, len(models)), other))
    place = case.seed % len(models)
    models = [*models[1 : place + 1], models[0], *models[place + 1 :]]
    together = sweep(problem, models, case.steps, **how)
    if len(models) == 1 or alone:
        _assert_same(together[place], ours)
    if len(models) > 1:
        pair = (place + 1) % len(models), place
        two = sweep(problem, [models[m] for m in pair], case.steps, **how)
        for m, result in zip(pair, two, strict=True):
            _assert_same(together[m], result)
        if alone:
            other = pair[0]
            _assert_same(together[other], train(problem, *models[other], case.steps, **how))
