"""What the estimators of any loss share: their parameters, and the fit of targets or labels."""

import warnings
from typing import Any

import numpy as np

from accel._core.network import LinearNetwork
from accel._core.optimizers import by_name
from accel._runs.checks import RunOptions
from accel._support.arrays import Array
from accel.losses import Loss
from accel.losses.naming import checked as checked_loss
from accel.sklearn import checks, fitting, starts
from accel.sklearn.descent import descend
from accel.sklearn.extra import BaseEstimator, ConvergenceWarning, check_is_fitted, validate_data
from accel.sklearn.fitting import Fit
from accel.sklearn.scaled_problem import ScaledProblem, require_range

__all__ = ["LinearModel"]

_SOLVERS = ("auto", "newton", "gradient")
_NO_MINIMUM = (
    "{loss!r} has no minimum on these data: {why}; consider weight_decay with solver='gradient'"
)
_ALL_APART = "coef_ and intercept_ separate all labels, and the loss of their multiples falls to 0"
_SOME_APART = (
    "a map separates some labels and leaves no other on a wrong side, and along it the loss falls "
    "for ever, from coef_ and intercept_ on, too"
)


class LinearModel(BaseEstimator):  # type: ignore[misc]
    """A linear map fitted to data by any loss; ``LinearFit`` says what the parameters are."""

    _usual = ""  # the loss where none is given
    _classifies = False

    def __init__(
        self,
        loss: Loss | str | None = None,
        *,
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
        random_state: Any = None,
        backend: str = "auto",
        verbose: bool | int = False,
    ) -> None:
        self.loss = loss
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
        self.random_state = random_state
        self.backend = backend
        self.verbose = verbose

    def _checked_loss(self) -> Loss:
        """The loss as a value.

        Raises
        ------
        TypeError, ValueError
            If it is none, or one of the other estimator.
        """
        loss = checked_loss(self._usual if self.loss is None else self.loss)
        if loss.classifies != self._classifies:
            other = "LinearFit" if self._classifies else "LinearClassifier"
            wanted = "labels" if self._classifies else "numbers"
            raise ValueError(f"loss must be one of {wanted}, got {loss!r}: take {other}")
        return loss

    def _fitted(
        self, X: Array, Y: Array, loss: Loss, weight: Array | None = None
    ) -> tuple[Array, Array]:
        """Fit targets (n, k), or labels (n,) as ``Problem`` takes them; set the attributes.

        Positive weights (n,) are for losses that have a ``degree``.

        Returns
        -------
        coef : (k, d) array
        intercept : (k,) array
        """
        scaled = ScaledProblem.with_loss(
            X, Y, loss, weight, intercept=self.fit_intercept, scale=self.standardize
        )
        solver = self._choose_solver(scaled, loss)
        require_range(scaled.problem, descent=solver == "gradient", scaled=None)
        if solver == "newton":
            steps = self.max_iter or checks.NEWTON_STEPS
            fit = fitting.newton_of_loss(scaled, X, steps, self.tol, self.backend)
        else:
            fit = self._descend(scaled, loss)
        status = fit.status
        # Among maps of a bounded rank, too: the multiples of one are of its rank.
        apart = loss.classifies and not self.weight_decay
        all_apart = apart and fitting.separates(scaled.problem, fit.W)
        if all_apart:
            status = "separable"
        self.solver_, self.n_iter_, self.history_ = solver, fit.iterations, fit.history
        self.status_, self.dual_gap_ = status, fit.dual_gap
        self.learning_rate_ = fit.learning_rate
        if self.verbose:
            checks.tell(solver, fit)
        message = ""
        if status == "separable":
            why = _ALL_APART if all_apart else _SOME_APART
            message = _NO_MINIMUM.format(loss=loss, why=why)
        elif fit.trouble:
            message = checks.unconverged(self, solver, fit)
        if message:
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
        if fit.doubt:
            warnings.warn(fit.doubt, np.exceptions.RankWarning, stacklevel=3)
        return scaled.to_user(fit.W)

    def _choose_solver(self, scaled: ScaledProblem, loss: Loss) -> str:
        if self.solver != "auto":
            return self.solver
        problem = scaled.problem
        unknowns = min(problem.n, problem.d - scaled.intercept)
        if problem.spec.kind == "cross-entropy":  # whose classes are coupled
            unknowns *= problem.k
        newton = not self.weight_decay and (unknowns <= checks.SMALL or loss.smoothness < 2)
        return "newton" if newton else "gradient"

    def _descend(self, scaled: ScaledProblem, loss: Loss) -> Fit:
        problem, rate = scaled.problem, 1.0
        auto = isinstance(self.learning_rate, str)
        if not isinstance(self.learning_rate, str):
            rate = self.learning_rate
        W = np.zeros((problem.k, problem.d))
        if self.depth > 1:
            W = starts.initial_map(problem, self.random_state)
        width = self.width or min(problem.d, problem.k)
        factors = starts.balanced(W, self.depth, width)
        return descend(
            problem,
            LinearNetwork.for_problem(problem, self.depth, width, init=factors),
            by_name(self.optimizer, rate, weight_decay=self.weight_decay),
            self.max_iter or checks.GRADIENT_STEPS,
            self.tol,
            auto=auto,
            intercept=scaled.intercept and not loss.classifies,  # it is moved into the targets
            options=RunOptions(progress=bool(self.verbose), backend=self.backend, kept=False),
        )

    def _outputs(self, X: Any) -> Array:
        """``X coef_' + intercept_`` of new samples, of as many dimensions as ``coef_``."""
        check_is_fitted(self)
        checks.require_numbers("X", X)
        X = validate_data(self, X, dtype=checks.FLOATS, reset=False)
        outputs: Array = X @ self.coef_.T + self.intercept_
        return outputs

    def _check_options(self) -> None:
        checks.checked_options(self, _SOLVERS)
