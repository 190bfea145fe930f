"""What the estimators take from scikit-learn, which the extra ``sklearn`` brings."""

try:
    from scipy.sparse import issparse
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        'accel.sklearn needs scikit-learn 1.6 or later: pip install "implicit-accel[sklearn]"'
    ) from error

__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "ConvergenceWarning",
    "MultiOutputMixin",
    "RegressorMixin",
    "_check_sample_weight",
    "check_array",
    "check_classification_targets",
    "check_is_fitted",
    "check_random_state",
    "issparse",
    "validate_data",
]
