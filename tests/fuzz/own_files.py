"""The files that accel writes itself: read as they were written, or refused. A case is a seed."""

import functools
import random

import numpy as np

import accel
from accel import LinearNetwork, LpProblem, Result, train

from . import mutations
from .loaders import read_or_refuse

_STEPS = 40
_OPTIMIZERS = (accel.Adam(0.05), accel.AdaDelta(), accel.GradientDescent(0.02, weight_decay=0.01))


def _model(which):
    rng = np.random.default_rng(0)
    dtype = ("f8", "f4")[which % 2]
    X, Y = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))
    problem = LpProblem(X, Y, dtype=dtype)
    if which >= 3:  # a result that knows its units
        problem = LpProblem(accel.standardize(X, Y), dtype=dtype)
    network = LinearNetwork.for_problem(problem, 2, 2, init="orthogonal", scale=0.5)
    return problem, network, _OPTIMIZERS[which % len(_OPTIMIZERS)]


@functools.cache
def _whole_run(which):
    return train(*_model(which), _STEPS, backend="cpu", threads=1, record_every=4)


def _half_run(which, path):
    path.unlink(missing_ok=True)
    stop = (which * 7) % _STEPS + 1
    train(
        *_model(which), _STEPS, backend="cpu", threads=1, record_every=4, checkpoint=path,
        callback=lambda step, loss: step >= stop,
    )  # fmt: skip


@functools.cache
def _written(kind, which, folder):
    path = folder / f"{kind}.part"
    if kind == "checkpoint":
        _half_run(which, path)
    else:
        _whole_run(which).save(path)
    content = path.read_bytes()
    path.unlink()
    return content


def _check_result(result, which):
    expected = _whole_run(which)
    np.testing.assert_array_equal(result.network.params, expected.network.params)
    for name, column in vars(expected.history).items():
        if name != "seconds":
            np.testing.assert_array_equal(getattr(result.history, name), column)
    assert (result.status, result.steps) == (expected.status, expected.steps)
    assert result.optimizer == expected.optimizer
    assert (result.scaling is None) == (expected.scaling is None) == (which < 3)
    for own, known in zip(result.coefficients(), expected.coefficients(), strict=True):
        np.testing.assert_array_equal(own, known)
    assert repr(result).partition("seconds")[0] == repr(expected).partition("seconds")[0]


def _check(kind, seed, folder, read):
    rng = random.Random(seed)
    which = rng.randrange(6)
    content, path = _written(kind, which, folder), folder / "input.npz"
    whole = rng.random() < 0.1
    path.write_bytes(content if whole else mutations.archive_damaged(rng, content))
    result = read_or_refuse(functools.partial(read, which), path)
    assert result is not None or not whole, "a whole file is refused"
    if result is not None:
        _check_result(result, which)


def check_checkpoint(seed, folder):
    """A run that resumes from a file ends as if never interrupted, or refuses the file."""

    def read(which, path):
        return train(
            *_model(which), _STEPS, backend="cpu", threads=1, record_every=4, checkpoint=path
        )

    _check("checkpoint", seed, folder, read)


def check_result(seed, folder):
    """A result is read as it was saved, or refused."""
    _check("result", seed, folder, lambda which, path: Result.load(path))
