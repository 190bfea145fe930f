"""``LpRegressor``: l_p regression as an estimator of scikit-learn; extra ``sklearn``."""

from accel._support.names import publish
from accel.sklearn.regressor import LpRegressor

__all__ = ["LpRegressor"]

publish(__name__, globals(), __all__)
