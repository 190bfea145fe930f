"""Losses of the residual: powers, robust losses, quantiles and expectiles."""

from dataclasses import dataclass

from accel._support import validation
from accel.kernels import specs
from accel.losses.loss import Loss

__all__ = ["Expectile", "Huber", "LogCosh", "Lp", "Pinball"]


@dataclass(frozen=True)
class Lp(Loss):
    r"""A power of the residual, :math:`f |r|^p`.

    Parameters
    ----------
    p : float
        At least 1.
    scale : {"mean", "1/p"}
        ``"mean"`` is f = 1, the loss of the paper's figures; ``"1/p"`` is f = 1/p, that of its
        text.

    Raises
    ------
    TypeError, ValueError
        If p is no number of at least 1, or scale is unknown.

    References
    ----------
    Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
    Overparameterization", arXiv 1802.06509, section 3.
    """

    p: float = 4.0
    scale: str = "mean"

    name = "lp"

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", validation.real("p", self.p, least=1))
        validation.choice("scale", self.scale, ("mean", "1/p"))

    @property
    def factor(self) -> float:
        """The f: 1, or 1/p."""
        return 1.0 if self.scale == "mean" else 1.0 / self.p

    @property
    def spec(self) -> specs.Loss:
        """The loss as the kernels take it, of a pass over the data."""
        return specs.Loss(self.p, self.factor)

    @property
    def quadratic(self) -> bool:
        """Whether p is 2."""
        return self.p == 2

    @property
    def degree(self) -> float:
        """The p."""
        return self.p

    @property
    def smoothness(self) -> int:
        """0 for p = 1, 2 from p = 2 on."""
        return 0 if self.p == 1 else 1 if self.p < 2 else 2

    @property
    def smooth(self) -> Loss:
        """For p < 2, whose curvature is infinite at 0, the loss with p = 2."""
        return self if self.p >= 2 else Lp(2.0, self.scale)


class _HalfSquare(Loss):
    """What losses between the square and the absolute value share: whose curvature is the scale."""

    @property
    def smooth(self) -> Loss:
        """Half of the square, which bends as much near 0 as Huber's loss and log-cosh do.

        Pinball has no curvature; half of the square is of its size near 1.
        """
        return Expectile(0.5)


@dataclass(frozen=True)
class Huber(_HalfSquare):
    r"""Huber's loss: :math:`r^2/2` for :math:`|r| \le \delta`, else :math:`\delta(|r| - \delta/2)`.

    Parameters
    ----------
    delta : float
        Above 0, in the units of y. Larger residuals pull with this force only.

    Raises
    ------
    TypeError, ValueError
        If delta is no number above 0.

    References
    ----------
    Huber (1964), "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35.
    """

    delta: float = 1.35

    name = "huber"
    _number = "delta"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", validation.real("delta", self.delta, above=0))


@dataclass(frozen=True)
class _Asymmetric(Loss):
    """What the losses of quantiles and expectiles share: tau."""

    tau: float = 0.5

    _number = "tau"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tau", validation.real("tau", self.tau, above=0, below=1))


@dataclass(frozen=True)
class Pinball(_HalfSquare, _Asymmetric):
    r"""The loss of quantile regression: :math:`\tau (y - m)` for y > m, else (1 - tau) (m - y).

    Parameters
    ----------
    tau : float
        The quantile, between 0 and 1; 0.5 is half of the absolute residual.

    Raises
    ------
    TypeError, ValueError
        If tau is no number above 0 and below 1.

    References
    ----------
    Koenker, Bassett (1978), "Regression Quantiles", Econometrica 46.
    """

    name = "pinball"

    @property
    def smoothness(self) -> int:
        """0, for the kink at r = 0."""
        return 0

    @property
    def degree(self) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class Expectile(_Asymmetric):
    r"""Asymmetric squares: :math:`\tau (y - m)^2` for y > m, else :math:`(1 - \tau) (m - y)^2`.

    Parameters
    ----------
    tau : float
        The expectile, between 0 and 1; 0.5 is half of the squared residual.

    Raises
    ------
    TypeError, ValueError
        If tau is no number above 0 and below 1.

    References
    ----------
    Newey, Powell (1987), "Asymmetric Least Squares Estimation and Testing", Econometrica 55.
    """

    name = "expectile"

    @property
    def degree(self) -> float:
        """2."""
        return 2.0


@dataclass(frozen=True)
class LogCosh(_HalfSquare):
    r"""The logarithm of the hyperbolic cosine, :math:`\log \cosh r`: a smooth absolute value."""

    name = "logcosh"
