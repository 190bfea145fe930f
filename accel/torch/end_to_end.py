r"""The end-to-end update rule as a ``torch.optim.Optimizer``."""

# The documentation is built without PyTorch, whose stand-in knows no "|" for types.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from accel._support import validation
from accel.torch.factored import wide

__all__ = ["EndToEndSGD"]


def _decomposed(W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Left singular vectors (k, k), singular values and right vectors (k, d) of W (k, d), k <= d.

    Singular values that are 0 up to rounding are set to 0, as in the reference: the powers go down
    to 2/N, and 1e-17 ** (2/8) is far from 0.
    """
    noise = torch.finfo(W.dtype).eps * max(W.shape)
    if W.dtype == torch.float64:
        U, sizes, Vh = torch.linalg.svd(W, full_matrices=False)
        return U, torch.where(sizes > noise * sizes.max(), sizes, 0), Vh
    # Faster than the SVD. In float64, since singular values are the roots of the eigenvalues here:
    # in float32 all below 3e-4 of the largest one would be noise.
    exact = wide(W)
    squares, U = torch.linalg.eigh(exact @ exact.T)
    sizes = squares.clamp(min=0).sqrt()
    kept = sizes > noise * sizes.max()
    return U, torch.where(kept, sizes, 0), torch.where(kept, 1 / sizes, 0)[:, None] * (U.T @ exact)


def precondition(W: torch.Tensor, G: torch.Tensor, depth: int) -> torch.Tensor:
    r"""The direction in which a balanced network of this depth moves its end-to-end matrix.

    With :math:`W = U \operatorname{diag}(\sigma) V^\top`, k <= d and only k right vectors, claim 1
    of the paper is

    .. math::
        U \left[ (\Lambda' \circ U^\top G V) \, V^\top + c \circ U^\top G \right], \qquad
        \Lambda'_{rs} = \sum_{j=1}^{N-1} \sigma_r^{2(j-1)/N} \sigma_s^{2(N-j)/N}, \quad
        c_r = \sigma_r^{2(N-1)/N}, \quad 0^0 = 1,

    the last summand of :math:`\Lambda` being the one that does not vanish outside the span of V.

    Parameters
    ----------
    W, G : (k, d) tensors
        End-to-end matrix and gradient there, float32 or float64.
    depth : int

    Returns
    -------
    (k, d) tensor
        NaN throughout if W is not finite.
    """
    if depth == 1:
        return G
    if W.shape[0] > W.shape[1]:
        return precondition(W.T, G.T, depth).T
    finite = W.isfinite().all()  # the decompositions raise for other matrices
    U, sizes, Vh = _decomposed(torch.where(finite, W, 0))
    exponents = torch.arange(depth, device=sizes.device, dtype=sizes.dtype) * (2 / depth)
    powers = sizes[:, None] ** exponents
    eigenvalues = powers[:, :-1] @ powers[:, 1:].flip(1).T
    U, Vh, eigenvalues, last = (x.to(G) for x in (U, Vh, eigenvalues, powers[:, -1:]))
    turned = U.T @ G
    direction = U @ ((eigenvalues * (turned @ Vh.T)) @ Vh + last * turned)
    return torch.where(finite, direction, torch.nan)


class EndToEndSGD(torch.optim.Optimizer):  # type: ignore[misc]
    r"""Gradient descent as if every matrix were a product of N balanced factors.

    .. math::
        D = \sum_{j=1}^N [W W^\top]^{(j-1)/N} G \, [W^\top W]^{(N-j)/N}, \qquad
        b \leftarrow \mu b + D, \qquad W \leftarrow (1 - \eta\lambda N) W - \eta b

    with gradient G, learning rate :math:`\eta`, momentum :math:`\mu` and weight decay
    :math:`\lambda`. To first order in :math:`\eta` it is what gradient descent on the factors that
    ``overparameterize`` makes does to their product; it needs no parameter more.

    Parameters
    ----------
    params : iterable of Parameter, of dict, or of (name, Parameter)
        Of real floating-point numbers. Those with two dimensions are matrices; those with more,
        such as kernels of convolutions, are taken as ``flatten(1)``; those with less (biases,
        norms) follow plain SGD, N = 1.
    lr : float or Tensor
        The learning rate, at least 0. A tensor with one entry is not compiled into the step.
    depth : int
        The N, at least 1; 1 is plain SGD.
    momentum : float
        In [0, 1). The buffer b holds directions D as they were, preconditioned when they were new.
    weight_decay : float
        At least 0. The decay of every factor, as in the paper, so that a matrix decays N times as
        fast.

    Raises
    ------
    TypeError, ValueError
        If a constant is of the wrong kind or out of range, if a parameter is complex, or, by
        ``step``, if a gradient is sparse.

    Notes
    -----
    Each constant may differ from group to group. The weight decay does not enter the momentum,
    unlike in ``torch.optim.SGD``. A step decomposes every matrix on its smaller side, one after
    another: some :math:`10 k^3 + 6 k^2 d` multiply-adds for (k, d), k <= d. Where that is more than
    a pass over the batch, factors are cheaper: see ``overparameterize``. A matrix that is zero
    stays so for N > 1. Parameters in bfloat16 and float16 are moved by a direction computed in
    float32, under autocast as well. What is not finite makes parameters NaN, as in
    ``torch.optim.SGD``; it raises nothing.

    References
    ----------
    Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
    Overparameterization", arXiv 1802.06509, theorem 1 and claim 1.

    Examples
    --------
    >>> import torch
    >>> from accel.torch import EndToEndSGD
    >>> model = torch.nn.Linear(3, 2)
    >>> optimizer = EndToEndSGD(model.parameters(), lr=0.1, depth=3)
    >>> model(torch.ones(1, 3)).square().sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: Any,
        lr: float | torch.Tensor,
        depth: int,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        constants = {"lr": lr, "depth": depth, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, _checked(constants))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with constants of their own; those left out are the optimiser's."""
        super().add_param_group(param_group | _checked({**self.defaults, **param_group}))
        for parameter in self.param_groups[-1]["params"]:
            if not parameter.is_floating_point():
                self.param_groups.pop()
                raise TypeError(f"params must be real, got one of dtype {parameter.dtype}")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model again and returns the loss, which is then returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._move(parameter, group)
        return loss

    def _move(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        if parameter.grad.is_sparse:
            raise ValueError("EndToEndSGD needs dense gradients, got a sparse one")
        depth = group["depth"] if parameter.ndim > 1 and parameter.numel() else 1
        lr = group["lr"]
        if isinstance(lr, torch.Tensor):
            lr = lr.reshape(())  # of shape (1,) it could not be multiplied in place
        direction = _direction(parameter, depth)
        if group["momentum"] != 0:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            direction = state["momentum_buffer"].mul_(group["momentum"]).add_(direction)
        if group["weight_decay"] != 0:
            parameter.mul_(1 - lr * group["weight_decay"] * depth)
        parameter.sub_(lr * direction)


def _direction(parameter: torch.Tensor, depth: int) -> torch.Tensor:
    """The direction D of one parameter, in its shape and dtype."""
    gradient = parameter.grad
    if depth == 1:
        return gradient
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    with torch.autocast(parameter.device.type, enabled=False):
        W, G = (x.flatten(1).to(dtype) for x in (parameter, gradient))
        return precondition(W, G, depth).reshape(parameter.shape).to(parameter.dtype)


def _checked(constants: dict[str, Any]) -> dict[str, Any]:
    """Check the constants of a group; return them alone, as plain numbers."""
    lr = constants["lr"]
    single = isinstance(lr, torch.Tensor) and lr.numel() == 1
    number = validation.real("lr", lr.item() if single else lr, least=0)
    return {
        "lr": lr if single else number,
        "depth": validation.depth(constants["depth"]),
        "momentum": validation.real("momentum", constants["momentum"], least=0, below=1),
        "weight_decay": validation.real("weight_decay", constants["weight_decay"], least=0),
    }
