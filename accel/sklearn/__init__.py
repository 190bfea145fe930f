"""Estimators of scikit-learn: ``LpRegressor``, and of any loss ``LinearFit``, ``LinearClassifier``.

They need the extra ``sklearn``.
"""

from accel._support.names import publish
from accel.sklearn.classifier import LinearClassifier
from accel.sklearn.linear_fit import LinearFit
from accel.sklearn.regressor import LpRegressor

__all__ = ["LinearClassifier", "LinearFit", "LpRegressor"]

publish(__name__, globals(), __all__)
