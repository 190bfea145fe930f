"""One step after another of the two networks of the MNIST experiment, and the state between two."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from accel.experiments.mnist_data import MnistData

__all__ = ["INITS", "Init", "Training", "import_torch", "load_checkpoint", "save_checkpoint"]

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

    Between two calls of ``advance`` everything is whole: the state can be saved.

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
    losses : list
        For every step made and each net cross-entropy and penalty: (steps, 2, 2).
    seconds : float
        That the steps took.
    """

    def __init__(
        self, torch: Any, data: MnistData, held_out: int, batch: int, seed: int, init: Init
    ) -> None:
        from accel.experiments.mnist_network import original, overparameterized  # imports torch

        self._torch, self._batch = torch, batch
        digest = hashlib.sha256(np.ascontiguousarray(data.images).data)
        digest.update(np.ascontiguousarray(data.labels).data)
        self._settings = {"data": digest.hexdigest(), "batch": batch, "seed": seed, "init": init}
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
        """Move one network; cross-entropy and penalty from before."""
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

    def state(self) -> dict[str, Any]:
        """All that a later run needs to go on, as tensors and plain values."""
        return {
            "settings": self._settings,
            "tensors": self._tensors(),
            "dropout": self._dropout.get_state(),
            "losses": self._torch.tensor(self.losses, dtype=self._torch.float64),
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> str | None:
        """Go on from what ``state`` returned, unless it is of another run.

        Returns
        -------
        str or None
            In what it differs, in words; then nothing is restored.

        Raises
        ------
        Exception
            Of any kind, if ``state`` is not what ``state`` returned.
        """
        theirs = state["settings"]
        for name, value in self._settings.items():
            if theirs[name] != value:
                return f"its {name} is {theirs[name]}, not {value}"
        for ours, tensor in zip(self._tensors(), state["tensors"], strict=True):
            if ours.shape != tensor.shape:
                raise ValueError(f"a tensor has shape {tuple(tensor.shape)}")
            ours.copy_(tensor)
        self._dropout.set_state(state["dropout"])
        losses = state["losses"].reshape(-1, 2, 2).tolist()
        self.losses = [[(entropy, penalty) for entropy, penalty in row] for row in losses]
        self.seconds = float(state["seconds"])
        return None


def load_checkpoint(path: Path, training: Training) -> None:
    """Go on where a checkpoint ends.

    Raises
    ------
    ValueError
        If it is no checkpoint, or one of another run.
    """
    try:
        # weights_only: tensors and plain values, so that a foreign file cannot run anything.
        difference = training.restore(import_torch().load(path, weights_only=True))
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"checkpoint {path} is not readable ({reason:.120})") from error
    if difference is not None:
        raise ValueError(f"checkpoint {path} is of another run: {difference}")


def save_checkpoint(path: Path, training: Training) -> None:
    """Write a checkpoint beside the old one, then put it in its place at once."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        import_torch().save(training.state(), unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _scaled(images: Any) -> Any:
    """Grey values as numbers from -0.5 to 0.5."""
    return (images.float() - 127.5) / 255
