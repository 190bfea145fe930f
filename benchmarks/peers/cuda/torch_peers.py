"""PyTorch: the step by hand call by call, and replayed from a CUDA graph, compiled or not.

`device` is "cuda"; the tests say "cpu", where there are no graphs.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.common import (
    Descent,
    Gap,
    Stepper,
    Sweep,
    flat,
    one_line,
    require,
    residual_power,
)
from benchmarks.peers.cuda.chain import LENGTHS, chain_step, pieces
from benchmarks.peers.torch_peers import functional_step, on_device, torch_sweep_step

#: Of torch.compile. Its own CUDA graphs copy what comes in and goes out; ours need not.
MODE = "max-autotune-no-cudagraphs"
_WARM_UP = 3


def torch_eager(run: Descent, device: str = "cuda") -> Stepper:
    """One call of PyTorch an operation, in place: addmv_, addr_ and pow; with outputs addmm_."""
    step, factors = _by_hand(run, device)

    def advance(steps: int) -> None:
        for _ in range(steps):
            step()
        _synchronise(device)

    return Stepper(advance, lambda: _to_host(factors))


def torch_graph(run: Descent) -> Stepper:
    """The calls of "PyTorch eager", captured once and replayed, a hundred steps to a graph."""
    step, factors = _by_hand(run, "cuda")
    return _replayed(step, factors)


def torch_compiled(run: Descent) -> Stepper:
    """What torch.compile makes of the step, in a CUDA graph of a hundred steps."""
    step, factors = compiled_step(run, "cuda")
    return _replayed(step, factors)


def torch_sweep_graph(run: Sweep) -> Stepper:
    """Every model's residuals by one product with the data, every gradient by a second."""
    _float32_alone()
    factors, step = torch_sweep_step(run, "cuda")
    return _replayed(step, factors)


def compiled_step(run: Descent, device: str) -> tuple[Callable[[], None], list[Any]]:
    """A step through torch.compile, in place, and the factors; compiled when it is first made.

    Raises
    ------
    Gap
        If it cannot be compiled.
    """
    torch = _float32_alone()
    X, y, factors = _tensors(run, device)
    one = functional_step(run.p, run.learning_rate * run.p / len(X))

    def in_place(X: Any, y: Any, factors: list[Any]) -> None:
        for factor, changed in zip(factors, one(X, y, factors), strict=True):
            factor.copy_(changed)

    torch.compiler.reset()  # it counts what it compiles of one and the same code, up to a limit
    compiled = torch.compile(in_place, fullgraph=True, dynamic=False, mode=MODE)

    @torch.no_grad()
    def step() -> None:
        compiled(X, y, factors)

    kept = [factor.clone() for factor in factors]
    try:
        # Deprecations inside the compiler are not ours; under pytest they would be errors.
        with warnings.catch_warnings(action="ignore"):
            step()
    except Exception as error:  # every failure of the compiler is the same gap to us
        raise Gap(f"torch.compile fails here: {one_line(error)}") from error
    _restore(factors, kept)
    return step, factors


class _Calls:
    """`Operations` of PyTorch."""

    def __init__(self, like: Any, n: int, p: float):
        self._like, self._p = like, p
        self._r, self._power = self.empty(n), self.empty(n)

    def empty(self, size: int) -> Any:
        return self._like.new_empty(size)

    def product(
        self, A: Any, x: Any, out: Any, *, transposed: bool, scale: float = 1.0, keep: float = 0.0
    ) -> None:
        out.addmv_(A.T if transposed else A, x, beta=keep, alpha=scale)

    def residual_power(self, X: Any, y: Any, w: Any) -> Any:
        import torch

        torch.addmv(y, X, w, beta=-1, out=self._r)
        if self._p == 2:
            return self._r
        if self._p % 2 == 0:
            return torch.pow(self._r, int(self._p) - 1, out=self._power)
        return residual_power(self._r, self._p)

    def add_outer(self, x: Any, y: Any, A: Any) -> None:
        A.addr_(x, y)

    def add(self, x: Any, out: Any) -> None:
        out.add_(x)


def _by_hand(run: Descent, device: str) -> tuple[Callable[[], None], list[Any]]:
    torch = _float32_alone()
    if run.outputs > 1:
        step, factors = _with_outputs(run, device)
    else:
        X, y, factors = _tensors(run, device)
        do = _Calls(X, len(X), run.p)
        step = chain_step(do, X, y, factors, run.learning_rate * run.p / len(X))
    return torch.no_grad()(step), factors


def _with_outputs(run: Descent, device: str) -> tuple[Callable[[], None], list[Any]]:
    """The same with several outputs: matrix times matrix, every update in a product."""
    import torch

    X, Y, p = on_device(run.X, device), on_device(run.Y, device), run.p
    factors = [on_device(factor.copy(), device) for factor in run.factors(run.params)]
    last, scale = factors[-1], -run.learning_rate * p / len(X)
    # S_(N-1) is W_N itself; prefixes are -rate times the gradients T.
    suffixes = [*(X.new_empty(run.outputs, factor.shape[1]) for factor in factors[:-1]), last]
    prefixes = [X.new_empty(run.outputs, factor.shape[1]) for factor in factors]
    r, power = torch.empty_like(Y), torch.empty_like(Y)

    def step() -> None:
        for j in range(len(factors) - 2, -1, -1):
            torch.mm(suffixes[j + 1], factors[j], out=suffixes[j])
        torch.addmm(Y, X, suffixes[0].T, beta=-1, out=r)
        slopes = r
        if p != 2:
            even = p % 2 == 0
            slopes = torch.pow(r, int(p) - 1, out=power) if even else residual_power(r, p)
        torch.addmm(prefixes[0], slopes.T, X, beta=0, alpha=scale, out=prefixes[0])
        for j, factor in enumerate(factors[:-1]):
            torch.mm(prefixes[j], factor.T, out=prefixes[j + 1])
            factor.addmm_(suffixes[j + 1].T, prefixes[j])
        last.add_(prefixes[-1])

    return step, factors


def _tensors(run: Descent, device: str) -> tuple[Any, Any, list[Any]]:
    factors = [on_device(factor.copy(), device) for factor in run.factors(run.params)]
    return on_device(run.X, device), on_device(run.Y[:, 0], device), factors


def _replayed(step: Callable[[], None], factors: list[Any]) -> Stepper:
    """The step in CUDA graphs: they read and write the tensors that it reads and writes."""
    import torch

    kept = [factor.clone() for factor in factors]
    # Outside of a capture first, on a stream of its own: what a library sets up when it is first
    # called cannot be captured.
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graphs = {}
    for length in LENGTHS:
        graphs[length] = torch.cuda.CUDAGraph()
        # "thread_local": other libraries' threads may go on with the GPU meanwhile.
        with torch.cuda.graph(graphs[length], capture_error_mode="thread_local"):
            for _ in range(length):
                step()
    _restore(factors, kept)
    _synchronise("cuda")

    def advance(steps: int) -> None:
        for length in pieces(steps):
            graphs[length].replay()
        _synchronise("cuda")

    return Stepper(advance, lambda: _to_host(factors))


def _restore(factors: list[Any], kept: list[Any]) -> None:
    for factor, before in zip(factors, kept, strict=True):
        factor.copy_(before)


def _synchronise(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _to_host(factors: list[Any]) -> np.ndarray:
    return flat([factor.cpu().numpy() for factor in factors]).copy()


def _float32_alone() -> Any:
    """The module, with TF32 off: float32 products are float32 products."""
    require("torch")
    import torch

    torch.set_float32_matmul_precision("highest")
    return torch
