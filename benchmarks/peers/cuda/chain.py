"""A step with one output as matrix times vector throughout, in place; one for all libraries."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

#: Steps that a graph or a compiled loop makes at once; the rest of a run is made of shorter ones.
LENGTHS = (100, 10, 1)


class Operations(Protocol):
    """What a library does on its arrays."""

    def empty(self, size: int) -> Any:
        """Return a vector of the data's dtype."""

    def product(
        self, A: Any, x: Any, out: Any, *, transposed: bool, scale: float = 1.0, keep: float = 0.0
    ) -> None:
        """``out = keep out + scale A x``, or with A' in the place of A."""

    def residual_power(self, X: Any, y: Any, w: Any) -> Any:
        """``r |r| ** (p - 2)`` with r = X w - y, in a buffer of its own."""

    def add_outer(self, x: Any, y: Any, A: Any) -> None:
        """``A += x y'``."""

    def add(self, x: Any, out: Any) -> None:
        """``out += x``."""


def chain_step(
    do: Operations, X: Any, y: Any, factors: list[Any], scale: float
) -> Callable[[], None]:
    """A step of the factors, in place, on X (n, d) and y (n,); `scale` is p times the rate by n."""
    last, depth = factors[-1][0], len(factors)
    # S_(N-1) is W_N itself, T_1 = -scale times the gradient: see `factor_gradients`.
    suffixes = [*(do.empty(factor.shape[1]) for factor in factors[:-1]), last]
    prefixes = [do.empty(factor.shape[1]) for factor in factors]

    def step() -> None:
        for j in range(depth - 2, -1, -1):
            do.product(factors[j], suffixes[j + 1], suffixes[j], transposed=True)
        power = do.residual_power(X, y, suffixes[0])
        if depth == 1:
            do.product(X, power, last, transposed=True, scale=-scale, keep=1.0)
            return
        do.product(X, power, prefixes[0], transposed=True, scale=-scale)
        for j, factor in enumerate(factors[:-1]):
            do.product(factor, prefixes[j], prefixes[j + 1], transposed=False)
            do.add_outer(suffixes[j + 1], prefixes[j], factor)
        do.add(prefixes[-1], last)

    return step


def pieces(steps: int) -> Iterator[int]:
    """The lengths, longest first, that add up to so many steps."""
    for length in LENGTHS:
        count, steps = divmod(steps, length)
        yield from (length for _ in range(count))
