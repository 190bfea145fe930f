"""What every contender is given and gives back, and the algebra that the forms share."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Gap(Exception):
    """A contender that cannot run here; the message is the reason, for the table."""


@dataclass(frozen=True)
class Descent:
    """Full-batch gradient descent: X (n, d), Y (n, k), flat `params` of the given `widths`."""

    X: np.ndarray
    Y: np.ndarray
    p: float
    widths: tuple[int, ...]
    params: np.ndarray
    learning_rate: float
    gram: bool = False
    threads: int = 2

    @property
    def depth(self) -> int:
        """N, the number of factors."""
        return len(self.widths) - 1

    @property
    def outputs(self) -> int:
        """The number k of outputs."""
        return self.widths[-1]

    def factors(self, params: np.ndarray) -> list[np.ndarray]:
        """W_1 to W_N as views into `params`."""
        views, start = [], 0
        for rows, columns in zip(self.widths[1:], self.widths[:-1], strict=True):
            views.append(params[start : start + rows * columns].reshape(rows, columns))
            start += rows * columns
        return views


class Run(NamedTuple):
    """A run under way: ``advance(steps)`` blocks until they are done, ``params()`` is a copy."""

    advance: Callable[[int], None]
    params: Callable[[], np.ndarray]


def require(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Gap(f"{module} is not installed")


def flat(factors: list[np.ndarray]) -> np.ndarray:
    """The factors as one vector, in the layout of `Descent.params`."""
    return np.concatenate([factor.ravel() for factor in factors])


# `abs`, `*` and `@` mean the same in all three libraries: one algebra for all of them.


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
        gradients.append(suffix.T * prefix if len(G) == 1 else suffix.T @ prefix)
        prefix = prefix @ factor.T
    return [*gradients, prefix]


def scaled_gram(run: Descent) -> tuple[np.ndarray, np.ndarray]:
    """X'X and Y'X, both times learning_rate 2 / n, so that a step is ``W -= W XX - YX``."""
    if run.p != 2 or run.depth != 1:
        raise ValueError("the Gram form of a peer is written for p = 2 and depth 1")
    scale = run.learning_rate * 2 / len(run.X)
    return scale * (run.X.T @ run.X), scale * (run.Y.T @ run.X)
