r"""The optimisers: small immutable values, a rule and its constants.

All but ``EndToEnd``, ``GroupRMSProp`` and ``Langevin`` act on each factor alone and are defined as
in ``torch.optim``; all are preceded by the paper's weight decay :math:`W_j \leftarrow (1 -
\eta\lambda) W_j`, with learning rate :math:`\eta` and weight decay :math:`\lambda`.

References
----------
Momentum: Polyak (1964). Nesterov's form of it: Sutskever, Martens, Dahl, Hinton (2013). AdaGrad:
Duchi, Hazan, Singer (2011). AdaDelta: Zeiler (2012), arXiv 1212.5701. RMSProp: Tieleman, Hinton
(2012). Adam: Kingma, Ba (2015), arXiv 1412.6980. RMSProp in groups: the code of Arora, Cohen, Hu,
Luo (2019), "Implicit Regularization in Deep Matrix Factorization", arXiv 1905.13655. Langevin's
noise: Roberts, Tweedie (1996), Welling, Teh (2011). The end-to-end rule: Arora, Cohen, Hazan
(2018), "On the Optimization of Deep Networks: Implicit Acceleration by Overparameterization", arXiv
1802.06509, theorem 1 and claim 2.
"""

import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from typing import Any, ClassVar, Self

from accel._support import validation
from accel._support.arrays import Array
from accel._support.keywords import check_keywords
from accel.kernels import specs
from accel.schedules.schedule import LATEST, Schedule, at, number_or_schedule

_SCALES = ("network", "factor")  # what gradients of ``GroupRMSProp`` have one for
_MOST_SEED = 2**53  # a rule's numbers are float64, which holds all integers up to this one

_CHECKS: dict[str, Callable[[str, object], Any]] = {
    **dict.fromkeys(("learning_rate", "weight_decay", "temperature"), number_or_schedule),
    "momentum": partial(number_or_schedule, below=1.0),
    **dict.fromkeys(("rho", "alpha", "beta1", "beta2"), partial(validation.real, least=0, below=1)),
    "eps": partial(validation.real, above=0),
    "depth": lambda _, depth: validation.depth(depth),
    "scale": partial(validation.choice, options=_SCALES),
    "seed": partial(validation.integer, least=0, most=_MOST_SEED),
}


def _program(constant: float | Schedule) -> Array | None:
    return constant.program if isinstance(constant, Schedule) else None


@dataclass(frozen=True)
class Optimizer:
    """What all optimisers share; use one of its subclasses.

    Attributes
    ----------
    name : str
        Short and lower-case, as ``by_name`` takes it.
    learning_rate, weight_decay : float or accel.schedules.Schedule
        At least 0. By a schedule it goes from step to step.
    rotates : bool
        Whether the rule commutes with rotations of the input, which it does if it does not scale
        every entry of the gradient by itself, nor add noise.

    Raises
    ------
    TypeError, ValueError
        If a value is no finite number in its range, nor for a constant that may be scheduled a
        schedule within it; the message names it.
    """

    learning_rate: float | Schedule
    weight_decay: float | Schedule = field(default=0.0, kw_only=True)
    name: ClassVar[str]
    rotates: ClassVar[bool] = True
    _kind: ClassVar[int]
    _a: ClassVar[str] = ""  # names of the fields that the kernels call a and b
    _b: ClassVar[str] = ""

    def __new__(cls, *_: Any, **constants: Any) -> Self:
        check_keywords(cls.__name__, constants, [constant.name for constant in fields(cls)])
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if type(self) is Optimizer:
            raise TypeError(f"Optimizer is no rule of its own, take one of {', '.join(OPTIMIZERS)}")
        for constant in fields(self):
            value = _CHECKS[constant.name](constant.name, getattr(self, constant.name))
            object.__setattr__(self, constant.name, value)

    @property
    def rule(self) -> specs.Rule:
        """The optimiser as the kernels take it."""
        a: float | Schedule = getattr(self, self._a or "", 0.0)
        b, eps = (float(getattr(self, name or "", 0.0)) for name in (self._b, "eps"))
        rate, decay = self.learning_rate, self.weight_decay
        return specs.Rule(
            self._kind,
            (at(rate, 0), at(decay, 0), float(at(a, 0)), b, eps),
            (_program(rate), _program(decay), _program(a)),
        )

    def at(self, step: int) -> Self:
        """Return the rule with its constants as they are at a step, which counts from 0.

        One that has no bound is at most the largest number that there is.

        Raises
        ------
        TypeError, ValueError
            If it is no integer from 0 to 2**53.
        """
        validation.integer("step", step, least=0, most=LATEST)
        scheduled = {
            constant.name: min(value(step), sys.float_info.max)
            for constant in fields(self)
            if isinstance(value := getattr(self, constant.name), Schedule)
        }
        return replace(self, **scheduled) if scheduled else self


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    r"""Plain gradient descent, :math:`W_j \leftarrow W_j - \eta g_j`.

    Parameters
    ----------
    learning_rate : float or Schedule
    weight_decay : float or Schedule, keyword only
    """

    name = "gd"
    _kind = specs.GRADIENT_DESCENT


@dataclass(frozen=True)
class Momentum(Optimizer):
    r"""Heavy ball: :math:`b \leftarrow \mu b + g`, :math:`W \leftarrow W - \eta b`.

    Parameters
    ----------
    learning_rate : float or Schedule
    momentum : float or Schedule
        The :math:`\mu`, in [0, 1).
    weight_decay : float or Schedule, keyword only
    """

    momentum: float | Schedule = 0.9

    name = "momentum"
    _kind = specs.MOMENTUM
    _a = "momentum"


@dataclass(frozen=True)
class Nesterov(Optimizer):
    r"""Nesterov's: :math:`b \leftarrow \mu b + g`, :math:`W \leftarrow W - \eta (g + \mu b)`.

    Parameters
    ----------
    learning_rate : float or Schedule
    momentum : float or Schedule
        The :math:`\mu`, in [0, 1).
    weight_decay : float or Schedule, keyword only
    """

    momentum: float | Schedule = 0.9

    name = "nesterov"
    _kind = specs.NESTEROV
    _a = "momentum"


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    r"""With :math:`s \leftarrow s + g^2`, :math:`W \leftarrow W - \eta g / (\sqrt s + \epsilon)`.

    Parameters
    ----------
    learning_rate : float or Schedule
    eps : float
        Above 0.
    weight_decay : float or Schedule, keyword only
    """

    learning_rate: float | Schedule = 0.01
    eps: float = 1e-10

    name = "adagrad"
    rotates = False
    _kind = specs.ADAGRAD


@dataclass(frozen=True)
class AdaDelta(Optimizer):
    """AdaDelta: steps in the units of the weights, from running means of squares.

    Parameters
    ----------
    learning_rate : float or Schedule
    rho : float
        Decay of the running means, in [0, 1).
    eps : float
        Above 0.
    weight_decay : float or Schedule, keyword only
    """

    learning_rate: float | Schedule = 1.0
    rho: float = 0.9
    eps: float = 1e-6

    name = "adadelta"
    rotates = False
    _kind = specs.ADADELTA
    _a = "rho"


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """RMSProp: the gradient over the root of a running mean of its square.

    Parameters
    ----------
    learning_rate : float or Schedule
    alpha : float
        Decay of the running mean, in [0, 1).
    eps : float
        Above 0.
    weight_decay : float or Schedule, keyword only
    """

    learning_rate: float | Schedule = 0.01
    alpha: float = 0.99
    eps: float = 1e-8

    name = "rmsprop"
    rotates = False
    _kind = specs.RMSPROP
    _a = "alpha"


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, with bias correction.

    Parameters
    ----------
    learning_rate : float or Schedule
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square, in [0, 1).
    eps : float
        Above 0.
    weight_decay : float or Schedule, keyword only
        Decoupled, as in AdamW.
    """

    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    name = "adam"
    rotates = False
    _kind = specs.ADAM
    _a = "beta1"
    _b = "beta2"


@dataclass(frozen=True)
class EndToEnd(Optimizer):
    r"""The end-to-end update rule: what descent on a deep net does to its end-to-end matrix.

    .. math::
        W \leftarrow (1 - \eta\lambda N) W
        - \eta \sum_{j=1}^N [W W^\top]^{(j-1)/N} G \, [W^\top W]^{(N-j)/N}

    It runs on a network of depth 1 and stands for one of depth N.

    Parameters
    ----------
    learning_rate : float or Schedule
    depth : int
        The N, 1 to 10 000; 1 is plain gradient descent.
    weight_decay : float or Schedule, keyword only

    References
    ----------
    Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
    Overparameterization", arXiv 1802.06509, theorem 1.
    """

    depth: int

    name = "end-to-end"
    _kind = specs.END_TO_END
    _a = "depth"


@dataclass(frozen=True)
class GroupRMSProp(Optimizer):
    r"""RMSProp with one scale for many parameters: the gradient over a running mean of its norm.

    With a number s for all factors together, which starts from 0, in step t

    .. math::
        s \leftarrow \alpha s + (1 - \alpha) \sum_j |g_j|^2, \qquad
        W_j \leftarrow W_j - \eta \, \frac{g_j}{\sqrt{s / (1 - \alpha^t)} + \epsilon} .

    So a step goes along the gradient, as plain descent's, and its length is about :math:`\eta`.

    Parameters
    ----------
    learning_rate : float or Schedule
    alpha : float
        Decay of the running mean, in [0, 1).
    eps : float
        Above 0.
    scale : {"network", "factor"}
        Whether all factors share one s, as in the authors' code, or each has its own, made of its
        own gradient.
    weight_decay : float or Schedule, keyword only

    References
    ----------
    ``GroupRMSprop`` in ``opt.py`` of github.com/roosephu/deep_matrix_factorization, the code of
    Arora, Cohen, Hu, Luo (2019), "Implicit Regularization in Deep Matrix Factorization", arXiv
    1905.13655.
    """

    learning_rate: float | Schedule = 0.01
    alpha: float = 0.99
    eps: float = 1e-6
    scale: str = "network"

    name = "group-rmsprop"
    _kind = specs.GROUP_RMSPROP
    _a = "alpha"
    _b = "_by_factor"

    @property
    def _by_factor(self) -> bool:
        return self.scale == "factor"


@dataclass(frozen=True)
class Langevin(Optimizer):
    r"""Descent with Gaussian noise: the Langevin equation in steps of :math:`\eta`.

    .. math::
        W_j \leftarrow (1 - \eta\lambda) W_j - \eta g_j + \sqrt{2 \eta T} \, \xi_j,

    with the temperature T and fresh standard Gaussians :math:`\xi_j` in every step. For small
    :math:`\eta` its iterates come to be distributed with a density proportional to
    :math:`\exp(-L^N / T)`, L^N being the loss with the penalty of the weight decay, if that can be
    integrated; along an eigenvector of the Hessian with eigenvalue h, about a minimum, with the
    variance :math:`T / (h (1 - \eta h / 2))`.

    The noise is a function of the seed and of the step, the same for every number of threads,
    and after a checkpoint. ``backend="auto"`` takes the CPU, unless the data are
    on a GPU.

    Parameters
    ----------
    learning_rate : float or Schedule
    temperature : float or Schedule
        The T, at least 0, in the unit of the loss; 0 is plain gradient descent.
    seed : int
        Of the noise, 0 to 2^53.
    weight_decay : float or Schedule, keyword only

    References
    ----------
    Roberts, Tweedie (1996), "Exponential convergence of Langevin distributions and their discrete
    approximations". Welling, Teh (2011), "Bayesian Learning via Stochastic Gradient Langevin
    Dynamics". The random numbers: Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as
    easy as 1, 2, 3".
    """

    temperature: float | Schedule
    seed: int = 0

    name = "langevin"
    rotates = False
    _kind = specs.LANGEVIN
    _a = "temperature"
    _b = "seed"


#: Every optimiser by its short name.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    cls.name: cls
    for cls in (
        GradientDescent, Momentum, Nesterov, AdaGrad, AdaDelta, RMSProp, Adam, EndToEnd,
        GroupRMSProp, Langevin,
    )
}  # fmt: skip

#: Usual rates of the rules that rescale the gradient, which depend little on the curvature.
USUAL_RATES = {
    "adagrad": 0.1, "adadelta": 1.0, "rmsprop": 0.01, "group-rmsprop": 0.01, "adam": 0.01,
}  # fmt: skip


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def by_name(
    name: str, learning_rate: float | Schedule | None = None, **constants: Any
) -> Optimizer:
    """Make an optimiser from its name.

    Parameters
    ----------
    name : str
        A key of ``OPTIMIZERS`` or a class name; case, dashes and underscores do not matter.
    learning_rate : float or Schedule, optional
        May be left out where the optimiser has a default.
    **constants
        The optimiser's other parameters.

    Returns
    -------
    Optimizer

    Raises
    ------
    TypeError
        If a parameter is unknown, missing or no number.
    ValueError
        If the name is unknown or a value is out of range.

    Examples
    --------
    >>> from accel._core.optimizers import by_name
    >>> by_name("adam", 0.01, beta1=0.8)
    Adam(learning_rate=0.01, weight_decay=0.0, beta1=0.8, beta2=0.999, eps=1e-08)
    """
    if not isinstance(name, str):
        raise TypeError(f"optimizer must be a name, got {validation.shown(name)}")
    plain = {_plain(key): cls for cls in OPTIMIZERS.values() for key in (cls.name, cls.__name__)}
    cls = plain.get(_plain(name))
    if cls is None:
        validation.unknown("optimizer", name, list(OPTIMIZERS))
    if learning_rate is not None:
        constants["learning_rate"] = learning_rate
    known = {constant.name: constant.default is MISSING for constant in fields(cls)}
    for name in constants.keys() - known.keys():
        raise TypeError(f"{cls.name} has no parameter {name!r}, only {', '.join(known)}")
    for name in [name for name, needed in known.items() if needed and name not in constants]:
        raise TypeError(f"{cls.name} needs a value for {name}")
    return cls(**constants)
