"""Losses by name, as a command line or a file has them."""

from accel._support.calls import made
from accel._support.validation import shown
from accel.losses.loss import Loss
from accel.losses.margins import CrossEntropy, Exponential, Logistic
from accel.losses.residuals import Expectile, Huber, LogCosh, Lp, Pinball

__all__ = ["NAMES", "by_name", "checked"]

#: Every loss by its name.
NAMES: dict[str, type[Loss]] = {
    kind.name: kind
    for kind in (Lp, Huber, Pinball, Expectile, LogCosh, Logistic, Exponential, CrossEntropy)
}


def by_name(text: str) -> Loss:
    """Make a loss from its name, with constants in parentheses if there are any.

    Parameters
    ----------
    text : str
        As ``"logistic"``, ``"huber(1.35)"``, ``"lp(3, scale='1/p')"``.

    Returns
    -------
    Loss

    Raises
    ------
    TypeError, ValueError
        If there is no such loss, or its constants are wrong.

    Examples
    --------
    >>> import accel
    >>> accel.losses.by_name("pinball(0.9)")
    Pinball(tau=0.9)
    """
    loss: Loss = made("loss", text, NAMES, "huber(1.35)")
    return loss


def checked(loss: object) -> Loss:
    """Return a loss that is given as a value or by name."""
    if isinstance(loss, str):
        return by_name(loss)
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be of accel.losses, as Huber(1.35), got {shown(loss)}")
    return loss
