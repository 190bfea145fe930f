"""``LinearClassifier``: classification by a loss of labels. Needs the extra ``sklearn``."""

from contextlib import suppress
from typing import Any, Self

import numpy as np

from accel._support.arrays import Array
from accel.losses import CrossEntropy, Loss
from accel.losses.margins import log_probabilities
from accel.sklearn import checks
from accel.sklearn.extra import ClassifierMixin, check_classification_targets, validate_data
from accel.sklearn.linear import LinearModel

__all__ = ["LinearClassifier"]


class LinearClassifier(ClassifierMixin, LinearModel):  # type: ignore[misc]
    r"""A linear classifier that minimises the mean of a loss of labels, without a penalty.

    Parameters
    ----------
    loss : accel.losses.Loss or str, default=None
        ``Logistic()`` or ``Exponential()`` for two classes, ``CrossEntropy()`` for two or more, or
        the name of one; the cross-entropy by default. That of two classes is the logistic loss of
        the difference of their outputs.
    solver, depth, width, optimizer, learning_rate, fit_intercept, standardize, max_iter, tol
        As for ``LinearFit``.
    weight_decay : float, default=0.0
        As for ``LinearFit``; the intercept decays as well.
    random_state, backend, verbose
        As for ``LinearFit``.

    Attributes
    ----------
    classes_ : (k,) array
        The labels, sorted.
    coef_ : (1, d) or (k, d) array
        Of two classes for the second one; of the dtype of X, in the units of the user.
    intercept_ : (1,) or (k,) array
        Zeros without ``fit_intercept``.
    status_ : {"converged", "separable", "completed", "saddle", "diverged"}
        As for ``LinearFit``; and ``"separable"`` where the loss has no minimum, since a map
        separates all labels, or some and leaves no other on a wrong side: from wherever one is, the
        loss falls for ever along it. ``coef_`` is finite, and separates what can be separated, but
        neither its size nor the probabilities mean much. Newton's method looks for both cases;
        descent, without weight decay, knows only whether its own map separates all labels. All but
        the first come with a ConvergenceWarning.
    n_iter_, history_, dual_gap_, learning_rate_, solver_, n_features_in_, feature_names_in_
        As for ``LinearFit``. ``dual_gap_`` is how far the loss of the fit is above its infimum,
        where labels can be separated.

    Notes
    -----
    There are no sample weights.

    References
    ----------
    Friedman, Hastie, Tibshirani (2000), "Additive Logistic Regression: A Statistical View of
    Boosting", Annals of Statistics 28: the probabilities that the exponential loss stands for.
    Albert and Anderson (1984), "On the Existence of Maximum Likelihood Estimates in Logistic
    Regression Models", Biometrika 71: separable labels.

    Examples
    --------
    >>> from accel.sklearn import LinearClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
    >>> model = LinearClassifier("logistic").fit(X, y)
    >>> model.predict([[0.5], [2.5]])
    array(['no', 'yes'], dtype='<U3')
    """

    _usual = "cross-entropy"
    _classifies = True

    def __sklearn_tags__(self) -> Any:
        """Say, as scikit-learn asks, that some losses are of two classes."""
        tags = super().__sklearn_tags__()
        with suppress(TypeError, ValueError):  # ``fit`` refuses a loss that is none
            tags.classifier_tags.multi_class = isinstance(self._checked_loss(), CrossEntropy)
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : (n, d) array_like
        y : (n,) array_like
            Labels of any kind: numbers, text or truth values; two different ones at least.

        Returns
        -------
        LinearClassifier
            Itself. With a ConvergenceWarning if labels can be separated, if ``tol`` was not reached
            or the run diverged, and NumPy's RankWarning as ``LinearFit``.

        Raises
        ------
        TypeError, ValueError
            If a parameter is of the wrong kind or out of range, or the data is not; if the loss is
            of another number of classes.
        """
        loss = self._checked_loss()
        self._check_options()
        checks.require_numbers("X", X)
        X, y = validate_data(self, X, y, dtype=checks.FLOATS)
        check_classification_targets(y)
        classes, index = np.unique(y, return_inverse=True)
        loss = _of_classes(loss, len(classes))
        pairs = not isinstance(loss, CrossEntropy)
        coef, intercept = self._fitted(X, (2 * index - 1 if pairs else index).astype(X.dtype), loss)
        if len(coef) == 2:
            coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
        self.classes_, self.coef_, self.intercept_ = classes, coef, intercept
        self._log_odds = getattr(loss, "log_odds", 1.0)
        return self

    def decision_function(self, X: Any) -> Array:
        """Return the outputs.

        Parameters
        ----------
        X : (m, d) array_like

        Returns
        -------
        (m,) or (m, k) array
            Of two classes the output for the second one, which is predicted where it is above 0;
            of more an output each, whose largest one is predicted.
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict(self, X: Any) -> Array:
        """Predict labels.

        Parameters
        ----------
        X : (m, d) array_like

        Returns
        -------
        (m,) array
        """
        outputs = self.decision_function(X)
        index = (outputs > 0).astype(int) if outputs.ndim == 1 else outputs.argmax(axis=1)
        labels: Array = self.classes_[index]
        return labels

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of ``predict_proba``, accurate for the smallest ones, too.

        Parameters
        ----------
        X : (m, d) array_like

        Returns
        -------
        (m, k) array
        """
        return log_probabilities(self._outputs(X), self._log_odds)

    def predict_proba(self, X: Any) -> Array:
        r"""Return probabilities of the classes.

        The logistic loss and the cross-entropy are likelihoods, of :math:`1 / (1 + e^{-m})` for the
        output m of two classes and of the soft-max of more. The exponential loss is none, but the m
        that minimises its expected value is half of the log-odds, so that the probability is
        :math:`1 / (1 + e^{-2m})`, as AdaBoost takes it.

        Parameters
        ----------
        X : (m, d) array_like

        Returns
        -------
        (m, k) array
            In the order of ``classes_``.
        """
        chances: Array = np.exp(self.predict_log_proba(X))
        return chances


def _of_classes(loss: Loss, count: int) -> Loss:
    """The loss of so many classes.

    Raises
    ------
    ValueError
        If it is of another number.
    """
    if count < 2:
        raise ValueError(f"y must hold labels of two classes at least, got {count} class")
    if not isinstance(loss, CrossEntropy):
        if count > 2:  # scikit-learn's checks look for the words "Only binary classification"
            raise ValueError(
                f"Only binary classification is supported by {loss!r}, got {count} classes: "
                "take CrossEntropy()"
            )
        return loss
    if loss.classes not in (None, count):
        raise ValueError(f"y must hold {loss.classes} classes for {loss!r}, got {count}")
    return CrossEntropy(count)
