"""What stands in for a GPU: NumPy as CuPy, with the few names that NumPy lacks."""

from types import SimpleNamespace

import numpy as np

from benchmarks.peers import Descent


class ElementwiseKernel:
    """CuPy's, for code that is an assignment after another and valid Python but for the types."""

    def __init__(self, inputs, outputs, code, name):
        self.names = [declared.split()[1] for declared in f"{inputs}, {outputs}".split(", ")]
        assert all(part.startswith("T ") for part in inputs.split(", ")), "one type for all"
        self.code = compile(code.replace("T e =", "e ="), name, "exec")

    def __call__(self, *arrays):
        values = dict(zip(self.names, arrays, strict=True), fabs=np.fabs)
        out = values[self.names[-1]]
        exec(self.code, values)
        out[...] = values[self.names[-1]]


class CupyStandIn:
    """NumPy, and what CuPy has beside that."""

    ElementwiseKernel = ElementwiseKernel

    def __getattr__(self, name):
        return getattr(np, name)


XP = CupyStandIn()


def _scalar(value, like):
    # CuPy takes a NumPy scalar of another dtype through a conversion that costs time.
    assert isinstance(value, np.ndarray)
    assert value.dtype == like.dtype
    return value


def gemv(transa, alpha, a, x, beta, y):
    y[...] = _scalar(alpha, a) * ((a.T if transa == "T" else a) @ x) + _scalar(beta, a) * y


def ger(alpha, x, y, a):
    a += _scalar(alpha, a) * np.outer(x, y)


def axpy(a, x, y):
    y += _scalar(a, x) * x


BLAS = SimpleNamespace(gemv=gemv, ger=ger, axpy=axpy)


def tiny(hidden=(), p=4.0, dtype="float64", outputs=1):
    """Gradient descent on 60 x 7."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 7)), rng.standard_normal((60, outputs))
    widths = (7, *hidden, outputs)
    size = sum(a * b for a, b in zip(widths[1:], widths[:-1], strict=True))
    params = 0.3 * rng.standard_normal(size)
    return Descent(X.astype(dtype), Y.astype(dtype), p, widths, params.astype(dtype), 1e-3)
