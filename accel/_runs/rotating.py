"""The loop of a run: in the coordinates of the data, or in rotated ones, or some models in each.

Products of matrices and the two forms of diagonal networks have loops of their own, too.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from accel._core.base import BaseProblem
from accel._core.problem import local_problem
from accel._core.rotated import EXPORTED, Rotated
from accel._runs.checkpoints import digest
from accel._runs.methods import ROTATED, form_of, rotated_width
from accel._runs.parts import Part, Parts
from accel._support.arrays import Array, aligned_empty
from accel._support.backends import Backend, cpu_threads
from accel.kernels.protocols import TrainingLoop
from accel.kernels.reference.rotation import block_rows, outside
from accel.kernels.specs import Batches, Loss, ModelSpec

__all__ = ["begin", "needs_of", "rotation_alone"]

#: Of the arrays of a rotation in a checkpoint, beside those of ``Rotated``: see ``_Starts``.
_OUTSIDE, _RANKS = "outside", "ranks"


class _Starts:
    """What the first factors of models have outside of the row space of the data.

    Parameters
    ----------
    basis : (d, q) array
        Of the row space.
    models : sequence of ModelSpec
    saved : mapping, optional
        What ``export`` returned in the run that goes on here.
    """

    def __init__(
        self, basis: Array, models: Sequence[ModelSpec], saved: Mapping[str, Array] | None
    ) -> None:
        names = _names(models)
        firsts = {name: _first(model) for name, model in zip(names, models, strict=True)}
        if saved is None:
            parts = [outside(basis, W) for W in firsts.values()]
        else:
            parts = _split(saved[_OUTSIDE], saved[_RANKS], len(basis), list(firsts.values()))
        by_name = dict(zip(firsts, parts, strict=True))
        self.of_model = [by_name[name] for name in names]
        self._distinct = parts

    def export(self) -> dict[str, Array]:
        """Return the columns of all distinct starts side by side, and how many each has."""
        ranks = np.array([part.shape[1] for part in self._distinct], np.int64)
        return {_OUTSIDE: np.concatenate(self._distinct, axis=1), _RANKS: ranks}


def _split(columns: Array, ranks: Array, d: int, firsts: Sequence[Array]) -> list[Array]:
    """Take apart what ``_Starts.export`` joined."""
    fits = (
        ranks.shape == (len(firsts),)
        and ranks.dtype == np.int64
        and all(0 <= rank <= len(W) for rank, W in zip(ranks, firsts, strict=True))
        and columns.shape == (d, ranks.sum())
        and columns.dtype == np.float64
    )
    if not fits:
        raise ValueError("its rotation is not that of these networks")
    return np.split(columns, np.cumsum(ranks)[:-1], axis=1)


def _first(model: ModelSpec) -> Array:
    """The first factor (n_1, d) of a model at the start."""
    d, rows = model.widths[:2]
    first: Array = model.params[: rows * d].reshape(rows, d)
    return first


def _names(models: Sequence[ModelSpec]) -> list[str]:
    """A name of the first factor of every model: those of one name are equal."""
    keys = [(id(model.params), model.widths) for model in models]
    distinct = dict(zip(keys, models, strict=True))  # the models of a search share a start
    names = {key: digest(_first(model)) for key, model in distinct.items()}
    return [names[key] for key in keys]


def _turned(model: ModelSpec, basis: Array, beside: Array, width: int) -> ModelSpec:
    """The model in rotated coordinates, so many of them, padded by zeros."""
    first = _first(model)
    turned = np.zeros((len(first), width))
    q, r = basis.shape[1], beside.shape[1]
    turned[:, :q], turned[:, q : q + r] = first @ basis, first @ beside
    params = np.concatenate([turned.ravel(), model.params[first.size :]]).astype(first.dtype)
    return model._replace(widths=(width, *model.widths[1:]), params=params)


def _back(
    model: ModelSpec, basis: Array, beside: Array, width: int, params: Array, moved: bool
) -> Array:
    """The factors of a model in the coordinates of its network; as given if it has not moved."""
    if not moved:
        return model.params.copy()
    rows, (q, r) = model.widths[1], (basis.shape[1], beside.shape[1])
    turned = params[: rows * width].reshape(rows, width).astype(np.float64, copy=False)
    flat = np.empty(params.size + rows * (len(basis) - width), params.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # a run may diverge: that is a status
        first = turned[:, :q] @ basis.T
        if r:
            first += turned[:, q : q + r] @ beside.T
        flat[: first.size] = first.ravel()
    flat[first.size :] = params[rows * width :]
    return flat


def _padded(a: Array, shape: tuple[int, ...]) -> Array:
    """The array with zeros at the end of its axes; itself if there is nothing to add."""
    if a.shape == shape:
        return a
    padded = aligned_empty(shape, a.dtype)
    padded[...] = 0
    padded[tuple(map(slice, a.shape))] = a
    return padded


def _rotated_loop(
    problem: BaseProblem,
    kernels: Backend,
    data: Rotated,
    models: Sequence[ModelSpec],
    width: int,
    threads: int,
) -> TrainingLoop:
    """The loop of models that have been turned, with so many coordinates."""
    X, Y, loss = data.X, data.Y, problem.spec
    if data.method == "spectral":
        # The kernels divide by the number of coordinates, and the loss is a mean over samples.
        loss = Loss(2.0, problem.factor * width / problem.n, "diagonal", data.rest)
        X, Y = _padded(X, (width,)), _padded(Y, (width, problem.k))
    else:
        X = _padded(X, (len(X), width))
    return kernels.loop.TrainingLoop(X, Y, loss, models, threads=threads)


def rotation_alone(
    arrays: Mapping[str, Array], models: Sequence[ModelSpec], methods: Sequence[str], m: int
) -> dict[str, Array]:
    """Return one model's part of the rotation of a run, of which these are the arrays.

    Parameters
    ----------
    arrays : mapping of str to array
    models : sequence of ModelSpec
        As they began.
    methods : sequence of str
    m : int
    """
    if methods[m] not in ROTATED:
        return {}
    rotated = [i for i, method in enumerate(methods) if method in ROTATED]
    names = _names([models[i] for i in rotated])
    place = list(dict.fromkeys(names)).index(names[rotated.index(m)])
    parts = np.split(arrays[_OUTSIDE], np.cumsum(arrays[_RANKS])[:-1], axis=1)
    shared = {name: arrays[name] for name in EXPORTED if name in arrays}
    ranks = arrays[_RANKS][place : place + 1]
    return shared | {_OUTSIDE: np.ascontiguousarray(parts[place]), _RANKS: ranks}


def _without_spare(loop: TrainingLoop, chosen: Sequence[int]) -> None:
    """Take the models beyond those that were chosen out of the run."""
    if len(loop.active) > len(chosen):
        loop.restore(loop.snapshot(), range(len(chosen)))


def begin(
    problem: BaseProblem,
    kernels: Backend,
    methods: Sequence[str],
    models: Sequence[ModelSpec],
    threads: int | None,
    saved: Mapping[str, Array] | None = None,
    batches: Batches | None = None,
) -> tuple[TrainingLoop, dict[str, Array]]:
    """Begin a run.

    Parameters
    ----------
    problem : BaseProblem
    kernels : Backend
    methods : sequence of str
        One a model; of the rotated ones at most one.
    models : sequence of ModelSpec
    threads : int or None
    saved : mapping, optional
        The arrays of a checkpoint of the run, if it goes on from one.
    batches : Batches, optional
        The rows of each step; then no method is a rotated one.

    Returns
    -------
    loop : TrainingLoop
    rotation : dict of str to array
        What a checkpoint has to hold beside the loop's snapshot. A decomposition that is made anew
        has other bits with other BLAS threads.

    Raises
    ------
    KeyError, ValueError
        If what was saved is not of such a run.
    """
    rotated = [m for m, method in enumerate(methods) if method in ROTATED]
    forms = ["" if model.entrywise is None else model.entrywise.form for model in models]
    if not rotated and len(set(methods)) == len(set(forms)) == 1:
        return problem.loop(kernels, models, threads, methods[0], batches), {}
    places: dict[tuple[str, int, str], list[int]] = {}  # the models of each loop
    widths, rotation = {}, {}
    if rotated:
        local = local_problem(problem)
        method = methods[rotated[0]]
        if saved is None:
            data = local.rotated(method)
        else:
            data = Rotated.of(method, saved, local.host.X, local.host.Y)
        starts = _Starts(data.basis, [models[m] for m in rotated], saved)
        rotation = data.export() | starts.export()
        beside = dict(zip(rotated, starts.of_model, strict=True))
        widths = {
            m: rotated_width(problem, models[m].widths[1], beside[m].shape[1]) for m in rotated
        }
    for m, method in enumerate(methods):
        places.setdefault((method, widths.get(m, problem.d), forms[m]), []).append(m)

    def part(method: str, width: int, chosen: list[int]) -> Part:
        # Passes for one model have other bits than those for several. A sweep's model may be the
        # only one in its loop, or not: a second one, which is not in the run, makes no difference.
        spare = len(chosen) == 1 < len(models) and method != "spectral" and problem.k == 1
        listed = chosen * 2 if spare else chosen
        if method not in ROTATED:
            loop = problem.loop(kernels, [models[m] for m in listed], threads, method, batches)
            _without_spare(loop, chosen)
            return Part(loop, np.array(chosen), lambda _, params: params)
        turned = [_turned(models[m], data.basis, beside[m], width) for m in listed]
        loop = _rotated_loop(problem, kernels, data, turned, width, cpu_threads(threads))
        _without_spare(loop, chosen)

        def back(m: int, params: Array) -> Array:
            moved = bool(loop.steps[chosen.index(m)])
            return _back(models[m], data.basis, beside[m], width, params, moved)

        return Part(loop, np.array(chosen), back)

    return Parts([part(*key[:2], chosen) for key, chosen in places.items()]), rotation


def needs_of(
    problem: BaseProblem,
    kernels: Backend,
    methods: Sequence[str],
    models: Sequence[ModelSpec],
    records: float,
    threads: int,
    batches: Batches | None = None,
) -> dict[str, float]:
    """Return the bytes on this host that a run takes beside the problem's own data, by purpose."""
    needs: dict[str, float] = {}
    n, d, k = problem.n, problem.d, problem.k
    for method in dict.fromkeys(methods):
        own = [model for model, its in zip(models, methods, strict=True) if its == method]
        if method not in ROTATED:
            shape, of_data = problem.shape(form_of(method)), problem.needs(kernels, form_of(method))
            if batches is not None:
                shape = shape._replace(batch=batches.size)
                of_data = kernels.needs.data_bytes(shape)
        else:
            q = min(n, d)
            starts = dict(zip(_names(own), own, strict=True)).values()
            outer = [min(model.widths[1], d - q) for model in starts]
            width = max(rotated_width(problem, model.widths[1]) for model in own)
            own = [model._replace(widths=(width, *model.widths[1:])) for model in own]
            shape = problem.shape(form_of(method))._replace(d=width)
            if method == "spectral":
                shape = shape._replace(n=width)
            of_data = kernels.needs.data_bytes(shape)
            # The basis, what the starts have outside of it, side by side for a checkpoint, too, and
            # what decompositions take meanwhile: of X' or blocks of rows, and of one start a time.
            work, m = 2 * n * d + n * q if n < d or method == "rowspace" else 0, q + k
            work = max(work, 4 * d * max(outer))
            if method == "spectral":
                work += 2 * min(n, block_rows(m)) * m + 3 * m**2
            work += n * (d + k) if problem.on_device else 0  # the copy that is decomposed
            of_data |= {"a rotation of the data": 8.0 * (d * (q + 2 * sum(outer)) + work)}
        of_run = kernels.needs.run_bytes(shape, own, records, threads)
        for name, size in (of_data | of_run).items():
            needs[name] = needs.get(name, 0.0) + size
    return needs
