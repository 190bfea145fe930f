"""The convolutional network on MNIST, with one matrix or two in each dense layer (figure 5)."""

from accel._support.names import publish
from accel.experiments.mnist.contest import MnistResult, NetResult, run

__all__ = ["MnistResult", "NetResult", "run"]

publish(__name__, globals(), __all__)
