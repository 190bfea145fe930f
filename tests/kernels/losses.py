"""The kinds of losses that tests run through, with numbers, and targets that suit them."""

import numpy as np

from accel.kernels.specs import COUPLED_KINDS, MARGIN_KINDS, RESIDUAL_KINDS, Loss

#: Of every kind but l_p one or two, with a factor.
OTHERS = [
    Loss(0.7, 1.0, kind="huber"),
    Loss(0.3, 2.0, kind="pinball"),
    Loss(0.8, 1.0, kind="expectile"),
    Loss(0.0, 0.5, kind="logcosh"),
    Loss(0.0, 1.0, kind="logistic"),
    Loss(0.0, 3.0, kind="exponential"),
]
#: The names of these, for pytest.
NAMES = [loss.kind for loss in OTHERS]
CROSS_ENTROPY = Loss(0.0, 0.7, kind="cross-entropy")
assert {*NAMES, "lp"} == {*RESIDUAL_KINDS, *MARGIN_KINDS}


def targets_for(loss, rng, n, k, dtype=np.float64):
    """Targets (n, k) that a loss can be had of, k = 1 for labels of -1 and +1."""
    Y = rng.standard_normal((n, k))
    if loss.kind in MARGIN_KINDS:
        Y = np.where(Y[:, :1] > 0, 1.0, -1.0)
    elif loss.kind in COUPLED_KINDS:
        Y = np.abs(Y) / np.abs(Y).sum(axis=1, keepdims=True)
    return np.ascontiguousarray(Y, dtype)
