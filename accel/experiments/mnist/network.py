"""The two networks of the MNIST experiment, as torch modules; imported only where torch is."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from accel.torch import overparameterize

__all__ = ["ConvNet", "original", "overparameterized"]

_STD = 0.1
_NEAR_ZERO_STD = 0.01
_DECAY = 5e-4
_HIDDEN = 512  # units between the two dense layers


class ConvNet(nn.Module):  # type: ignore[misc]
    """Two convolutions, each with ReLU and 2 x 2 maximum pooling, and two dense layers.

    Its parameters are not initialised.

    Attributes
    ----------
    convolutions : ModuleList of 2 Conv2d
        5 x 5, zero-padded to keep the size, with 32 and 64 outputs.
    dense : ModuleList of 2 Linear or LinearFactors
        3136 to 512 with ReLU, then, behind a dropout of one half, 512 to 10.
    """

    def __init__(self) -> None:
        super().__init__()
        empty = nn.utils.skip_init  # draws nothing from torch's own generator
        self.convolutions = nn.ModuleList(
            empty(nn.Conv2d, inputs, outputs, 5, padding=2)
            for inputs, outputs in ((1, 32), (32, 64))
        )
        self.dense = nn.ModuleList(
            empty(nn.Linear, inputs, outputs)
            for inputs, outputs in ((7 * 7 * 64, _HIDDEN), (_HIDDEN, 10))
        )

    @property
    def n_parameters(self) -> int:
        """The number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, pixels: torch.Tensor, dropout: torch.Tensor | None = None) -> torch.Tensor:
        """The unnormalised log-probabilities of the digits.

        Parameters
        ----------
        pixels : tensor (batch, 1, 28, 28)
            From -0.5 to 0.5.
        dropout : tensor (batch, 512), optional
            What the hidden units are multiplied by: 0 or 2; 1 by default.

        Returns
        -------
        tensor (batch, 10)
        """
        hidden = pixels
        for layer in self.convolutions:
            hidden = functional.max_pool2d(layer(hidden).relu(), 2)
        hidden = self.dense[0](hidden.flatten(1)).relu()
        return self.dense[1](hidden if dropout is None else hidden * dropout)

    def penalty(self) -> torch.Tensor:
        """5e-4 times half the sum of squares of all parameters of the dense layers."""
        squares = [parameter.square().sum() for parameter in self.dense.parameters()]
        return 0.5 * _DECAY * torch.stack(squares).sum()


def _fill(tensor: torch.Tensor, std: float, generator: Any) -> None:
    """Fill with a Gaussian truncated at two deviations, as TensorFlow's truncated normal is."""
    nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std, generator=generator)


def original(generator: torch.Generator) -> ConvNet:
    """The network of the tutorial, as it starts.

    Returns
    -------
    ConvNet
        Weights truncated Gaussian of deviation 0.1; biases 0 in the first layer, else 0.1.
    """
    net = ConvNet()
    for position, layer in enumerate((*net.convolutions, *net.dense)):
        _fill(layer.weight, _STD, generator)
        nn.init.constant_(layer.bias, 0.1 if position else 0.0)
    return net


def overparameterized(net: ConvNet, generator: torch.Generator, init: str) -> ConvNet:
    r"""The network with two matrices in succession in place of the matrix of each dense layer.

    A dense layer's matrix W of shape (outputs, inputs) becomes :math:`W_2 W_1` with outputs as the
    hidden width, the smallest that takes no matrix away: inputs * outputs parameters become
    inputs * outputs + outputs^2, in all 512^2 + 10^2 more.

    Parameters
    ----------
    net : ConvNet
        The original, as it starts; biases and convolutions are copied from it.
    generator : torch.Generator
        Not used by ``"balanced"``.
    init : {"balanced", "tutorial", "near_zero"}
        Balanced: :math:`W_1 = S^{1/2} V', W_2 = U S^{1/2}` from the singular value decomposition
        :math:`W = U S V'`, so that both networks start as the same function (up to rounding) and
        :math:`W_2' W_2 = W_1 W_1'`, the balance of Theorem 1. Else both factors are truncated
        Gaussian, of the deviation 0.1 of the tutorial or of 0.01.

    Returns
    -------
    ConvNet
        Shares no memory with ``net``.
    """
    deeper: ConvNet = overparameterize(copy.deepcopy(net), depth=2, modules=(nn.Linear,))
    if init != "balanced":
        for layer in deeper.dense:
            for factor in layer.factors:
                _fill(factor, _STD if init == "tutorial" else _NEAR_ZERO_STD, generator)
    return deeper
