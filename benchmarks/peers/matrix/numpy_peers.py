"""NumPy: every product of a step into a buffer of its own, by BLAS."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.peers.common import Descent, Stepper, Sweep, flat, require
from benchmarks.peers.matrix.common import (
    GRAM,
    LAYERWISE,
    Batch,
    Variants,
    forms,
    thread_words,
)
from benchmarks.peers.numpy_peers import residual_power_into

#: Factors or stacks of them, and a step of theirs, in place.
Plan = tuple[list[np.ndarray], Callable[[], None]]


def numpy_variants(run: Descent | Sweep) -> Variants:
    """Each form with one thread of BLAS and with all of them.

    The models of a sweep are stacked in either case; or they are shared among as many threads of
    Python, which compute at once, since NumPy holds no lock inside a product.
    """
    variants: dict[str, Callable[[], Stepper]] = {}
    for form in forms(Batch.of(run).one):
        for threads in dict.fromkeys((1, run.threads)):
            words = f"{form}, {thread_words(threads)}"
            variants[words] = functools.partial(numpy_steps, run, form, threads)
        if isinstance(run, Sweep) and run.threads > 1:
            words = f"{form}, models shared by {thread_words(run.threads)}"
            variants[words] = functools.partial(numpy_shared, run, form)
    return variants


def numpy_steps(run: Descent | Sweep, form: str, threads: int) -> Stepper:
    """A run with so many threads of BLAS."""
    factors, step = _plan(run, form)
    limited = _limited(threads)

    def advance(steps: int) -> None:
        with limited():
            for _ in range(steps):
                step()

    return Stepper(advance, lambda: flat(factors))


def numpy_shared(run: Sweep, form: str) -> Stepper:
    """The models in as many parts as there are threads, each of which has one thread of BLAS."""
    parts = np.array_split(np.arange(len(run.descents)), run.threads)
    plans = [
        _plan(Sweep(tuple(run.descents[i] for i in part)), form) for part in parts if len(part)
    ]
    executor, limited = ThreadPoolExecutor(len(plans)), _limited(1)

    def make(plan: Plan, steps: int) -> None:
        for _ in range(steps):
            plan[1]()

    def advance(steps: int) -> None:
        with limited():
            list(executor.map(lambda plan: make(plan, steps), plans))

    return Stepper(advance, lambda: np.concatenate([flat(factors) for factors, _ in plans]))


def _limited(threads: int) -> Callable[[], object]:
    """Makes a context in which BLAS has so many threads."""
    require("threadpoolctl")
    import threadpoolctl

    pools = threadpoolctl.ThreadpoolController()
    return functools.partial(pools.limit, limits=threads, user_api="blas")


def _plan(run: Descent | Sweep, form: str) -> Plan:
    batch = Batch.of(run)
    params = batch.start()
    gradient = np.empty_like(params)
    factors, gradients = batch.views(params), batch.views(gradient)
    if form == LAYERWISE:
        compute = _layerwise(batch, factors, gradients)
    else:
        compute = _end_to_end(batch, factors, gradients, form == GRAM)

    def step() -> None:
        compute()
        np.subtract(params, gradient, out=params)

    return factors, step


def _end_to_end(
    batch: Batch, factors: list[np.ndarray], gradients: list[np.ndarray], gram: bool
) -> Callable[[], None]:
    """Computes learning_rate times the gradients, in lists of products whose operands stay."""
    one, dtype = batch.one, factors[0].dtype
    k, d, inner = one.outputs, one.widths[0], range(one.depth - 1)
    multiply = np.matmul if batch.lead else np.dot
    buffers = [[np.empty((*batch.lead, k, one.widths[j]), dtype) for j in inner] for _ in range(2)]
    # S_(N-1) is W_N itself, T_N the gradient of W_N itself: neither needs a buffer.
    suffixes, prefixes = [*buffers[0], factors[-1]], [*buffers[1], gradients[-1]]
    before = [(suffixes[j + 1], factors[j], suffixes[j]) for j in reversed(inner)]
    after = []
    for j in inner:
        after.append((_transposed(suffixes[j + 1]), prefixes[j], gradients[j]))
        after.append((prefixes[j], _transposed(factors[j]), prefixes[j + 1]))
    # The data are met by all models at once.
    W, T = suffixes[0].reshape(-1, d), prefixes[0]
    G = T.reshape(-1, d)
    if gram:
        XX, YX = batch.gram()
    else:
        X, scaled, targets = one.X, batch.scaled_data(), np.ascontiguousarray(one.Y.T)
        r = np.empty((*batch.lead, k, len(X)), dtype)
        rows, power = r.reshape(-1, len(X)), np.empty_like(r)

    def compute() -> None:
        for a, b, out in before:
            multiply(a, b, out=out)
        if gram:
            np.dot(W, XX, out=G)
            np.subtract(T, YX, out=T)
        else:
            np.dot(W, X.T, out=rows)
            np.subtract(r, targets, out=r)
            np.dot(residual_power_into(np, power, r, one.p).reshape(rows.shape), scaled, out=G)
        if batch.lead:
            np.multiply(T, batch.scale, out=T)
        for a, b, out in after:
            multiply(a, b, out=out)

    return compute


def _layerwise(
    batch: Batch, factors: list[np.ndarray], gradients: list[np.ndarray]
) -> Callable[[], None]:
    """The same through the layers; what they give and its gradients are (width, n)."""
    one, dtype = batch.one, factors[0].dtype
    n, d = one.X.shape
    multiply = np.matmul if batch.lead else np.dot
    outputs, deltas = (
        [np.empty((*batch.lead, width, n), dtype) for width in one.widths[1:]] for _ in range(2)
    )
    forward = [(factors[j], outputs[j - 1], outputs[j]) for j in range(1, one.depth)]
    backward = []
    for j in range(one.depth - 1, 0, -1):
        backward.append((deltas[j], _transposed(outputs[j - 1]), gradients[j]))
        backward.append((_transposed(factors[j]), deltas[j], deltas[j - 1]))
    # The data are met by all models at once.
    W, G = factors[0].reshape(-1, d), gradients[0].reshape(-1, d)
    H, D = outputs[0].reshape(-1, n), deltas[0].reshape(-1, n)
    targets = np.ascontiguousarray(one.Y.T)

    def compute() -> None:
        np.dot(W, one.X.T, out=H)
        for a, b, out in forward:
            multiply(a, b, out=out)
        r = np.subtract(outputs[-1], targets, out=outputs[-1])
        power = residual_power_into(np, deltas[-1], r, one.p)
        np.multiply(power, batch.scale, out=deltas[-1])
        for a, b, out in backward:
            multiply(a, b, out=out)
        np.dot(D, one.X, out=G)

    return compute


def _transposed(stack: np.ndarray) -> np.ndarray:
    return stack.swapaxes(-1, -2)
