"""``start=``: what a run takes from the result, or the sweep, that it goes on from."""

from dataclasses import replace
from typing import Any

import numpy as np

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._runs import checks
from accel._runs.batching import LabelNoise, Noise, batches_of
from accel._runs.checkpoints import first_difference
from accel._runs.ends import End, another
from accel._runs.recorder import identity as identity_of
from accel._runs.results import Result
from accel._runs.rules import Rate, named, rule_of
from accel._support import validation
from accel.kernels.specs import Batches
from accel.recording.naming import quantities
from accel.recording.quantity import Quantity

__all__ = [
    "batches_to_go_on",
    "end_of",
    "model_to_go_on",
    "record_to_go_on",
    "stateless",
    "total",
]


_ANEW = "pass start.network as network, and leave start out"


def end_of(start: Any) -> End:
    """Return the end of the run that a result is of.

    Raises
    ------
    TypeError
        If it is no ``Result``.
    ValueError
        If it diverged, or has not what a run goes on from.
    """
    if not isinstance(start, Result):
        raise TypeError(f"start must be of type Result, got {validation.shown(start)}")
    if start.status == "diverged":
        raise ValueError(
            f"start has diverged, at step {start.diverged_at}, and would do so again: to begin a "
            f"new run with its last finite weights, at a lower rate, {_ANEW}"
        )
    if start._state is None:
        raise stateless()
    return start._state.alone().revived()


def stateless() -> ValueError:
    """The error for a result without what a run goes on from."""
    return ValueError(
        "start has no state of its optimiser: it was saved by an earlier version of accel, or made "
        f"otherwise than by a run; to begin a new run with its weights, {_ANEW}"
    )


def total(start: Result, end: End, steps: Any) -> int:
    """Return the steps of the whole run that goes on by so many."""
    steps = checks.checked_steps(steps)
    # A result that was interrupted with a rate that follows the loss may be behind its run.
    return int(max(start.steps + steps, end.step + 1))


class _Plain(str):
    """A text that a message shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _same(network: Network, other: Network) -> bool:
    return (
        network.structure == other.structure
        and network.dtype == other.dtype
        and np.array_equal(network.params, other.params)
    )


def model_to_go_on(
    start: Result, end: End, network: Any, optimizer: Any, learning_rate: Rate = None, m: int = 0
) -> tuple[Network, Optimizer, bool]:
    """Return model ``m`` as it began and whether its rate follows the loss, if what is given fits.

    Raises
    ------
    TypeError, ValueError
        If that is another network, optimiser or rate.
    """
    began, own = end.models[m]
    if network is not None:
        checks.check_is_network(network)
        if not any(_same(network, known) for known in (began, start.network)):
            raise ValueError(
                "network must be left out with start, or be the one that its run began with, or "
                f"start.network, got {network!r} with other weights: a new run begins without start"
            )
    found = end.facts.found
    if optimizer is None and learning_rate is None:
        return began, own, found
    if isinstance(optimizer, str) and learning_rate is None:
        optimizer = own if type(named(optimizer)) is type(own) else optimizer
    rule, auto = rule_of(own if optimizer is None else optimizer, learning_rate)
    checks.check_is_optimizer(rule)
    if found and learning_rate is None:
        auto = auto or rule in (own, start.optimizer)
    if auto and found:  # the rule's own rate counts for nothing
        rule = replace(rule, learning_rate=own.learning_rate)
    if auto != found and type(rule) is type(own):
        theirs, ours = (
            repr("auto" if follows else one.learning_rate)
            for one, follows in ((own, found), (rule, auto))
        )
        raise another(f"learning_rate: {theirs} there, {ours} here")
    there, here = ({"optimizer": _Plain(repr(one))} for one in (own, rule))
    if differs := first_difference(there, here):
        raise another(differs)
    return began, own, found


def batches_to_go_on(
    end: End, problem: BaseProblem, batch_size: Any, shuffle: Any, seed: Any, label_noise: Noise
) -> Batches | None:
    """Return the batches of the run, or those that were asked for.

    Of the four arguments those that were left at their defaults are the run's.
    """
    own = end.facts.batches
    if (batch_size, label_noise, shuffle, seed) == (None, None, "epoch", 0):
        return own
    if own is not None:
        batch_size = own.size if batch_size is None else batch_size
        shuffle = own.shuffle if shuffle == "epoch" else shuffle
        seed = own.seed if seed == 0 else seed
        if label_noise is None and own.noise:
            label_noise = LabelNoise(own.noise, "sign" if own.signs else "gaussian")
    return batches_of(problem, batch_size, shuffle, seed, label_noise)


def record_to_go_on(end: End, record: Any, held_out: Any) -> tuple[Quantity, ...]:
    """Return what the run recorded, or what was asked for.

    Raises
    ------
    ValueError
        If a file has only the names of what was recorded, and that is not all there is to it.
    """
    if record is not None or held_out is not None:
        return quantities(record, held_out)
    if end.facts.record is not None:
        return end.facts.record
    told = [str(entry) for entry in end.identity()["record"]]
    names = [entry.rpartition(" ")[0] for entry in told]
    try:
        made = quantities(names)
    except (TypeError, ValueError):
        made = ()
    if identity_of(made) != told:
        raise ValueError(
            "record, and validation, must be given as for the run of start: its file has only the "
            f"names of what was recorded, {validation.listed(names)}"
        )
    return made
