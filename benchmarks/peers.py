"""The same gradient descent in every library, each in the forms its users would write.

Every contender minimises ``mean |W_N ... W_1 x - y|^p`` from the same flat parameters and returns a
`Run`, whose ``advance(steps)`` does whole steps: what is timed is a step inside a long run. There
are three forms:

layerwise
    the data goes through the layers one by one and automatic differentiation comes back;
factors first
    the factors are multiplied to the end-to-end matrix, the data is met twice, the rest is
    automatic differentiation;
by hand
    two products with the data, then every factor's gradient from prefix and suffix products: this
    package's own collapse of a step, in the peer's operations.

Powers are products wherever p is an integer, buffers are preallocated where the library allows it,
and no peer computes the loss itself. All of that is in the peers' favour.
"""

import functools
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
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


# ----------------------------------------------------------------------------------------------
# What the forms share. `abs`, `*` and `@` mean the same in all three libraries.


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


def require(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Gap(f"{module} is not installed")


# ----------------------------------------------------------------------------------------------
# This package


def ours(run: Descent) -> Run:
    from accel.kernels import specs
    from accel.kernels.cpu.loop import TrainingLoop

    rule = specs.Rule(specs.GRADIENT_DESCENT, (run.learning_rate, 0.0, 0.0, 0.0, 0.0))
    loss = specs.Loss(run.p, 1.0, run.gram)
    loop = TrainingLoop(run.X, run.Y, loss, run.widths, run.params, rule, threads=run.threads)

    def advance(steps: int) -> None:
        status = loop.advance(steps)
        if status != specs.RUNNING:
            raise RuntimeError(f"the run stopped at step {loop.step} with status {status}")

    return Run(advance, lambda: loop.params)


def ours_depth_1(run: Descent) -> Run:
    """The same data at depth 1, from the same end-to-end matrix: what a deep step is held to."""
    start = suffix_products(run.factors(run.params))[0].ravel()
    return ours(
        replace(run, widths=(run.widths[0], run.outputs), params=np.ascontiguousarray(start))
    )


# ----------------------------------------------------------------------------------------------
# NumPy


def numpy_by_hand(run: Descent, threads: int | None = None) -> Run:
    require("threadpoolctl")
    import threadpoolctl

    n, k, p = len(run.X), run.outputs, run.p
    pools = threadpoolctl.ThreadpoolController()
    limit = threads or run.threads
    params = run.params.copy()
    gradient = np.empty_like(params)
    factors, gradients = run.factors(params), run.factors(gradient)
    # S_(N-1) is W_N itself, T_N the gradient of W_N itself: neither needs a buffer.
    suffixes = [np.empty((k, width), params.dtype) for width in run.widths[:-2]] + [factors[-1]]
    prefixes = [np.empty((k, width), params.dtype) for width in run.widths[:-2]] + [gradients[-1]]
    W, G = suffixes[0], prefixes[0]
    # One output: matrix times vector, half the cost of the same through a matrix product.
    X, w, g = run.X, (W[0] if k == 1 else W.T), (G[0] if k == 1 else G)
    y = np.ascontiguousarray(run.Y[:, 0] if k == 1 else run.Y)
    r, power = np.empty_like(y), np.empty_like(y)
    scale = params.dtype.type(run.learning_rate * p / n)

    def step() -> None:
        for j in range(run.depth - 2, -1, -1):
            np.dot(suffixes[j + 1], factors[j], out=suffixes[j])
        np.dot(X, w, out=r)
        np.subtract(r, y, out=r)
        np.dot(_residual_power_into(power, r, p).T, X, out=g)
        np.multiply(G, scale, out=G)
        for j in range(run.depth - 1):
            np.dot(prefixes[j], factors[j].T, out=prefixes[j + 1])
            if k == 1:
                np.multiply(suffixes[j + 1].T, prefixes[j], out=gradients[j])
            else:
                np.dot(suffixes[j + 1].T, prefixes[j], out=gradients[j])
        np.subtract(params, gradient, out=params)

    def advance(steps: int) -> None:
        with pools.limit(limits=limit, user_api="blas"):
            for _ in range(steps):
                step()

    return Run(advance, params.copy)


def _residual_power_into(out: np.ndarray, r: np.ndarray, p: float) -> np.ndarray:
    """`residual_power` without a temporary; at p = 2 it is `r` itself."""
    if p == 2:
        return r
    if p % 2 == 0:
        np.multiply(r, r, out=out)
        for _ in range(int(p) - 3):
            np.multiply(out, r, out=out)
        return out
    np.abs(r, out=out)
    if p != 3:
        np.power(out, p - 2, out=out)
    return np.multiply(out, r, out=out)


def numpy_gram(run: Descent) -> Run:
    """Depth 1 and p = 2 through X'X and Y'X: d^2 a step, whatever n is."""
    require("threadpoolctl")
    import threadpoolctl

    # d x d: a second thread costs more than it brings.
    pools = threadpoolctl.ThreadpoolController()
    XX, YX = _gram(run)
    W = run.params.copy().reshape(run.outputs, -1)
    G = np.empty_like(W)

    def advance(steps: int) -> None:
        with pools.limit(limits=1, user_api="blas"):
            for _ in range(steps):
                np.dot(W, XX, out=G)
                np.subtract(G, YX, out=G)
                np.subtract(W, G, out=W)

    return Run(advance, lambda: W.ravel().copy())


def _gram(run: Descent) -> tuple[np.ndarray, np.ndarray]:
    """X'X and Y'X, both times learning_rate 2 / n, so that a step is ``W -= W XX - YX``."""
    if run.p != 2 or run.depth != 1:
        raise ValueError("the Gram form of a peer is written for p = 2 and depth 1")
    scale = run.learning_rate * 2 / len(run.X)
    return scale * (run.X.T @ run.X), scale * (run.Y.T @ run.X)


# ----------------------------------------------------------------------------------------------
# PyTorch


def torch_layerwise(run: Descent) -> Run:
    """A Sequential of Linear layers, autograd and torch.optim.SGD: what users write."""
    require("torch")
    import torch

    X, Y = torch.from_numpy(run.X), torch.from_numpy(run.Y)
    layers = [
        torch.nn.Linear(columns, rows, bias=False, dtype=X.dtype)
        for rows, columns in zip(run.widths[1:], run.widths[:-1], strict=True)
    ]
    with torch.no_grad():
        for layer, factor in zip(layers, run.factors(run.params), strict=True):
            layer.weight.copy_(torch.from_numpy(factor))
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=run.learning_rate)

    def step() -> None:
        loss = absolute_power(model(X) - Y, run.p).sum() / len(X)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _torch_run(run, step, lambda: [layer.weight for layer in layers])


def torch_factors_first(run: Descent) -> Run:
    require("torch")
    import torch

    X, Y, factors = _torch_tensors(run)
    for factor in factors:
        factor.requires_grad_()

    def step() -> None:
        W = suffix_products(factors)[0]
        r = (X.mv(W[0]) if Y.dim() == 1 else X @ W.T) - Y
        loss = absolute_power(r, run.p).sum() / len(X)
        gradients = torch.autograd.grad(loss, factors)
        with torch.no_grad():
            for factor, gradient in zip(factors, gradients, strict=True):
                factor.sub_(gradient, alpha=run.learning_rate)

    return _torch_run(run, step, lambda: factors)


def torch_by_hand(run: Descent) -> Run:
    require("torch")
    import torch

    X, Y, factors = _torch_tensors(run)
    single = Y.dim() == 1
    r = torch.empty_like(Y)
    scale = run.learning_rate * run.p / len(X)

    def step() -> None:
        suffixes = suffix_products(factors)
        if single:
            torch.addmv(Y, X, suffixes[0][0], beta=-1, out=r)
            G = X.T.mv(residual_power(r, run.p))[None]
        else:
            torch.addmm(Y, X, suffixes[0].T, beta=-1, out=r)
            G = residual_power(r, run.p).T @ X
        gradients = factor_gradients(factors, suffixes, G)
        for factor, gradient in zip(factors, gradients, strict=True):
            factor.sub_(gradient, alpha=scale)

    return _torch_run(run, torch.no_grad()(step), lambda: factors)


def torch_compiled(run: Descent) -> Run:
    """The step by hand through torch.compile, several steps to a call of the compiled code."""
    require("torch")
    import torch

    unrolled = 5
    X, Y, factors = _torch_tensors(run)
    scale = run.learning_rate * run.p / len(X)

    def one(X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        suffixes = suffix_products(factors)
        if Y.dim() == 1:
            r = X.mv(suffixes[0][0]) - Y
            G = X.T.mv(residual_power(r, run.p))[None]
        else:
            r = X @ suffixes[0].T - Y
            G = residual_power(r, run.p).T @ X
        gradients = factor_gradients(factors, suffixes, G)
        return [f - scale * g for f, g in zip(factors, gradients, strict=True)]

    def several(X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        for _ in range(unrolled):
            factors = one(X, Y, factors)
        return factors

    torch.set_num_threads(run.threads)  # the compiler writes it into its code
    compiled = torch.compile(several, fullgraph=True, dynamic=False)
    state = factors

    def advance(steps: int) -> None:
        nonlocal state
        torch.set_num_threads(run.threads)
        with torch.no_grad():
            for _ in range(steps // unrolled):
                state = compiled(X, Y, state)
            for _ in range(steps % unrolled):
                state = one(X, Y, state)

    try:
        # Deprecations inside the compiler are not ours; under pytest they would be errors.
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            compiled(X, Y, factors)
    except Exception as error:  # every failure of the compiler is the same gap to us
        reason = " ".join(str(error).split())[:200] or repr(error)
        raise Gap(f"torch.compile fails here: {reason}") from error
    return Run(advance, lambda: _flat([tensor.numpy() for tensor in state]))


def _torch_tensors(run: Descent) -> tuple[Any, Any, list[Any]]:
    import torch

    Y = np.ascontiguousarray(run.Y[:, 0]) if run.outputs == 1 else run.Y
    factors = [torch.from_numpy(factor.copy()) for factor in run.factors(run.params)]
    return torch.from_numpy(run.X), torch.from_numpy(Y), factors


def _torch_run(run: Descent, step: Callable[[], None], factors: Callable[[], list[Any]]) -> Run:
    import torch

    def advance(steps: int) -> None:
        torch.set_num_threads(run.threads)
        for _ in range(steps):
            step()

    return Run(advance, lambda: _flat([factor.detach().numpy() for factor in factors()]))


# ----------------------------------------------------------------------------------------------
# JAX. Its thread pool has one thread for each CPU that the process may use: `python -m benchmarks`
# pins the process, since JAX offers no other way.


def jax_layerwise(run: Descent) -> Run:
    def gradients(jax: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        def loss(factors: list[Any]) -> Any:
            hidden = X
            for factor in factors[:-1]:
                hidden = hidden @ factor.T
            last = factors[-1]
            r = (hidden @ last[0] if Y.ndim == 1 else hidden @ last.T) - Y
            return absolute_power(r, run.p).sum() / len(X)

        return jax.grad(loss)(factors)

    return _jax_run(run, gradients)


def jax_factors_first(run: Descent) -> Run:
    def gradients(jax: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        def loss(factors: list[Any]) -> Any:
            W = suffix_products(factors)[0]
            r = (X @ W[0] if Y.ndim == 1 else X @ W.T) - Y
            return absolute_power(r, run.p).sum() / len(X)

        return jax.grad(loss)(factors)

    return _jax_run(run, gradients)


def jax_by_hand(run: Descent) -> Run:
    def gradients(_: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        suffixes = suffix_products(factors)
        W = suffixes[0]
        r = (X @ W[0] if Y.ndim == 1 else X @ W.T) - Y
        power = residual_power(r, run.p)
        G = ((power @ X)[None] if Y.ndim == 1 else power.T @ X) * (run.p / len(X))
        return factor_gradients(factors, suffixes, G)

    return _jax_run(run, gradients)


def jax_gram(run: Descent) -> Run:
    XX, YX = _gram(run)

    def gradients(jax: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        # `_gram` has the learning rate in it already.
        return [(factors[0] @ X - Y) / run.learning_rate]

    return _jax_run(replace(run, X=XX, Y=YX), gradients, flatten=False)


def _jax_run(run: Descent, gradients: Callable[..., list[Any]], flatten: bool = True) -> Run:
    """The whole run in one compiled loop; the data are arguments, lest they be folded in."""
    require("jax")
    import jax

    # Without it JAX computes in float32 whatever it is given; float32 arrays stay float32 with it.
    jax.config.update("jax_enable_x64", True)
    Y = np.ascontiguousarray(run.Y[:, 0]) if flatten and run.outputs == 1 else run.Y
    cpu = jax.devices("cpu")[0]
    X, Y = jax.device_put(run.X, cpu), jax.device_put(Y, cpu)
    state = [jax.device_put(factor.copy(), cpu) for factor in run.factors(run.params)]

    @jax.jit
    def loop(X: Any, Y: Any, factors: list[Any], steps: int) -> list[Any]:
        def body(_: Any, factors: list[Any]) -> list[Any]:
            return [
                factor - run.learning_rate * gradient
                for factor, gradient in zip(factors, gradients(jax, X, Y, factors), strict=True)
            ]

        return jax.lax.fori_loop(0, steps, body, factors)

    def advance(steps: int) -> None:
        nonlocal state
        state = jax.block_until_ready(loop(X, Y, state, steps))

    return Run(advance, lambda: _flat([np.asarray(factor) for factor in state]))


def _flat(factors: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([factor.ravel() for factor in factors])


# ----------------------------------------------------------------------------------------------
# The ceiling


def read_once(run: Descent) -> Run:
    """A plain sum over X with the same threads: a step can not be faster than this one read."""
    import numba

    data, threads = run.X.ravel(), run.threads
    total = _parallel_sum()

    def advance(steps: int) -> None:
        numba.set_num_threads(threads)
        for _ in range(steps):
            total(data, threads)

    return Run(advance, run.params.copy)


@functools.cache
def _parallel_sum() -> Callable[[np.ndarray, int], float]:
    import numba

    @numba.njit(fastmath=True)
    def part(values):
        total = values.dtype.type(0)
        for i in range(len(values)):
            total += values[i]
        return total

    @numba.njit(parallel=True)
    def total(values, parts):
        sums = np.zeros(parts * 8)
        for t in numba.prange(parts):
            size = len(values)
            sums[8 * t] = part(values[t * size // parts : (t + 1) * size // parts])
        return sums.sum()

    return total
