"""The few values that every backend must agree on: the loss, the rule, the status codes.

Flat parameters are ``W_1`` row-major, then ``W_2``, up to ``W_N``, in one 1-D array; ``widths`` is
``(n_0, n_1, ..., n_N)`` with ``n_0 = d``, ``n_N = k`` and ``W_j`` of shape ``(n_j, n_{j-1})``.
"""

from typing import Any, NamedTuple

from numpy.typing import NDArray

GRADIENT_DESCENT, MOMENTUM, NESTEROV, ADAGRAD, ADADELTA, RMSPROP, ADAM, END_TO_END = range(8)

#: Flat buffers of optimiser state that a rule needs, each as large as the parameters.
STATE_SLOTS = (0, 1, 1, 1, 2, 1, 2, 0)

RUNNING, CONVERGED, TARGET, DIVERGED = range(4)


class Loss(NamedTuple):
    """``factor * (1/n) * (sum_i sum_c |W x_i - y_i|_c ** p + rest)``, and how it is computed.

    ``form`` is "direct", by a pass over the data; "gram" (p = 2), from their Gram matrices; or
    "diagonal" (p = 2): the data are a diagonal matrix (n = d), of which X (d,) is the diagonal,
    and Y is (d, k). Only there is ``rest`` not 0: the squares of targets that no map reaches.
    """

    p: float
    factor: float = 1.0
    form: str = "direct"
    rest: float = 0.0


class Rule(NamedTuple):
    """An optimiser: its kind and ``(learning_rate, weight_decay, a, b, eps)``.

    ``a`` is the momentum, AdaDelta's rho, RMSProp's alpha, Adam's beta1 or the end-to-end rule's
    depth; ``b`` is Adam's beta2.
    """

    kind: int
    hyper: tuple[float, float, float, float, float]


class ModelSpec(NamedTuple):
    """A network to train: its widths, its flat parameters at the start, and the rule to follow."""

    widths: tuple[int, ...]
    params: NDArray[Any]
    rule: Rule
