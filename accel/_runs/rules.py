"""The optimiser and the learning rate that a run was asked for, by value or by name."""

from dataclasses import replace
from typing import Any, Literal

from accel._core.optimizers import USUAL_RATES, Langevin, Optimizer, by_name
from accel._support import validation
from accel.schedules.schedule import Schedule, number_or_schedule

__all__ = ["AUTO", "Rate", "named", "rule_of"]

AUTO = "auto"
_ANY_RATE = 1.0  # of a rule whose rate is not looked at

#: What ``learning_rate`` may be.
Rate = float | Schedule | Literal["auto"] | None


def named(optimizer: Any) -> Any:
    """Return the rule of this name with its usual constants, or anything else as it is.

    Its rate is the usual one, or 1 for a rule without.

    Raises
    ------
    TypeError
        If the rule has a constant that none is usual for.
    ValueError
        If there is no such rule.
    """
    if not isinstance(optimizer, str):
        return optimizer
    try:
        rule = by_name(optimizer, _ANY_RATE)
    except TypeError as error:
        raise TypeError(f"optimizer {optimizer!r} must be given as a value: {error}") from None
    return replace(rule, learning_rate=USUAL_RATES.get(rule.name, _ANY_RATE))


def rule_of(optimizer: Any, learning_rate: Any) -> tuple[Any, bool]:
    """Return the rule of a run, and whether its rate follows the loss.

    Parameters
    ----------
    optimizer : Optimizer or str
    learning_rate : float, Schedule, "auto" or None
        Without one, the rate is the rule's own; of a name it is the usual one if there is one.

    Raises
    ------
    TypeError, ValueError
        If the rate is none, or the noise of a rule keeps it from following the loss.
    """
    rule = named(optimizer)
    if learning_rate is None and isinstance(optimizer, str) and rule.name not in USUAL_RATES:
        learning_rate = AUTO
    if isinstance(learning_rate, str):
        validation.choice("learning_rate", learning_rate, [AUTO])
        if isinstance(rule, Langevin):
            raise ValueError(
                "learning_rate 'auto' follows the loss, which the noise of Langevin raises: give "
                f"the rule its rate, as by stable_rate, got {rule!r}"
            )
        return rule, True
    if learning_rate is not None:
        rate = number_or_schedule("learning_rate", learning_rate)
        if isinstance(rule, Optimizer):
            rule = replace(rule, learning_rate=rate)
    return rule, False
