"""The rows and the labels of every step, as ``train``, ``sweep`` and ``grid_search`` take them."""

from dataclasses import dataclass
from typing import Any

from accel._core.base import BaseProblem
from accel._core.batches import Batches
from accel._support import validation
from accel.kernels import specs
from accel.kernels.reference.batches import steps_per_epoch
from accel.kernels.specs import COUPLED_KINDS, MARGIN_KINDS

__all__ = ["LabelNoise", "Noise", "all_rows", "batches_of", "epoch_of"]

_KINDS = ("gaussian", "sign")
#: Random numbers of a step are numbered in 33 bits.
_MOST_LABELS = 2**33


@dataclass(frozen=True)
class LabelNoise:
    """Noise that is added to the targets, fresh in every step.

    Parameters
    ----------
    scale : float
        Its standard deviation, in the units of the targets; at least 0.
    kind : {"gaussian", "sign"}
        Gaussian, or plus or minus ``scale``, each with probability 1/2.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong kind or out of its range; the message names it.

    References
    ----------
    Blanc, Gupta, Valiant, Valiant (2020), "Implicit regularization for deep neural networks driven
    by an Ornstein-Uhlenbeck like process", arXiv 1904.09080. HaoChen, Wei, Lee, Ma (2021), "Shape
    Matters: Understanding the Implicit Bias of the Noise Covariance", arXiv 2006.08680, whose noise
    is that of signs.

    Examples
    --------
    >>> import accel
    >>> accel.LabelNoise(0.1, "sign")
    LabelNoise(scale=0.1, kind='sign')
    """

    scale: float
    kind: str = "gaussian"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", validation.real("scale", self.scale, least=0))
        validation.choice("kind", self.kind, _KINDS)


#: What ``label_noise`` may be: noise, or the standard deviation of Gaussian noise.
Noise = LabelNoise | float | None


def _noise(value: Any) -> LabelNoise:
    if value is None:
        return LabelNoise(0.0)
    if isinstance(value, LabelNoise):
        return value
    return LabelNoise(validation.real("label_noise", value, least=0))


def batches_of(
    problem: BaseProblem, batch_size: Any, shuffle: Any, seed: Any, label_noise: Any
) -> specs.Batches | None:
    """Check what a run was asked for; None if every step is to have all rows as they are."""
    noise = _noise(label_noise)
    Batches(1, 1, shuffle, seed)  # checks these two
    if batch_size is None and shuffle != "epoch":
        raise ValueError(f"shuffle is for batches: {shuffle!r} needs a batch_size")
    if batch_size is None and not noise.scale:
        return None
    if not problem.takes_batches:
        raise ValueError(
            f"batch_size and label_noise are for problems with rows of data on this machine, "
            f"got {problem!r}"
        )
    size = problem.n if batch_size is None else batch_size
    try:
        whole = Batches(problem.n, size, shuffle, seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"batch_{error}" if str(error).startswith("size") else error) from None
    if problem.method not in ("auto", "direct"):
        raise ValueError(
            f"batch_size and label_noise need passes over the rows: method must be 'auto' or "
            f"'direct', got {problem.method!r}"
        )
    if noise.scale and problem.spec.kind in (*MARGIN_KINDS, *COUPLED_KINDS):
        raise ValueError(
            f"label_noise is added to targets that are numbers, and those of "
            f"{problem.loss_function!r} are classes"
        )
    if noise.scale and problem.n * problem.k >= _MOST_LABELS:
        raise ValueError(f"label_noise is for fewer than 2^33 targets, got {problem.n * problem.k}")
    # Without a size all rows are taken as they stand.
    order = "none" if batch_size is None else whole.shuffle
    return specs.Batches(whole.size, order, whole.seed, noise.scale, noise.kind == "sign")


def all_rows(problem: BaseProblem, batches: specs.Batches) -> bool:
    """Return whether every step has each row of a problem once."""
    return batches.size == problem.n and batches.shuffle != "replacement"


def epoch_of(problem: BaseProblem, batches: specs.Batches | None) -> int:
    """Steps in which all rows are seen once."""
    return 1 if batches is None else steps_per_epoch(problem.n, batches.size)
