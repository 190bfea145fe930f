"""The input and the output of every contender, and the algebra that all forms share."""

import importlib.util
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Gap(Exception):
    """A contender that cannot run here; the message is the reason, for the table."""


@dataclass(frozen=True)
class Descent:
    """Full-batch gradient descent: X (n, d), Y (n, k), flat `params` of the given `widths`.

    At p = 2 ours may read X'X in the place of the data, in the form "gram", or the singular values
    of X, in the form "diagonal". The peers' forms go by their names.
    """

    X: np.ndarray
    Y: np.ndarray
    p: float
    widths: tuple[int, ...]
    params: np.ndarray
    learning_rate: float
    form: str = "direct"
    threads: int = 2

    @property
    def depth(self) -> int:
        """N, the number of factors."""
        return len(self.widths) - 1

    @property
    def outputs(self) -> int:
        """The number k of outputs."""
        return self.widths[-1]

    @property
    def multiply_adds(self) -> int:
        """Those of a step: the pass over what its form reads, and the products of the factors.

        For every factor but one these are a suffix product, a prefix product and a gradient.
        """
        layers = [rows * columns for rows, columns in itertools.pairwise(self.widths)]
        n, d = self.X.shape
        passes = {"direct": 2 * n * d, "gram": d * d, "diagonal": 2 * d}
        return self.outputs * (passes[self.form] + 3 * sum(layers[:-1]))

    def factors(self, params: np.ndarray) -> list[np.ndarray]:
        """W_1 to W_N as views into `params`; stacks of them if `params` has a row a model."""
        views, start = [], 0
        for rows, columns in zip(self.widths[1:], self.widths[:-1], strict=True):
            part = params[..., start : start + rows * columns]
            views.append(part.reshape(*params.shape[:-1], rows, columns))
            start += rows * columns
        return views


@dataclass(frozen=True)
class Sweep:
    """Models that descend side by side: same data, loss and widths.

    Its parameters are a row a model; a step of it is one step of every model.
    """

    descents: tuple[Descent, ...]

    @property
    def first(self) -> Descent:
        """What all of them have in common, and the start and rate of one."""
        return self.descents[0]

    @property
    def X(self) -> np.ndarray:
        """The data, (n, d)."""
        return self.first.X

    @property
    def threads(self) -> int:
        """Threads of every contender."""
        return self.first.threads

    @property
    def params(self) -> np.ndarray:
        """The starts, (models, parameters), a copy."""
        return np.stack([descent.params for descent in self.descents])

    @property
    def rates(self) -> np.ndarray:
        """Learning rates in the dtype of the data, (models, 1)."""
        rates = [[descent.learning_rate] for descent in self.descents]
        return np.array(rates, dtype=self.X.dtype)

    @property
    def multiply_adds(self) -> int:
        """Those of a step of all models."""
        return len(self.descents) * self.first.multiply_adds


class Stepper(NamedTuple):
    """A run under way: ``advance(steps)`` blocks until they are done, ``params()`` is a copy.

    Samples of it are `longer` times as long as those of the others; a `note` goes with its figures,
    and so does the `layout` of our own on a GPU: blocks of a team and teams.
    """

    advance: Callable[[int], None]
    params: Callable[[], np.ndarray]
    longer: int = 1
    note: str = ""
    layout: tuple[int, int] | None = None


def require(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Gap(f"{module} is not installed")


def one_line(error: BaseException) -> str:
    """What an exception says, short enough for a table."""
    return " ".join(str(error).split())[:200] or repr(error)


def flat(factors: list[np.ndarray]) -> np.ndarray:
    """The factors, or stacks of them, in the layout of `Descent.params` or `Sweep.params`."""
    return np.concatenate([factor.reshape(*factor.shape[:-2], -1) for factor in factors], axis=-1)


# `abs`, `*` and `@` mean the same in all three libraries, for matrices and for stacks of them: one
# algebra for all.


def product_power(base: Any, exponent: float) -> Any:
    """``base ** exponent`` by repeated squaring where the exponent is an integer."""
    if exponent != int(exponent):
        return base**exponent
    result, square, bits = None, base, int(exponent)
    while bits:
        if bits & 1:
            result = square if result is None else result * square
        bits >>= 1
        if bits:
            square = square * square
    return result


def absolute_power(r: Any, p: float) -> Any:
    """``|r| ** p``."""
    return product_power(r if p % 2 == 0 else abs(r), p)


def residual_power(r: Any, p: float) -> Any:
    """``r |r| ** (p - 2)``, the derivative of ``|r| ** p / p``, for p >= 2."""
    if p % 2 == 0:
        return product_power(r, p - 1)
    return r * product_power(abs(r), p - 2)


def suffix_products(factors: list[Any]) -> list[Any]:
    """S_j = W_N ... W_(j+1) for j = 0 to N - 1: S_0 is the end-to-end matrix.

    From the output side, the cheapest order as long as k is the smallest of the widths.
    """
    suffixes = [factors[-1]]
    for factor in reversed(factors[:-1]):
        suffixes.append(suffixes[-1] @ factor)
    return suffixes[::-1]


def factor_gradients(factors: list[Any], suffixes: list[Any], G: Any) -> list[Any]:
    """dL/dW_j = S_j' T_j with T_1 = G and T_(j+1) = T_j W_j'."""
    gradients, prefix = [], G
    for factor, suffix in zip(factors[:-1], suffixes[1:], strict=True):
        # An outer product by broadcasting (k = 1) costs no call of a matrix product.
        transposed = suffix.swapaxes(-1, -2)
        gradients.append(transposed * prefix if G.shape[-2] == 1 else transposed @ prefix)
        prefix = prefix @ factor.swapaxes(-1, -2)
    return [*gradients, prefix]


def scaled_gram(run: Descent) -> tuple[np.ndarray, np.ndarray]:
    """X'X and Y'X, both times learning_rate 2 / n, so that a step is ``W -= W XX - YX``."""
    if run.p != 2 or run.depth != 1:
        raise ValueError("the Gram form of a peer is written for p = 2 and depth 1")
    scale = run.learning_rate * 2 / len(run.X)
    return scale * (run.X.T @ run.X), scale * (run.Y.T @ run.X)
