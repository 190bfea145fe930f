"""The losses of a linear map: what ``accel.Problem(X, y, loss=...)`` takes.

A loss is a small value, such as ``Huber(1.35)``, that says what one sample costs; a problem takes
the mean over its samples, and the sum over its outputs. Each has the prediction m, the target y and
the residual ``r = m - y``, or for labels of -1 and +1 the margin ``z = y m``.
"""

from accel._support.names import publish
from accel.losses.loss import Loss
from accel.losses.margins import CrossEntropy, Exponential, Logistic
from accel.losses.naming import NAMES, by_name
from accel.losses.residuals import Expectile, Huber, LogCosh, Lp, Pinball

__all__ = [
    "NAMES",
    "CrossEntropy",
    "Expectile",
    "Exponential",
    "Huber",
    "LogCosh",
    "Logistic",
    "Loss",
    "Lp",
    "Pinball",
    "by_name",
]

publish(__name__, globals(), __all__)
