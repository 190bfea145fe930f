"""``LpRegressor``: l_p regression as a scikit-learn estimator. Needs the extra ``sklearn``."""

import warnings
from dataclasses import replace
from typing import Any, Self

import numpy as np

from accel._core.network import LinearNetwork
from accel._core.optimizers import EndToEnd, Optimizer, by_name
from accel._runs.checks import RunOptions
from accel._support import validation
from accel._support.arrays import Array
from accel.sklearn import checks, fitting, sparse_fit, starts
from accel.sklearn.descent import descend
from accel.sklearn.extra import (
    BaseEstimator,
    ConvergenceWarning,
    MultiOutputMixin,
    RegressorMixin,
    check_array,
    check_is_fitted,
    issparse,
    validate_data,
)
from accel.sklearn.fitting import Fit
from accel.sklearn.penalised import Penalties, penalised, with_user_gap
from accel.sklearn.scaled_problem import ScaledProblem, require_range
from accel.sklearn.sparse_fit import SparseProblem, fit_sparse

__all__ = ["LpRegressor"]

_SOLVERS = ("auto", "newton", "gradient", "end_to_end")
_SMALL = checks.SMALL


class LpRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Linear regression that minimises the mean of :math:`|X w + b - y|^p`, for any real p >= 1.

    With penalties, of every output by itself:

    .. math:: \frac{1}{\sum_i s_i} \sum_i s_i |x_i w + b - y_i|^p + l_1 \sum_j |w_j|
        + \frac{l_2}{2} \sum_j w_j^2, \qquad w \ge 0 \text{ if } \mathrm{nonnegative}.

    Parameters
    ----------
    p : float, default=4.0
        1 for least absolute deviations, 2 for least squares; the larger, the more the largest
        residuals count.
    l1, l2 : float, default=0.0
        Penalties of the coefficients in the units of the user, whatever ``standardize`` is; the
        intercept is spared. ``l1`` makes coefficients 0. At p = 2, scikit-learn's ``Lasso(alpha)``
        is ``l1 = 2 alpha``, ``Ridge(alpha)`` is ``l2 = 2 alpha / n``, ``ElasticNet(alpha,
        l1_ratio)`` is ``l1 = 2 alpha l1_ratio`` with ``l2 = 2 alpha (1 - l1_ratio)``. For Newton's
        method, and for an X that stays sparse.
    nonnegative : bool, default=False
        Whether coefficients must not be below 0; the intercept may be. For what takes ``l1``.
    solver : {"auto", "newton", "gradient", "end_to_end"}, default="auto"
        ``"newton"``: damped Newton's method with a duality gap that proves the minimum, for p < 2
        on a loss whose smoothing goes to 0 (``accel.optimum``); memory for about three copies of X.
        With penalties or ``nonnegative`` an interior point method, each step of which solves a
        system of min(n, d) unknowns, or of d up to 1500, and for p >= 2 Newton's method on the
        coefficients that are not 0.
        ``"gradient"``: full-batch steps of ``optimizer`` on the factors of a linear network
        (``accel.train``). ``"end_to_end"``: the rule that a network of ``depth`` follows, without
        the factors (``accel.EndToEnd``). ``"auto"``: Newton's method for at most 1000 features or
        samples, for p < 2, with penalties and with ``nonnegative``; ``"gradient"`` else, and with
        weight decay. A sparse X of more than 2^24 numbers, zeros included, stays sparse for
        ``"auto"`` at p > 1 and for ``"gradient"``, without a network: L-BFGS on products with it,
        whatever ``optimizer``, ``learning_rate`` and ``standardize`` are, with no proof; penalties
        and ``nonnegative`` included, which ``"gradient"`` takes for such an X only. Everything
        else, as p = 1 and ``"newton"``, makes it dense, if there is the memory.
    depth : int, default=1
        Factors of the network. This and all down to ``weight_decay`` is for the first-order solvers
        only. The minimum does not depend on it; the way there does.
    width : int, default=None
        Of every hidden layer; by default the least that can represent every map, min(d, k). A
        smaller one bounds the rank of ``coef_`` and ``intercept_`` together.
    optimizer : str, default="momentum"
        ``"gd"``, ``"momentum"``, ``"nesterov"``, ``"adagrad"``, ``"adadelta"``, ``"rmsprop"``,
        ``"group-rmsprop"`` or ``"adam"``, with their usual constants. Not for ``"end_to_end"``.
    learning_rate : float or "auto", default="auto"
        ``"auto"``: one over the largest curvature along the start of the run, from where
        it follows the loss as in ``accel.train``, at least eight times anew; a usual one for rules
        that rescale the gradient.
    weight_decay : float, default=0.0
        Adds half of this times the squares of all factors to the loss, in the units of the fit; the
        intercept is spared. Rules that rescale the gradient apply it apart from the loss. From
        depth 3 on it makes a local minimum of a map of zeros, where fits may be caught.
    fit_intercept : bool, default=True
        Exact for every p: the best there is for the coefficients, even where those did not
        converge.
    standardize : bool, default=True
        Fit in units in which features and targets have variance 1. For p < 2, where rows far away
        count little, the median distance from the middle (the median; of the targets the best
        constant for this p) is 1 instead where the standard deviation is above 1000 times the
        median absolute deviation. The minimum stays the same; first-order solvers reach it sooner,
        and of many minimisers that of least norm is another.
    max_iter : int, default=None
        Newton steps for each output (200), or gradient steps (10 000).
    tol : float, default=1e-8
        Above 0. Newton's method ends at a duality gap of this times the loss (for p < 2 without
        what rows far away add to it, see ``accel.optimum``; where it interpolates up to rounding
        errors, times the loss at 0, and ``dual_gap_`` may be as large as the loss), the others
        where the gradient is this times the gradient at 0 and, for p > 2, this times what residuals
        of that size could make it, or down at the rounding errors of the dtype; for ``width`` below
        min(d, k) or with ``weight_decay`` it is the gradient with respect to the factors, decay
        included.
        ``"adagrad"``, ``"rmsprop"``, ``"group-rmsprop"`` and ``"adam"`` have none that vanishes
        with decay, which acts apart from it: they end where the loss has not fallen by this share
        for 400 steps.
    rcond : float, default=None
        For Newton's method; descent hardly moves where X is nearly 0, so needs none. Combinations
        of features, after centring, are not used if they are below this part of the features' size,
        or if the rounding of the features to 15 digits (float32: to its 24 bits) before centring
        could be all that they are. By default 1e-12 (float32: 4.8e-7). ``accel.optimum`` defines
        it exactly.
    warm_start : bool, default=False
        Begin where the fit before ended; Newton's method always begins at least squares.
    random_state : int, RandomState instance or None, default=None
        Of the factors at the start, a random map near 0 that leads downhill. With None they go
        straight downhill, the same in every fit. Nothing is random at depth 1.
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
        In the units of the fit, the intercept a weight like others. One record, the last, for
        Newton's method; with penalties they are part of its loss, and the gradient is nan.
    dual_gap_ : float
        A proof by Newton's method: the mean of ``|X coef_ + intercept_ - y|^p``, weighted by
        ``sample_weight`` and summed over the outputs, is no more than this above its minimum. In
        the units of the user, and all rounding errors are part of it: of the units of the fit, of
        ``coef_`` and ``intercept_`` to the dtype of X, and of such a mean in float64. With
        penalties it is about the mean and the penalties. (With ``nonnegative`` alone, where columns
        make up for each other, as those of all classes and an intercept, the minimum is that among
        coefficients up to a million times as large as these.) Nan for other solvers.
    rank_ : int or None
        Of X, centred if there is an intercept, as ``rcond`` has it. None for other solvers, and
        with penalties or ``nonnegative``, for which ``rcond`` plays no part.
    singular_ : (min(n, d),) array or None
        Singular values of X in the units of the fit, centred if there is an intercept. None for
        other solvers and where ``rank_`` is.
    learning_rate_ : float
        Of the last steps. Nan for Newton's method.
    solver_ : str
        What ``"auto"`` chose.
    status_ : {"converged", "completed", "saddle", "diverged"}
        How the fit ended: at the tolerance; after ``max_iter`` steps, or where ``dual_gap_`` proves
        far less than ``tol`` asks for, with penalties; where the factors are caught,
        at a saddle or a local minimum that weight decay makes; or diverged. All but the first come
        with a ConvergenceWarning.
    n_features_in_ : int
    feature_names_in_ : (d,) array of str
        Where X has feature names.

    Notes
    -----
    float32 data is fitted in float32 by the first-order solvers, in float64 by Newton's method.
    Several outputs are fitted as if alone, but for the factors that they share at depth 2 or more.

    References
    ----------
    Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
    Overparameterization", arXiv 1802.06509. Tibshirani (1996), "Regression Shrinkage and Selection
    via the Lasso", Journal of the Royal Statistical Society B 58.

    Examples
    --------
    >>> from accel.sklearn import LpRegressor
    >>> model = LpRegressor(p=1).fit([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 99.0, 7.0])
    >>> model.coef_.round(6), float(model.intercept_.round(6))
    (array([2.]), 1.0)
    """

    def __init__(
        self,
        p: float = 4.0,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        nonnegative: bool = False,
        solver: str = "auto",
        depth: int = 1,
        width: int | None = None,
        optimizer: str = "momentum",
        learning_rate: float | str = "auto",
        weight_decay: float = 0.0,
        fit_intercept: bool = True,
        standardize: bool = True,
        max_iter: int | None = None,
        tol: float = 1e-8,
        rcond: float | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        backend: str = "auto",
        verbose: bool | int = False,
    ) -> None:
        self.p = p
        self.l1 = l1
        self.l2 = l2
        self.nonnegative = nonnegative
        self.solver = solver
        self.depth = depth
        self.width = width
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.max_iter = max_iter
        self.tol = tol
        self.rcond = rcond
        self.warm_start = warm_start
        self.random_state = random_state
        self.backend = backend
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : (n, d) array_like, or sparse matrix or array of SciPy by rows or by columns
            A sparse one is made dense if that has at most 2^24 numbers, and where the solver needs
            it: see ``solver``.
        y : (n,) or (n, k) array_like
        sample_weight : float or (n,) array_like, optional
            At least 0. A sample of weight s counts as s samples, also for p other than 2.

        Returns
        -------
        LpRegressor
            Itself. With a ConvergenceWarning if ``tol`` was not reached or the run diverged, and
            NumPy's RankWarning if rounding errors of X decide about its rank, or samples far out
            hide the others. Features that are exactly dependent, as where there are more than
            samples, are no cause for one.

        Raises
        ------
        TypeError, ValueError
            If a parameter is of the wrong kind or out of range, or the data is not.
        MemoryError
            If a sparse X has to be dense, and the machine has no memory for that.
        """
        optimizer = self._check_parameters()
        for name, given in (("X", X), ("y", y), ("sample_weight", sample_weight)):
            checks.require_numbers(name, given)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=("csr", "csc"),
            dtype=checks.FLOATS,
            multi_output=True,
            y_numeric=True,
        )
        y = check_array(y, dtype=X.dtype, ensure_2d=False, input_name="y")
        Y, weight = y.reshape(len(y), -1), None
        if (weighted := checks.checked_weight(sample_weight, X)) is not None:
            kept, weight = weighted
            X, Y = X[kept], Y[kept]
        if issparse(X) and self._stays_sparse(X):
            return self._fitted("gradient", *self._fit_sparse(X, Y, weight), y.ndim == 1)
        if self.solver == "gradient":
            self._refuse_penalties("solver='gradient'", "take solver='newton'")
        if issparse(X):
            X = sparse_fit.dense(X)
        scaled = ScaledProblem.of(
            X, Y, weight, float(self.p), intercept=self.fit_intercept, scale=self.standardize
        )
        solver = self._choose_solver(*X.shape)
        require_range(scaled.problem, descent=solver != "newton", scaled=self.standardize)
        fit = self._solve(solver, scaled, X, optimizer)
        coef, intercept = scaled.to_user(fit.W)
        data = (X, Y, weight)
        if fit.proof is not None:
            gap = fitting.user_gap(scaled, fit.proof, *data, coef, intercept, self.backend)
            fit = replace(fit, dual_gap=gap)
        elif fit.slopes is not None:
            fitted = (coef, intercept)
            fit = with_user_gap(fit, scaled, self._penalties(), data, fitted, self.backend)
        return self._fitted(solver, fit, coef, intercept, y.ndim == 1)

    def predict(self, X: Any) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : (m, d) array_like, or sparse matrix or array of SciPy

        Returns
        -------
        (m,) or (m, k) array
            With as many dimensions as the y of the fit.
        """
        check_is_fitted(self)
        checks.require_numbers("X", X)
        sparse = ("csr", "csc")
        X = validate_data(self, X, accept_sparse=sparse, dtype=checks.FLOATS, reset=False)
        prediction: Array = X @ self.coef_.T + self.intercept_
        return prediction

    def __sklearn_tags__(self) -> Any:
        """Say, as scikit-learn asks, that X may be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _stays_sparse(self, X: Any) -> bool:
        """Whether a sparse X is fitted as it is."""
        plain = self.depth == 1 and self.width is None and not self.weight_decay
        solver = self.solver == "gradient" or (self.solver == "auto" and self.p > 1)
        return plain and solver and X.shape[0] * X.shape[1] > sparse_fit.SMALL

    def _fit_sparse(self, X: Any, Y: Array, weight: Array | None) -> tuple[Fit, Array, Array]:
        """Fit by products with X alone; return coefficients and intercepts, too."""
        p, intercept = float(self.p), self.fit_intercept
        scaled = SparseProblem.of(X, Y, weight, p, intercept=intercept)
        start = np.zeros((Y.shape[1], X.shape[1] + 1))
        if self.warm_start and hasattr(self, "coef_"):
            coef = np.atleast_2d(self.coef_)
            if coef.shape == (Y.shape[1], X.shape[1]):
                start = scaled.from_user(coef, np.atleast_1d(self.intercept_))
        steps = self.max_iter or checks.GRADIENT_STEPS
        fit = fit_sparse(scaled, self._penalties(), start, steps, self.tol)
        coef, b = (a.astype(X.dtype) for a in scaled.to_user(fit.W))
        return fit, coef, b

    def _fitted(self, solver: str, fit: Fit, coef: Array, intercept: Array, flat: bool) -> Self:
        """Set the attributes, whose y was ``flat``, (n,), or not; warn of what went wrong."""
        self.solver_, self.n_iter_, self.history_ = solver, fit.iterations, fit.history
        self.status_, self.dual_gap_ = fit.status, fit.dual_gap
        self.learning_rate_ = fit.learning_rate
        self.rank_, self.singular_ = fit.rank, fit.singular
        self.coef_ = coef[0] if flat else coef
        self.intercept_ = (intercept[0] if flat else intercept) if self.fit_intercept else 0.0
        if self.verbose:
            checks.tell(solver, fit)
        if fit.trouble:
            message = checks.unconverged(self, solver, fit)
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
        if fit.doubt:
            warnings.warn(fit.doubt, np.exceptions.RankWarning, stacklevel=3)
        return self

    def _check_parameters(self) -> Optimizer:
        """Check the parameters; return the optimiser, with a rate of 1 in the place of "auto"."""
        validation.real("p", self.p, least=1)
        validation.real("l1", self.l1, least=0)
        validation.real("l2", self.l2, least=0)
        validation.flag("nonnegative", self.nonnegative)
        rate, decay = checks.checked_options(self, _SOLVERS)
        if self.rcond is not None:
            validation.real("rcond", self.rcond, least=0, below=1)
        validation.flag("warm_start", self.warm_start)
        if decay:
            self._refuse_penalties(f"weight_decay={decay:g}", "leave it out, l2 is another")
        if self.solver == "end_to_end":
            self._refuse_penalties("solver='end_to_end'", "take solver='newton'")
            return EndToEnd(rate, self.depth, weight_decay=decay)
        return by_name(self.optimizer, rate, weight_decay=decay)

    def _penalties(self) -> Penalties:
        return Penalties(float(self.l1), float(self.l2), bool(self.nonnegative))

    def _refuse_penalties(self, where: str, way: str) -> None:
        """Raise ValueError if there is a penalty, which what is named cannot have."""
        if not self._penalties():
            return
        name = "l1" if self.l1 else "l2" if self.l2 else "nonnegative"
        raise ValueError(
            f"{name} is for Newton's method, got {name}={getattr(self, name)!r} with {where}: {way}"
        )

    def _choose_solver(self, n: int, d: int) -> str:
        """The solver for X (n, d)."""
        if self.solver != "auto":
            return self.solver
        small = min(n, d) <= _SMALL or self.p < 2 or bool(self._penalties())
        newton = not self.weight_decay and small
        return "newton" if newton else "gradient"

    def _solve(self, solver: str, scaled: ScaledProblem, X: Array, optimizer: Optimizer) -> Fit:
        if solver == "newton":
            steps = self.max_iter or checks.NEWTON_STEPS
            if penalties := self._penalties():
                fit = penalised(scaled, penalties, steps, self.tol)
            else:
                fit = fitting.newton(scaled, X, steps, self.tol, self.rcond, self.backend)
        else:
            fit = self._descend(scaled, optimizer)
        # A minimum that Newton's method has proved has the best intercepts already.
        if scaled.intercept and (solver != "newton" or fit.status != "converged"):
            return replace(fit, W=fitting.best_intercepts(scaled.problem, fit.W))
        return fit

    def _descend(self, scaled: ScaledProblem, optimizer: Optimizer) -> Fit:
        return descend(
            scaled.problem,
            self._start(scaled, optimizer),
            optimizer,
            self.max_iter or checks.GRADIENT_STEPS,
            self.tol,
            auto=isinstance(self.learning_rate, str),
            intercept=scaled.intercept,
            options=RunOptions(progress=bool(self.verbose), backend=self.backend, kept=False),
        )

    def _start(self, scaled: ScaledProblem, optimizer: Optimizer) -> LinearNetwork:
        """The network that a first-order run begins with."""
        problem = scaled.problem
        depth = 1 if isinstance(optimizer, EndToEnd) else self.depth
        width = self.width or min(problem.d, problem.k)
        W = np.zeros((problem.k, problem.d))
        if self.warm_start and hasattr(self, "coef_"):
            coef = np.atleast_2d(self.coef_)
            if coef.shape == (problem.k, scaled.x.mean.size):
                W = scaled.from_user(coef, np.atleast_1d(self.intercept_))
        if self.depth > 1 and not W.any():
            W = starts.initial_map(problem, self.random_state)
        factors = starts.balanced(W, depth, width)
        return LinearNetwork.for_problem(problem, depth, width, init=factors)
