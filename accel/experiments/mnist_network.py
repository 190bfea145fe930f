"""The two networks of the MNIST experiment, as plain tensors and functions of them.

PyTorch is passed in by the caller, so that this module can be imported without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = ["INITS", "ConvNet", "Init", "Layer", "original", "overparameterized"]

Init = Literal["balanced", "tutorial", "near_zero"]
INITS: tuple[str, ...] = get_args(Init)

_STD = 0.1
_NEAR_ZERO_STD = 0.01
_DECAY = 5e-4
_HIDDEN = 512  # units between the two dense layers


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution, or a dense layer whose matrix is the product of ``factors``.

    Attributes
    ----------
    factors : list of tensors
        ``W_1 ... W_N``, the matrix being ``W_N ... W_1``; of a convolution its one kernel
        (outputs, inputs, 5, 5).
    bias : tensor (outputs,)
    """

    factors: list[Any]
    bias: Any

    def __call__(self, inputs: Any) -> Any:
        """The outputs (batch, outputs) of a dense layer for inputs (batch, inputs)."""
        for factor in self.factors:
            inputs = inputs @ factor.T
        return inputs + self.bias


@dataclass(frozen=True, eq=False)
class ConvNet:
    """Two convolutions, each with ReLU and 2 x 2 maximum pooling, and two dense layers.

    Attributes
    ----------
    convolutions : list of 2 Layer
        5 x 5, zero-padded to keep the size, with 32 and 64 outputs.
    dense : list of 2 Layer
        3136 to 512 with ReLU, then, behind a dropout of one half, 512 to 10.
    """

    convolutions: list[Layer]
    dense: list[Layer]

    def parameters(self) -> Iterator[Any]:
        """All tensors that are trained, always in the same order."""
        for layer in (*self.convolutions, *self.dense):
            yield from (*layer.factors, layer.bias)

    @property
    def n_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(tensor.numel() for tensor in self.parameters())

    def logits(self, torch: Any, pixels: Any, dropout: Any = None) -> Any:
        """The unnormalised log-probabilities of the digits.

        Parameters
        ----------
        torch : module
        pixels : tensor (batch, 1, 28, 28)
            From -0.5 to 0.5.
        dropout : tensor (batch, 512), optional
            What the hidden units are multiplied by: 0 or 2; all 1 by default.

        Returns
        -------
        tensor (batch, 10)
        """
        functional = torch.nn.functional
        hidden = pixels
        for layer in self.convolutions:
            (kernel,) = layer.factors
            convolved = functional.conv2d(hidden, kernel, layer.bias, padding=2)
            hidden = functional.max_pool2d(convolved.relu(), 2)
        hidden = self.dense[0](hidden.flatten(1)).relu()
        return self.dense[1](hidden if dropout is None else hidden * dropout)

    def penalty(self) -> Any:
        """5e-4 times half the sum of squares of all that the dense layers are made of."""
        tensors = [t for layer in self.dense for t in (*layer.factors, layer.bias)]
        return 0.5 * _DECAY * sum(tensor.square().sum() for tensor in tensors)


def _gaussian(torch: Any, generator: Any, shape: tuple[int, ...], std: float) -> Any:
    """Gaussian, drawn anew beyond two deviations, as TensorFlow's truncated normal is."""
    tensor = torch.empty(shape)
    return torch.nn.init.trunc_normal_(
        tensor, std=std, a=-2 * std, b=2 * std, generator=generator
    ).requires_grad_()


def original(torch: Any, generator: Any) -> ConvNet:
    """The network of the tutorial, as it starts.

    Parameters
    ----------
    torch : module
    generator : torch.Generator

    Returns
    -------
    ConvNet
        Weights truncated Gaussian of deviation 0.1; biases 0 in the first layer, else 0.1.
    """
    shapes = [(32, 1, 5, 5), (64, 32, 5, 5), (_HIDDEN, 7 * 7 * 64), (10, _HIDDEN)]
    layers = [
        Layer(
            [_gaussian(torch, generator, shape, _STD)],
            torch.full(shape[:1], 0.1 if position else 0.0).requires_grad_(),
        )
        for position, shape in enumerate(shapes)
    ]
    return ConvNet(layers[:2], layers[2:])


def overparameterized(torch: Any, generator: Any, net: ConvNet, init: Init) -> ConvNet:
    r"""The network with two matrices in succession in place of the matrix of each dense layer.

    A dense layer's matrix W of shape (outputs, inputs) becomes :math:`W_2 W_1` with outputs as the
    hidden width, the smallest that takes no matrix away: inputs * outputs parameters become
    inputs * outputs + outputs^2, in all 512^2 + 10^2 more.

    Parameters
    ----------
    torch : module
    generator : torch.Generator
        Not used by ``"balanced"``.
    net : ConvNet
        The original, as it starts; biases and convolutions are copied from it.
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

    def copied(tensor: Any) -> Any:
        return tensor.detach().clone().requires_grad_()

    def factored(matrix: Any) -> list[Any]:
        outputs, inputs = matrix.shape
        if init == "balanced":
            U, S, Vh = torch.linalg.svd(matrix.detach(), full_matrices=False)
            root = S.sqrt()
            return [copied(root[:, None] * Vh), copied(U * root)]
        std = _STD if init == "tutorial" else _NEAR_ZERO_STD
        return [
            _gaussian(torch, generator, shape, std)
            for shape in ((outputs, inputs), (outputs, outputs))
        ]

    return ConvNet(
        [Layer([copied(x) for x in layer.factors], copied(layer.bias))
         for layer in net.convolutions],
        [Layer(factored(layer.factors[0]), copied(layer.bias)) for layer in net.dense],
    )  # fmt: skip
