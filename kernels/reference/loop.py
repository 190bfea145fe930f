r"""The whole training loop: gradient descent on :math:`L^N(W_1, ..., W_N) = L(W_N \cdots W_1)`.

One iterate after the other: multiply the factors to :math:`W_e`, take the loss and its gradient G
there, then stop, or move every factor by the rule. The end-to-end rule runs on a single factor,

.. math:: W \leftarrow (1 - \eta\lambda N) W - \eta P_W(G),

which is gradient descent on the preconditioned gradient, with N times the decay.
"""

import math

import numpy as np

from ..specs import (
    CONVERGED,
    DIVERGED,
    END_TO_END,
    GRADIENT_DESCENT,
    RUNNING,
    STATE_SLOTS,
    STOPPED,
    TARGET,
    Loss,
    Rule,
)
from .factor_chain import end_to_end, gradients
from .lp_loss import gram, gram_loss_and_gradient, loss_and_gradient
from .precondition import precondition
from .updates import update


def _norm(A):
    # In float64: the squares of float32 overflow from 2e19 on.
    return float(np.linalg.norm(A.astype(np.float64)))


class TrainingLoop:
    """A run: the data, the factors, the optimiser's memory and the step that it has reached.

    Parameters
    ----------
    X : (n, d) array
    Y : (n, k) array
    loss : Loss
        ``loss.gram`` (p = 2 only) replaces the pass over the data by the Gram matrices.
    widths : sequence of int
        ``(d, n_1, ..., k)``; ``(d, k)`` for the end-to-end rule.
    params : (n_params,) array
        The initial factors; copied.
    rule : Rule
    threads : int
        Ignored: NumPy decides.

    Attributes
    ----------
    step : int
        Updates made so far.
    threads : int
        Always 1.
    """

    def __init__(self, X, Y, loss: Loss, widths, params, rule: Rule, threads=1):
        self._X, self._Y, self._loss, self._widths, self._rule = X, Y, loss, widths, rule
        self._gram = gram(X, Y) if loss.gram else None
        self._params = params.copy()
        self._state = np.zeros((STATE_SLOTS[rule.kind], params.size), params.dtype)
        self._history = []
        self._stop_requested = False
        self.step = 0
        self.threads = 1

    def _pass(self):
        """End-to-end matrix, loss and gradient of the current iterate."""
        W = end_to_end(self._params, self._widths)
        if self._gram is None:
            return W, *loss_and_gradient(self._X, self._Y, W, self._loss)
        return W, *gram_loss_and_gradient(*self._gram, len(self._X), W, self._loss.factor)

    def _update(self, W, G):
        self.step += 1
        kind, (rate, decay, a, b, eps) = self._rule
        if kind == END_TO_END:
            depth = int(a)
            grads = precondition(W, G, depth).ravel()
            kind, decay = GRADIENT_DESCENT, depth * decay
        else:
            grads = gradients(self._params, self._widths, G)
        update(kind, self._params, grads, self._state, (rate, decay, a, b, eps), self.step)

    @np.errstate(over="ignore", invalid="ignore")  # a run may diverge: that is a status
    def advance(self, steps, record_every=0, tol=0.0, target=-math.inf):
        """Make up to ``steps`` updates.

        Before each, the current iterate is judged in this order: a loss or gradient that is not
        finite ends the run; the iterate is recorded if its step is a multiple of ``record_every``;
        a gradient norm of at most ``tol`` > 0, a loss of at most ``target`` or a request to stop
        ends the run. Whatever ends it, the iterate stays as it is.

        Returns
        -------
        int
            RUNNING (all updates made), DIVERGED, CONVERGED, TARGET or STOPPED.
        """
        for _ in range(steps):
            W, value, G = self._pass()
            norm = _norm(G)
            if not (math.isfinite(value) and math.isfinite(norm)):
                return DIVERGED
            if record_every and self.step % record_every == 0:
                self._history.append((self.step, value, norm, _norm(W)))
            if tol > 0 and norm <= tol:
                return CONVERGED
            if value <= target:
                return TARGET
            if self._stop_requested:
                self._stop_requested = False
                return STOPPED
            self._update(W, G)
        return RUNNING

    def take_history(self):
        """What was recorded since the last call.

        Returns
        -------
        (m, 4) float64 array
            Rows ``[step, loss, Frobenius norm of G, Frobenius norm of W_e]``.
        """
        rows, self._history = self._history, []
        return np.array(rows, dtype=np.float64).reshape(-1, 4)

    @np.errstate(over="ignore", invalid="ignore")
    def evaluate(self):
        """Such a row for the current iterate, recorded nowhere."""
        W, value, G = self._pass()
        return np.array([self.step, value, _norm(G), _norm(W)])

    @property
    def params(self):
        """A copy of the current factors."""
        return self._params.copy()

    def snapshot(self):
        """The state of the run, without its history, to go back to with ``restore``."""
        return self.step, self._params.copy(), self._state.copy()

    def restore(self, snapshot):
        """Go back, any number of times; from there the run repeats itself bit by bit."""
        self.step, params, state = snapshot
        self._params, self._state = params.copy(), state.copy()

    def stop(self):
        """Ask for one STOPPED at the next iterate; from another thread, too."""
        self._stop_requested = True

    def close(self):
        """Nothing to give back here; other backends have threads to end."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
