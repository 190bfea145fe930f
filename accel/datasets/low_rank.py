"""Random matrices of low rank, of which some entries or linear measurements are seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._core.matrix_problems import MatrixCompletion, MatrixFactorization, checked_shape
from accel._core.matrix_sensing import MatrixSensing
from accel._support import memory, showing, validation
from accel._support.arrays import Array

__all__ = ["LowRank", "make_low_rank"]


@dataclass(frozen=True, eq=False)
class LowRank:
    """A matrix of low rank, and problems to recover it.

    Attributes
    ----------
    truth : (k, d) array
        The matrix.
    problem : MatrixCompletion or MatrixSensing
        What is seen of it, to train on.
    held_out : MatrixCompletion or MatrixFactorization or None
        For ``validation=``: of a completion the entries that are not seen, without noise, None if
        all are; of measurements all entries.
    """

    truth: Array
    problem: MatrixCompletion | MatrixSensing
    held_out: MatrixCompletion | MatrixFactorization | None

    def __repr__(self) -> str:
        held_out = None if self.held_out is None else self.held_out.n
        return showing.line(
            self, truth=self.truth.shape, problem=self.problem, held_out=held_out
        )  # fmt: skip

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the main facts."""
        unseen = "nothing" if self.held_out is None else repr(self.held_out)
        return showing.table(
            {"truth": self.truth.shape, "problem": self.problem, "held out": unseen}
        )


def make_low_rank(
    shape: tuple[int, int] = (100, 100),
    rank: int = 5,
    observed: int = 2000,
    *,
    seed: int = 0,
    noise: float = 0.0,
    measurements: int | None = None,
    dtype: Any = np.float64,
) -> LowRank:
    r"""Make the standard instance of matrix completion, or of matrix sensing.

    The matrix is :math:`U V^\top` with Gaussian U (k, r) and V (d, r), scaled so that the mean
    square of its entries is 1. With the default arguments, and with 5000 observed entries, it is
    the instance of Arora, Cohen, Hu and Luo (2019); theirs is drawn from other random numbers.

    Parameters
    ----------
    shape : (int, int)
        k rows and d columns.
    rank : int
        At most the smaller of them.
    observed : int
        Entries that are seen, drawn without replacement.
    seed : int
        The same arguments give the same bits.
    noise : float
        Standard deviation of Gaussian noise that is added to what is seen, at least 0; entries, and
        measurements on average, have mean square 1.
    measurements : int, optional
        In place of entries so many inner products with Gaussian matrices are seen, whose entries
        have variance 1/(k d); ``observed`` counts for nothing then.
    dtype : {float64, float32}
        Of the matrix and the problems, which are drawn in float64.

    Returns
    -------
    LowRank
        The problems have p = 2 and scale ``"mean"``: mean squared errors. The paper's test error,
        over all entries, is the loss of ``accel.MatrixFactorization(truth)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of bounds.
    MemoryError
        If the machine has not enough memory.

    References
    ----------
    Arora, Cohen, Hu, Luo (2019), "Implicit regularization in deep matrix factorization", arXiv
    1905.13655; https://github.com/roosephu/deep_matrix_factorization.

    Examples
    --------
    >>> from accel.datasets import make_low_rank
    >>> made = make_low_rank((30, 20), rank=2, observed=300)
    >>> made.problem.n, made.held_out.n
    (300, 300)
    """
    k, d = checked_shape(shape)
    rank = validation.integer("rank", rank, least=1, most=min(k, d))
    observed = validation.integer("observed", observed, least=1)
    seed = validation.integer("seed", seed, least=0)
    noise = validation.real("noise", noise, least=0)
    dtype = validation.float_dtype("dtype", dtype)
    if measurements is not None:
        measurements = validation.integer("measurements", measurements, least=1)
    elif observed > k * d:
        raise ValueError(f"observed must be <= {k * d}, all entries, got {observed}")
    memory.require("a matrix of low rank", 8.0 * k * d * (8 + 2 * (measurements or 0)))
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((k, rank)) @ rng.standard_normal((d, rank)).T
    truth *= np.sqrt(k * d) / np.linalg.norm(truth)
    truth = truth.astype(dtype)
    if measurements is not None:
        A = (rng.standard_normal((measurements, k, d)) / np.sqrt(k * d)).astype(dtype)
        seen = np.einsum("eij,ij->e", A, truth, dtype=np.float64)
        seen += noise * rng.standard_normal(measurements)
        return LowRank(truth, MatrixSensing(A, seen.astype(dtype)), MatrixFactorization(truth))
    chosen = np.sort(rng.choice(k * d, observed, replace=False))
    seen = truth.ravel()[chosen] + noise * rng.standard_normal(observed)
    problem = MatrixCompletion((k, d), *np.divmod(chosen, d), seen.astype(dtype))
    others = np.delete(np.arange(k * d), chosen)
    held_out = (
        MatrixCompletion((k, d), *np.divmod(others, d), truth.ravel()[others])
        if len(others)
        else None
    )
    return LowRank(truth, problem, held_out)
