"""The few values that every backend must agree on: the loss, the rule, the status codes.

Flat parameters are ``W_1`` row-major, then ``W_2``, up to ``W_N``, in one 1-D array; ``widths`` is
``(n_0, n_1, ..., n_N)`` with ``n_0 = d``, ``n_N = k`` and ``W_j`` of shape ``(n_j, n_{j-1})``. The
vectors of an ``Entrywise`` map, each (d,), follow each other likewise.
"""

from typing import Any, NamedTuple

from numpy.typing import NDArray

(
    GRADIENT_DESCENT, MOMENTUM, NESTEROV, ADAGRAD, ADADELTA, RMSPROP, ADAM, END_TO_END,
    GROUP_RMSPROP, LANGEVIN,
) = range(10)  # fmt: skip

#: Flat buffers of optimiser state that a rule needs, each as large as the parameters. GROUP_RMSPROP
#: uses few numbers of its one: the mean of a group stands where the group's first parameter does,
#: so that it is kept, saved and restored with all other state, and every backend finds it at once.
STATE_SLOTS = (0, 1, 1, 1, 2, 1, 2, 0, 1, 0)

RUNNING, CONVERGED, TARGET, DIVERGED = range(4)

#: Streams of random numbers, see ``reference/philox.py``: the rows of a batch, noise on the labels,
#: noise on the parameters.
ROWS, LABELS, PARAMETERS = range(3)

#: The ways in which rows are gathered in batches, see ``reference/batches.py``.
SHUFFLES = ("epoch", "replacement", "none")


#: The losses of a sample, see ``reference/losses.py``: those of a residual, those of a margin,
#: whose labels are -1 and +1, and that which couples the outputs of a sample.
RESIDUAL_KINDS = ("lp", "huber", "pinball", "expectile", "logcosh")
MARGIN_KINDS = ("logistic", "exponential")
COUPLED_KINDS = ("cross-entropy",)


class Loss(NamedTuple):
    """``factor * (1/n) * (sum_i sum_c l(<W x_i>_c, y_ic) + rest)``, and how it is computed.

    ``kind`` is that of l, and ``p`` its number: the p of l_p, the delta of Huber's loss, the tau of
    pinball and expectile, and of no meaning for the others. l_p is ``|W x_i - y_i|_c ** p``.
    ``form`` is "direct", by a pass over the data; "gram" (l_2), from their Gram matrices; or
    "diagonal" (l_2): the data are a diagonal matrix (n = d), of which X (d,) is the diagonal,
    and Y is (d, k). Only there is ``rest`` not 0: the squares of targets that no map reaches.

    Two forms are losses of the matrix W (k, d) itself, by |r_e|^p for each of n numbers Y (n, 1)
    seen of it. In the form "entries" these are entries of W, of which X (n, 2), int64, has the row
    and the column; in the form "measurements" they are inner products with n matrices, X (n, k d).
    """

    p: float
    factor: float = 1.0
    form: str = "direct"
    rest: float = 0.0
    kind: str = "lp"

    @property
    def unit(self) -> float:
        """What the slopes of the kernels are multiplied by to be those of the loss: p for l_p."""
        return self.p if self.kind == "lp" else 1.0

    @property
    def slope_factor(self) -> float:
        """What the slopes of the kernels are multiplied by, beside 1/n, in a gradient."""
        return self.factor * self.unit

    @property
    def curvature_factor(self) -> float:
        """What their curvatures are multiplied by, beside 1/n, in a second derivative."""
        return self.factor * self.p * (self.p - 1.0) if self.kind == "lp" else self.factor


class Batches(NamedTuple):
    """The rows of the data that the loss and the gradient of a step are made of, and their labels.

    Step t takes ``rows(n, size, shuffle, seed, t)`` of ``batches``, at most ``size`` of them.
    ``shuffle`` is one of ``SHUFFLES``. To target c of row i ``noise`` is added times number i k + c
    of the stream LABELS at the step: Gaussians or, with ``signs``, -1 and +1.
    """

    size: int
    shuffle: str = "epoch"
    seed: int = 0
    noise: float = 0.0
    signs: bool = False


#: The terms of a schedule's program, see ``reference/schedules.py``.
(
    CONSTANT, POLYNOMIAL, EXPONENTIAL, STAIRCASE, COSINE, INVERSE_POWER, STEPS_OF_TABLE,
    LINES_OF_TABLE, WAVES_OF_TABLE,
) = range(9)  # fmt: skip

#: Layout of a program: the number of segments, then for each where it begins, where its terms are
#: and how many; terms of a kind, where their time begins, and five constants; then the tables.
SEGMENTS, BEGIN_OF, TERMS_OF, COUNT_OF, SEGMENT_SIZE = 1, 0, 1, 2, 3
KIND_OF_TERM, TIME_OF_TERM, CONSTANTS_OF_TERM, TERM_SIZE = 0, 1, 2, 7


class Rule(NamedTuple):
    """An optimiser: its kind and ``(learning_rate, weight_decay, a, b, eps)``.

    ``a`` is the momentum, AdaDelta's rho, RMSProp's alpha, also in groups, Adam's beta1, the
    end-to-end rule's depth or the temperature of LANGEVIN; ``b`` is Adam's beta2, for GROUP_RMSPROP
    1 if each factor is a group, 0 if all of them are one, and the seed of LANGEVIN, up to 2^53.
    ``programs`` are those by which the first three go from step to step, float64 arrays; None for
    one that is constant. Of a scheduled one ``hyper`` has the value at step 0. As for ``a``, the
    momentum and the temperature may be scheduled.
    """

    kind: int
    hyper: tuple[float, float, float, float, float]
    programs: tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None] = (
        None, None, None,
    )  # fmt: skip


class Entrywise(NamedTuple):
    """A map w (d,) that is made of vectors entry by entry, in place of a product of matrices.

    ``form`` is "power-difference", ``u ** depth - v ** depth`` of two vectors, or "hadamard", the
    product ``u_1 * ... * u_depth``.
    """

    form: str
    depth: int

    @property
    def vectors(self) -> int:
        """How many vectors it has."""
        return 2 if self.form == "power-difference" else self.depth


class ModelSpec(NamedTuple):
    """A network to train: its widths, its flat parameters at the start, and the rule to follow.

    With ``entrywise`` it has one output, all its vectors are the rows of one matrix, and ``widths``
    is the shape of that, ``(d, vectors)``. The end-to-end rule is not for it.
    """

    widths: tuple[int, ...]
    params: NDArray[Any]
    rule: Rule
    entrywise: Entrywise | None = None

    @property
    def structure(self) -> "Structure":
        """What the end-to-end matrix is made by: the widths of a product, or ``entrywise``."""
        return self.widths if self.entrywise is None else self.entrywise


#: The widths of a product of matrices, or an entrywise map.
Structure = tuple[int, ...] | Entrywise
