r"""Layers whose matrix is a product of factors, :math:`W_e = W_N \cdots W_1`.

Two orders give the same output: the factors one after another, or their product first. Either may
need fewer multiply-adds, forward and backward alike, and which one does depends on the batch: the
product costs the same for any, and makes the rest as cheap as a plain layer.

They are modules of their own, not parametrisations by ``torch.nn.utils.parametrize``: those always
multiply the factors first, rename the parameters to ``parametrizations.weight.original0``, and
cannot be pickled.
"""

# The documentation is built without PyTorch, whose stand-in knows no "|" for types.
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from accel._support import validation

__all__ = ["ConvFactors", "Factored", "LinearFactors", "wide"]


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """Detach and convert to float64, on the CPU if the device has none."""
    device = "cpu" if tensor.device.type == "mps" else tensor.device
    return tensor.detach().to(device).to(torch.float64)


def _checked(factors: Any, bias: Any) -> list[nn.Parameter]:
    """Raise unless the factors can be multiplied and the bias be added; return the factors."""
    if not isinstance(factors, list | tuple | nn.ParameterList):
        raise TypeError(f"factors must be a sequence, got {validation.shown(factors)}")
    if not len(factors):
        raise ValueError("factors must not be empty")
    inner = None
    for j, factor in enumerate(factors):
        if not isinstance(factor, nn.Parameter):
            raise TypeError(f"factors[{j}] must be a Parameter, got {validation.shown(factor)}")
        shape = tuple(factor.shape)
        if len(shape) != 2 or 0 in shape or inner not in (None, shape[1]):
            wanted = "2 dimensions" if inner is None else f"shape (n, {inner})"
            raise ValueError(f"factors[{j}] must have {wanted} and not be empty, got {shape}")
        inner = shape[0]
    if bias is not None and not isinstance(bias, nn.Parameter):
        raise TypeError(f"bias must be a Parameter or None, got {validation.shown(bias)}")
    if bias is not None and tuple(bias.shape) != (inner,):
        raise ValueError(f"bias must have shape {(inner,)}, got {tuple(bias.shape)}")
    return list(factors)


class Factored(nn.Module):  # type: ignore[misc]
    """Base class of ``LinearFactors`` and ``ConvFactors``.

    Parameters
    ----------
    factors : sequence of Parameter
        ``W_1`` to ``W_N``, ``W_j`` of shape ``(n_j, n_{j-1})``, of one dtype on one device.
    bias : Parameter (n_N,) or None
        Added once, after the outermost factor.

    Raises
    ------
    TypeError, ValueError
        If they are not parameters, or do not fit together.
    """

    def __init__(self, factors: Sequence[nn.Parameter], bias: nn.Parameter | None) -> None:
        super().__init__()
        factors = _checked(factors, bias)
        self.factors = nn.ParameterList(factors)
        self.register_parameter("bias", bias)
        inputs, outputs = factors[0].shape[1], factors[-1].shape[0]
        # Multiply-adds a sample that the product saves, and those that it costs once.
        self._saved: int = sum(factor.numel() for factor in factors) - inputs * outputs
        narrow = min(inputs, outputs)
        rest = factors[:-1] if narrow == outputs else factors[1:]
        self._spent: int = narrow * sum(factor.numel() for factor in rest)

    @property
    def depth(self) -> int:
        """Number of factors N."""
        return len(self.factors)

    @property
    def width(self) -> tuple[int, ...]:
        """The hidden widths ``n_1`` to ``n_{N-1}``."""
        return tuple(factor.shape[0] for factor in list(self.factors)[:-1])

    def product(self) -> torch.Tensor:
        """Multiply the factors, from the narrower end: ``W_N ... W_1``; gradients go through."""
        first, *others = list(self.factors)
        if not others:
            return first
        if first.shape[1] < others[-1].shape[0]:
            for factor in others:
                first = factor @ first
            return first
        *others, last = [first, *others]
        for factor in reversed(others):
            last = last @ factor
        return last

    def extra_repr(self) -> str:
        """The text in parentheses after the class's name."""
        widths = [self.factors[0].shape[1], *self.width, self.factors[-1].shape[0]]
        return f"widths={tuple(widths)}, bias={self.bias is not None}"

    def _multiply_first(self, samples: int) -> bool:
        return samples * self._saved > self._spent

    def _collapsed(self, plain: Any) -> Any:
        """Give a layer on "meta" the product, formed in float64 and rounded once, and the bias."""
        product, *others = [wide(factor) for factor in self.factors]
        for factor in others:
            product = factor @ product
        like = self.factors[0]
        product = product.to(like.dtype, copy=True).to(like.device).view(plain.weight.shape)
        trained = any(factor.requires_grad for factor in self.factors)
        plain.weight, plain.bias = nn.Parameter(product, requires_grad=trained), self.bias
        return plain.train(self.training)


class LinearFactors(Factored):
    r"""A linear layer, :math:`y = W_N \cdots W_1 x + b`.

    Parameters
    ----------
    factors : sequence of Parameter
        ``W_1`` to ``W_N``, ``W_j`` of shape ``(n_j, n_{j-1})``, of one dtype on one device.
    bias : Parameter (n_N,) or None

    Attributes
    ----------
    factors : ParameterList
    in_features, out_features : int
        ``n_0`` and ``n_N``, as of ``nn.Linear``.
    """

    def __init__(self, factors: Sequence[nn.Parameter], bias: nn.Parameter | None = None) -> None:
        super().__init__(factors, bias)
        self.in_features, self.out_features = factors[0].shape[1], factors[-1].shape[0]

    @property
    def weight(self) -> torch.Tensor:
        """The product of the factors (out, in), to read: what is written to it is lost."""
        return self.product()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The outputs (..., out_features) for inputs (..., in_features)."""
        if self._multiply_first(inputs.numel() // self.in_features):
            return functional.linear(inputs, self.product(), self.bias)
        *inner, outer = list(self.factors)
        for factor in inner:
            inputs = functional.linear(inputs, factor)
        return functional.linear(inputs, outer, self.bias)

    def plain(self) -> nn.Linear:
        """The same map as one ``nn.Linear``, with this layer's own bias."""
        # On "meta" no random numbers are drawn for weights that are replaced at once.
        return self._collapsed(nn.Linear(self.in_features, self.out_features, device="meta"))


class ConvFactors(Factored):
    """A 1 x 1 convolution, the same linear map of the channels at every pixel.

    Parameters
    ----------
    factors : sequence of Parameter
        ``W_1`` to ``W_N``, ``W_j`` of shape ``(n_j, n_{j-1})``, of one dtype on one device.
    bias : Parameter (n_N,) or None
    stride : tuple of 2 int
    padding : tuple of 2 int, or str
        With zeros.
    dilation : tuple of 2 int
        Has no effect; ``nn.Conv2d`` gets it back.

    Attributes
    ----------
    factors : ParameterList
    in_channels, out_channels : int
        ``n_0`` and ``n_N``, as of ``nn.Conv2d``.
    stride, padding, dilation
    """

    def __init__(
        self,
        factors: Sequence[nn.Parameter],
        bias: nn.Parameter | None = None,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] | str = (0, 0),
        dilation: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__(factors, bias)
        self.in_channels, self.out_channels = factors[0].shape[1], factors[-1].shape[0]
        self.stride, self.padding, self.dilation = stride, padding, dilation

    @property
    def weight(self) -> torch.Tensor:
        """The product (out, in, 1, 1), newly computed: changing it does not change the factors."""
        return self.product()[:, :, None, None]

    def extra_repr(self) -> str:
        """The text in parentheses after the class's name."""
        return f"{super().extra_repr()}, stride={self.stride}, padding={self.padding}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The outputs ([batch,] out_channels, ...) for inputs ([batch,] in_channels, ...)."""
        steps = self.stride[0] * self.stride[1]
        if self._multiply_first(inputs.numel() // (self.in_channels * steps)):
            return functional.conv2d(inputs, self.weight, self.bias, self.stride, self.padding)
        first, *others = [factor[:, :, None, None] for factor in self.factors]
        biases = [*[None] * len(others), self.bias]
        # Only the first one skips and pads: the zeros at the border stay zeros without a bias.
        outputs = functional.conv2d(inputs, first, biases[0], self.stride, self.padding)
        for factor, bias in zip(others, biases[1:], strict=True):
            outputs = functional.conv2d(outputs, factor, bias)
        return outputs

    def plain(self) -> nn.Conv2d:
        """The same map as one ``nn.Conv2d``, with this layer's own bias."""
        plain = nn.Conv2d(
            self.in_channels, self.out_channels, 1, self.stride, self.padding, self.dilation,
            device="meta",
        )  # fmt: skip
        return self._collapsed(plain)
