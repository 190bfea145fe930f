"""Models to tune: an optimiser and a depth, and the network that a run begins with."""

import contextlib
from dataclasses import dataclass

from accel._core.network import LinearNetwork
from accel._core.optimizers import EndToEnd, Optimizer, by_name
from accel._core.problem import Problem
from accel._support import validation

__all__ = ["Model", "Start"]


@dataclass(frozen=True)
class Model:
    """An optimiser and a depth.

    Parameters
    ----------
    optimizer : str
        As ``by_name`` takes it.
    depth : int
        At least 1. For the end-to-end rule the depth of the net that it stands for.
    temperature : float, optional
        Of the noise of ``"langevin"``, which needs it; the others take none.

    Raises
    ------
    TypeError, ValueError
        If there is no such optimiser, it lacks its temperature, or a value is no such number.
    """

    optimizer: str
    depth: int
    temperature: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", validation.depth(self.depth))
        object.__setattr__(self, "optimizer", self.at(1.0).name)

    def __str__(self) -> str:
        return f"{self.optimizer}, depth {self.depth}"

    def at(self, rate: float) -> Optimizer:
        """Return the optimiser with this learning rate."""
        if self.optimizer == EndToEnd.name:
            return EndToEnd(rate, self.depth)
        constants = {} if self.temperature is None else {"temperature": self.temperature}
        try:
            return by_name(self.optimizer, rate, **constants)
        except TypeError as error:
            with contextlib.suppress(TypeError):  # another spelling of the end-to-end rule
                return by_name(self.optimizer, rate, depth=self.depth)
            raise error from None


@dataclass(frozen=True)
class Start:
    """How the networks begin.

    Parameters
    ----------
    init, scale, seed
        As for ``LinearNetwork``. With ``"balanced"`` networks of every depth begin as one and the
        same linear map; near zero a deeper one of the same ``scale`` begins much closer to the
        saddle at 0.
    width : int, optional
        Of every hidden layer; min(d, k) by default, the least that ``"balanced"`` allows.
    """

    init: str = "balanced"
    scale: float | None = None
    seed: int = 0
    width: int | None = None

    def network(self, problem: Problem, model: Model) -> LinearNetwork:
        """Return the network that a model begins with."""
        network = LinearNetwork.for_problem(
            problem, model.depth, self.width, init=self.init, scale=self.scale, seed=self.seed
        )
        if model.optimizer == EndToEnd.name:  # the map that the net it stands for begins with
            return LinearNetwork.for_problem(problem, 1, init=[network.end_to_end()])
        return network
