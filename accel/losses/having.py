"""What has a loss, and for a power of the residual its p and its scale: problems and results."""

from accel.losses.loss import Loss
from accel.losses.residuals import Lp

__all__ = ["HasLoss"]


class HasLoss:
    """Something with the attribute ``loss_function``."""

    loss_function: Loss

    @property
    def p(self) -> float:
        """The power of the residual; only with the loss ``Lp``."""
        return self._power.p

    @property
    def scale(self) -> str:
        """``"mean"`` or ``"1/p"``; only with the loss ``Lp``."""
        return self._power.scale

    @property
    def _power(self) -> Lp:
        if not isinstance(self.loss_function, Lp):
            name = type(self).__name__
            raise AttributeError(f"a {name} with the loss {self.loss_function!r} has no p")
        return self.loss_function
