"""``LinearFit``: linear regression by any loss of residuals. Needs the extra ``sklearn``."""

from typing import Any, Self

from accel._support.arrays import Array
from accel.sklearn import checks
from accel.sklearn.extra import MultiOutputMixin, RegressorMixin, check_array, validate_data
from accel.sklearn.linear import LinearModel

__all__ = ["LinearFit"]


class LinearFit(MultiOutputMixin, RegressorMixin, LinearModel):  # type: ignore[misc]
    r"""Linear regression that minimises the mean of a loss of the residuals ``X w + b - y``.

    Parameters
    ----------
    loss : accel.losses.Loss or str, default=None
        ``Lp``, ``Huber``, ``Pinball``, ``Expectile`` or ``LogCosh`` of ``accel.losses``, or its
        name, such as ``"huber(1.35)"``; the square, ``Lp(2)``, by default, since its minimum does
        not depend on the units of y. Huber's delta is in those units, and log-cosh bends at
        residuals of 1. For l_p see ``LpRegressor``, too, which scales y and bounds its gap in the
        units of the user.
    solver : {"auto", "newton", "gradient"}, default="auto"
        ``"newton"``: Newton's or an interior point method with a duality gap that proves the
        minimum (``accel.optimum``). ``"gradient"``: full-batch steps of ``optimizer`` on the
        factors of a linear network (``accel.train``). ``"auto"``: the former for at most 1000
        features or samples (times classes, for the cross-entropy) and for losses without a smooth
        slope, as the pinball loss; ``"gradient"`` else, and with weight decay.
    depth : int, default=1
        Factors of the network. This and all down to ``weight_decay`` is for ``"gradient"`` only.
        The minimum does not depend on it; the way there does.
    width : int, default=None
        Of every hidden layer; by default the least that can represent every map, min(d, k). A
        smaller one bounds the rank of ``coef_`` and ``intercept_`` together.
    optimizer : str, default="momentum"
        ``"gd"``, ``"momentum"``, ``"nesterov"``, ``"adagrad"``, ``"adadelta"``, ``"rmsprop"`` or
        ``"adam"``, with their usual constants.
    learning_rate : float or "auto", default="auto"
        ``"auto"``: one over the largest curvature along the start of the run, from where it
        follows the loss as in ``accel.train``.
    weight_decay : float, default=0.0
        Adds half of this times the squares of all factors to the loss, in the units of the fit.
        ``LinearFit`` spares the intercept; ``LinearClassifier`` does not.
    fit_intercept : bool, default=True
    standardize : bool, default=True
        Fit in units in which features have mean 0 (only with an intercept) and variance 1. Targets
        are not rescaled, since losses have numbers in the units of y; their median is subtracted
        where there is an intercept.
    max_iter : int, default=None
        Newton steps for each output (200), or gradient steps (10 000).
    tol : float, default=1e-8
        Above 0. Newton's method ends at a duality gap of this times the loss (see
        ``accel.optimum``), descent where the gradient is this times the gradient at 0; with
        ``weight_decay``, or ``width`` below min(d, k), it is the gradient with respect to the
        factors, decay included. Where a rule that rescales the gradient decays, it ends where the
        loss has come to rest, as in ``LpRegressor``.
    random_state : int, RandomState instance or None, default=None
        Of the factors at the start, as for ``LpRegressor``. Nothing is random at depth 1.
    backend : {"auto", "cpu", "cuda", "reference"}, default="auto"
        As for ``accel.train``.
    verbose : bool or int, default=False
        Whether to tell on stderr how it goes.

    Attributes
    ----------
    coef_ : (d,) or (k, d) array
        Of the dtype of X, in the units of the user.
    intercept_ : float or (k,) array
        0.0 without ``fit_intercept``.
    n_iter_ : int
        Newton steps over all outputs, at least 1; or gradient steps.
    history_ : accel.History
        In the units of the fit. One record, the last, for Newton's method.
    status_ : {"converged", "completed", "saddle", "diverged"}
        How the fit ended: at the tolerance; after ``max_iter`` steps, or where rounding errors
        leave no more to gain; where the factors are caught, at a saddle or a local minimum that
        weight decay makes; or diverged. All but the first come with a ConvergenceWarning.
    dual_gap_ : float
        How far the loss of the fit is above its minimum at most, as of ``accel.optimum``; the
        rounding of ``coef_`` and ``intercept_`` is no part of it. Nan for descent.
    learning_rate_ : float
        Of the last steps. Nan for Newton's method.
    solver_ : str
        What ``"auto"`` chose.
    n_features_in_ : int
    feature_names_in_ : (d,) array of str
        Where X has feature names.

    Notes
    -----
    float32 data is fitted in float32 by descent, in float64 by
    Newton's method.

    Examples
    --------
    >>> from accel.sklearn import LinearFit
    >>> model = LinearFit("huber(0.1)").fit([[0.0], [1.0], [2.0], [3.0], [4.0]], [1, 3, 5, 7, 99])
    >>> model.predict([[5.0]]).round(1)
    array([11.2])
    """

    _usual = "lp(2)"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : (n, d) array_like
        y : (n,) or (n, k) array_like
        sample_weight : float or (n,) array_like, optional
            At least 0. A sample of weight s counts as s samples. For ``Huber`` and ``LogCosh``,
            which do not scale with the residual, rows are repeated: weights are integers, or whole
            multiples of the smallest one above 0 or of a part of that, down to a hundredth.

        Returns
        -------
        LinearFit
            Itself. With a ConvergenceWarning if ``tol`` was not reached or the run diverged, and
            NumPy's RankWarning if rounding errors of X decide about its rank, or samples far out
            hide the others.

        Raises
        ------
        TypeError, ValueError
            If a parameter is of the wrong kind or out of range, or the data is not.
        """
        loss = self._checked_loss()
        self._check_options()
        for name, given in (("X", X), ("y", y), ("sample_weight", sample_weight)):
            checks.require_numbers(name, given)
        X, y = validate_data(self, X, y, dtype=checks.FLOATS, multi_output=True, y_numeric=True)
        y = check_array(y, dtype=X.dtype, ensure_2d=False, input_name="y")
        Y, weight = y.reshape(len(y), -1), None
        if (weighted := checks.checked_weight(sample_weight, X)) is not None:
            kept, weight = weighted
            X, Y = X[kept], Y[kept]
            if loss.degree is None:
                rows = checks.repeated(loss, weight, X.shape[1])
                X, Y, weight = X[rows], Y[rows], None
        coef, intercept = self._fitted(X, Y, loss, weight)
        self.coef_ = coef if y.ndim == 2 else coef[0]
        self.intercept_ = (
            (intercept if y.ndim == 2 else intercept[0]) if self.fit_intercept else 0.0
        )
        return self

    def predict(self, X: Any) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : (m, d) array_like

        Returns
        -------
        (m,) or (m, k) array
            With as many dimensions as the y of the fit.
        """
        return self._outputs(X)
