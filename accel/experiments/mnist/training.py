"""The training steps of the two networks of the MNIST experiment, and the state between two."""

import time
from typing import Any, Literal, get_args

import numpy as np

from accel._runs.checkpoints import digest
from accel._support.arrays import Array
from accel.datasets.mnist import MnistData

__all__ = ["INITS", "Init", "Training", "import_torch"]

Init = Literal["balanced", "tutorial", "near_zero"]
INITS: tuple[str, ...] = get_args(Init)

_RATE = 0.01
_RATE_DECAY = 0.95
_EPOCH = 55_000  # images
_MOMENTUM = 0.9
_EVALUATED = 500  # images at a time


def import_torch() -> Any:
    """The module torch.

    Raises
    ------
    ImportError
        If it is not installed; the message says what to do.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "the MNIST experiment needs PyTorch: pip install 'implicit-accel[torch]'"
        ) from error
    return torch


class Training:
    """Both networks with their momenta, the generator of the dropout and the losses so far.

    The state may be saved between two calls of ``advance``.

    Parameters
    ----------
    torch : module
    data : MnistData
    held_out : int
        Images at the front that are not trained on.
    batch, seed : int
    init : {"balanced", "tutorial", "near_zero"}

    Attributes
    ----------
    nets : tuple of ConvNet
        Original and overparameterised.
    settings : dict
        What determines the results.
    losses : list
        For every step made and each net cross-entropy and penalty: (steps, 2, 2).
    seconds : float
        That the steps took.
    """

    def __init__(
        self, torch: Any, data: MnistData, held_out: int, batch: int, seed: int, init: Init
    ) -> None:
        from accel.experiments.mnist.network import original, overparameterized

        self._torch, self._batch = torch, batch
        self.settings = {
            "data": digest(data.images, data.labels), "batch": batch, "seed": seed, "init": init
        }  # fmt: skip
        images = torch.from_numpy(np.array(data.images))[:, None]
        labels = torch.from_numpy(data.labels.astype(np.int64))
        self._held_out = images[:held_out], labels[:held_out]
        self._images, self._labels = images[held_out:], labels[held_out:]
        weights, dropout = (
            torch.Generator().manual_seed(int(word))
            for word in np.random.SeedSequence(seed).generate_state(2)
        )
        net = original(weights)
        self.nets: tuple[Any, ...] = (net, overparameterized(net, weights, init))
        self._velocities = [[torch.zeros_like(w) for w in net.parameters()] for net in self.nets]
        self._dropout = dropout
        self.losses: list[list[tuple[float, float]]] = []
        self.seconds = 0.0

    @property
    def step(self) -> int:
        """Updates made."""
        return len(self.losses)

    @property
    def diverged(self) -> bool:
        """Whether a loss of the last step is not finite."""
        return bool(self.losses) and not np.isfinite(self.losses[-1]).all()

    def advance(self) -> None:
        """Make one step of both networks, on the same images with the same dropout."""
        began = time.perf_counter()
        step, size = self.step, self._batch
        begin = step * size % (len(self._images) - size)
        pixels = _scaled(self._images[begin : begin + size])
        labels = self._labels[begin : begin + size]
        units = self.nets[0].dense[1].in_features
        kept = self._torch.rand(size, units, generator=self._dropout) < 0.5
        rate = _RATE * _RATE_DECAY ** (step * size // _EPOCH)
        self.losses.append(
            [
                self._update(net, velocity, pixels, labels, 2.0 * kept, rate)
                for net, velocity in zip(self.nets, self._velocities, strict=True)
            ]
        )
        self.seconds += time.perf_counter() - began

    def _update(
        self, net: Any, velocity: list[Any], pixels: Any, labels: Any, dropout: Any, rate: float
    ) -> tuple[float, float]:
        """Update one network; return cross-entropy and penalty before the update."""
        torch = self._torch
        logits = net(pixels, dropout)
        entropy = torch.nn.functional.cross_entropy(logits, labels)
        penalty = net.penalty()
        weights = list(net.parameters())
        gradients = torch.autograd.grad(entropy + penalty, weights)
        # By hand, since torch.optim takes more than a second to load the compiler it may need.
        with torch.no_grad():
            for w, v, gradient in zip(weights, velocity, gradients, strict=True):
                v.mul_(_MOMENTUM).add_(gradient)
                w.sub_(v, alpha=rate)
        return entropy.item(), penalty.item()

    def validation_errors(self) -> list[float]:
        """The fraction of the images held out that each network takes for another digit."""
        images, labels = self._held_out
        errors = []
        with self._torch.no_grad():
            for net in self.nets:
                wrong = 0
                for begin in range(0, len(images), _EVALUATED):
                    some = slice(begin, begin + _EVALUATED)
                    logits = net(_scaled(images[some]))
                    wrong += int((logits.argmax(1) != labels[some]).sum())
                errors.append(wrong / len(images))
        return errors

    def _tensors(self) -> list[Any]:
        weights = [w.detach() for net in self.nets for w in net.parameters()]
        return weights + [v for velocity in self._velocities for v in velocity]

    def state(self) -> dict[str, Array]:
        """Return what a later run needs to go on, as views."""
        return {
            **{f"tensor{i}": w.numpy() for i, w in enumerate(self._tensors())},
            "dropout": self._dropout.get_state().numpy(),
            "losses": np.array(self.losses, np.float64).reshape(-1, 2, 2),
            "seconds": np.array(self.seconds),
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        for i, ours in enumerate(self._tensors()):
            ours.copy_(self._torch.from_numpy(state[f"tensor{i}"]))
        self._dropout.set_state(self._torch.from_numpy(state["dropout"]))
        losses = state["losses"].tolist()
        self.losses = [[(entropy, penalty) for entropy, penalty in row] for row in losses]
        self.seconds = float(state["seconds"])


def _scaled(images: Any) -> Any:
    """Grey values as numbers from -0.5 to 0.5."""
    return (images.float() - 127.5) / 255
