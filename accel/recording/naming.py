"""From what ``record=`` is given to quantities: names, names with constants, values, functions."""

from typing import Any

from accel._support import validation
from accel._support.calls import made, name_in
from accel.recording.layers import Alignment, Balancedness, StepSize
from accel.recording.others import Function, LossOn, Snapshots
from accel.recording.quantity import Model, Quantity
from accel.recording.sharpness import EndToEndSharpness, Sharpness
from accel.recording.spectra import (
    EffectiveRank,
    NuclearNorm,
    Schatten,
    SingularValues,
    StableRank,
)

__all__ = [
    "BATCH_LOSS",
    "HISTORY",
    "NAMES",
    "by_name",
    "check_quantities",
    "names_in",
    "quantities",
]

#: The quantities that have a name: those that need nothing but numbers.
NAMES: dict[str, type[Quantity]] = {
    "singular_values": SingularValues,
    "effective_rank": EffectiveRank,
    "stable_rank": StableRank,
    "nuclear_norm": NuclearNorm,
    "schatten": Schatten,
    "balancedness": Balancedness,
    "alignment": Alignment,
    "step_size": StepSize,
    "sharpness": Sharpness,
    "end_to_end_sharpness": EndToEndSharpness,
    "snapshots": Snapshots,
}
#: What every history has, whatever ``record`` asks for.
HISTORY = ("step", "loss", "gradient_norm", "weight_norm", "seconds")
#: What the history of a run with batches has besides: the loss that the next update goes by.
BATCH_LOSS = "batch_loss"
#: What has a name only in the history.
_VALUES = {
    "validation_loss": "accel.recording.LossOn(problem), or give validation=problem",
    "distance": "accel.recording.DistanceTo(W)",
    "recovery_error": "accel.recording.RecoveryError(W)",
}
_EXAMPLE = "schatten(0.5)"  # in messages


def by_name(text: str) -> Quantity:
    """Make a quantity from its name, with constants in parentheses if there are any.

    Parameters
    ----------
    text : str
        As ``"sharpness"``, ``"schatten(0.5)"``, ``"singular_values(5, factors=True)"``.

    Returns
    -------
    Quantity

    Raises
    ------
    TypeError, ValueError
        If there is no such quantity, or its constants are wrong.

    Examples
    --------
    >>> import accel
    >>> accel.recording.by_name("schatten(0.5)")
    Schatten(q=0.5)
    """
    name = name_in("record", text, _EXAMPLE)
    if name in _VALUES:
        raise ValueError(f"record must hold {_VALUES[name]}, since {name} needs more than numbers")
    quantity: Quantity = made("record", text, NAMES, _EXAMPLE)
    return quantity


def names_in(text: str) -> list[str]:
    """Split a text at the commas that are outside of parentheses, as the command line has it."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def quantities(record: Any, validation_problem: Any = None) -> tuple[Quantity, ...]:
    """Check ``record`` and ``validation`` as ``train`` takes them, and make quantities of them.

    Raises
    ------
    TypeError, ValueError
        If one is none, or two would have the same name.
    """
    if record is None:
        record = []
    if isinstance(record, str | Quantity) or callable(record):
        record = [record]
    if not (isinstance(record, list | tuple) and not record):
        record = validation.members("record", record, "names, quantities or functions")
    chosen: list[Quantity] = []
    for given in record:
        if isinstance(given, str):
            chosen.append(by_name(given))
        elif isinstance(given, Quantity):
            chosen.append(given)
        elif callable(given) and not isinstance(given, type):
            chosen.append(Function(given))
        else:
            raise TypeError(
                "record must hold names, quantities or functions f(step, network), "
                f"got {validation.shown(given)}"
            )
    if validation_problem is not None:
        chosen.append(LossOn(validation_problem))
    names = [quantity.name for quantity in chosen]
    for name in names:
        if names.count(name) > 1:
            raise _twice(name)
    return tuple(chosen)


def _twice(name: str) -> ValueError:
    return ValueError(
        f"record must name everything once, got {validation.shown(name)} twice: "
        "accel.recording.Function(f, label) names a function"
    )


def check_quantities(chosen: tuple[Quantity, ...], model: Model) -> None:
    """Raise if a quantity is not to be had of a model, or has a name that the history has."""
    taken: set[str] = set()
    for quantity in chosen:
        quantity.check(model)
        for name in quantity.outputs(model) or [quantity.name]:
            if name in HISTORY:
                raise ValueError(f"record must not name {name}, which every history has")
            if name == BATCH_LOSS:
                raise ValueError(
                    f"record must not name {name}, which the history of every run with batches has"
                )
            if name in taken:
                raise _twice(name)
            taken.add(name)
