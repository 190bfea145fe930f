"""What a trained model predicts, in the user's units where they are known."""

from typing import Any

import numpy as np

from accel._core.network import Network
from accel._core.scaling import Scaling
from accel._support.arrays import Array
from accel.losses import Loss
from accel.losses.margins import CrossEntropy, log_probabilities

__all__ = ["Predicts"]


class Predicts:
    """Predictions and coefficients of a linear map, which is what its network multiplies to.

    Of a problem that was made of a ``Standardized``, a data set or a data frame all are in the
    units of the user: ``scaling`` knows them. Without a ``scaling`` they are in the units of the
    arrays that the problem was made of, whatever these were: to arrays that were standardised
    belong samples that are standardised by the same means and scales.
    """

    network: Network
    loss_function: Loss
    scaling: Scaling | None

    def coefficients(self) -> tuple[Array, Array]:
        """Coefficients and intercept: the outputs are ``X @ coef.T + intercept``.

        Returns
        -------
        coef : (d,) or (k, d) float64 array
            (k, d) where y had two dimensions, and for the cross-entropy.
        intercept : float64 array, 0-D or (k,)
            Zeros without a ``scaling``.
        """
        W = self.network.end_to_end()
        if self.scaling is not None:
            return self.scaling.coefficients(W)
        coef = W.astype(np.float64)
        return (coef[0] if len(coef) == 1 else coef), np.zeros(() if len(coef) == 1 else len(coef))

    def decision_function(self, X: Any) -> Array:
        """Return the outputs of the map.

        Parameters
        ----------
        X : (m, d) array_like, or data frame of pandas or Polars
            In the units of the user, see above. Where the columns of the data had names, those of a
            frame are found by their names, in any order, and others are left out.

        Returns
        -------
        (m,) or (m, k) array
            Of a loss of residuals what ``predict`` returns. Of two classes the margin, which is
            above 0 for the label +1; of the cross-entropy an output a class, the largest for the
            one that is predicted.

        Raises
        ------
        TypeError, ValueError
            If X has the wrong shape, is not finite or holds no real numbers, if columns are
            missing, or if X is the standardised X itself.
        """
        if self.scaling is None:
            return self.network.predict(X)
        return self.scaling.predict(self.network.end_to_end(), X)

    def predict(self, X: Any) -> Array:
        """Predict targets, in the units of y; or labels, for a loss of labels.

        Parameters and errors are those of ``decision_function``.

        Returns
        -------
        (m,) or (m, k) array
            Labels are integers: -1 and +1, or for the cross-entropy the number of the class.
        """
        outputs = self.decision_function(X)
        if not self.loss_function.classifies:
            return outputs
        if isinstance(self.loss_function, CrossEntropy):
            labels: Array = outputs.argmax(axis=1)
            return labels
        return 2 * (outputs.reshape(len(outputs)) > 0) - 1

    def predict_proba(self, X: Any) -> Array:
        r"""Return probabilities of the labels, for a loss of labels.

        They are :math:`1 / (1 + e^{-m})` of the margin m for the logistic loss, the soft-max for
        the cross-entropy; the exponential loss is no likelihood, but its m estimates half of the
        log-odds, so that it is :math:`1 / (1 + e^{-2m})` (Friedman, Hastie, Tibshirani, 2000).

        Parameters and errors are those of ``decision_function``.

        Returns
        -------
        (m, k) array
            Of -1 and +1, or of the classes 0, 1, ...

        Raises
        ------
        ValueError
            Also if the loss is one of residuals.
        """
        if not self.loss_function.classifies:
            raise ValueError(
                f"predict_proba is for losses of labels, the logistic one, the exponential one and "
                f"the cross-entropy, got a model of {self.loss_function!r}"
            )
        outputs = self.decision_function(X)
        odds = getattr(self.loss_function, "log_odds", 1.0)
        chances: Array = np.exp(log_probabilities(outputs.reshape(len(outputs), -1), odds))
        return chances
