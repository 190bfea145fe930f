"""What the models of a run record of their iterates beside loss and norms."""

import contextlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._core.oracle import Oracle
from accel._runs.checkpoints import digest
from accel._runs.intervals import Chosen, Every
from accel._support import validation
from accel._support.arrays import Array
from accel._support.backends import Backend
from accel._support.blas import one_thread
from accel.kernels.protocols import TrainingLoop
from accel.recording.naming import check_quantities
from accel.recording.quantity import Model, Moment, Output, Quantity

__all__ = ["Recorder", "alone", "checked", "identity"]

_ROOM = 16  # records that a series begins with
_SMALL = 2**18  # numbers of a matrix, up to which one thread of BLAS is as good as several


def checked(
    problem: BaseProblem,
    models: Sequence[tuple[Network, Optimizer]],
    record: tuple[Quantity, ...],
    records: float,
) -> dict[str, float]:
    """Check that quantities are to be had of all models; bytes that so many records take."""
    size = 0.0
    for network, optimizer in models:
        model = Model(problem, network, optimizer)
        check_quantities(record, model)
        outputs = [o for quantity in record for o in quantity.outputs(model).values()]
        size += sum(float(np.prod(o.shape)) * np.dtype(o.dtype).itemsize for o in outputs)
    return {"what is recorded": 3 * records * size} if record else {}  # as it grows, and a copy


def identity(record: tuple[Quantity, ...]) -> list[str]:
    """What tells quantities from others, for a checkpoint."""
    return [f"{quantity.name} {digest(*quantity.parts)}" for quantity in record]


def alone(arrays: Mapping[str, Array], m: int) -> dict[str, Array]:
    """Return one model's records among what ``Recorder.export`` returned, as if it were alone."""
    names = {name: re.fullmatch(rf"record{m}((?:_\d+_\d+)?)", name) for name in arrays}
    return {f"record0{match[1]}": arrays[name] for name, match in names.items() if match}


def _checked(quantity: Quantity, values: Any, outputs: dict[str, Output]) -> dict[str, Any]:
    """Raise a TypeError unless a quantity yields what it has announced."""
    if not isinstance(values, dict) or values.keys() != outputs.keys():
        raise TypeError(
            f"{quantity.name}, which is recorded, must yield {', '.join(outputs)}, "
            f"got {validation.shown(values)}"
        )
    return values


class _Series:
    """The records of one model: its steps, ascending, and an array for each name."""

    def __init__(self, outputs: dict[str, Output]) -> None:
        self.steps = np.empty(0, np.int64)
        self.columns = {
            name: np.empty((0, *output.shape), output.dtype) for name, output in outputs.items()
        }
        self.count = 0

    def append(self, step: int, values: dict[str, Any]) -> None:
        """Add a record; what has no column yet, since its shape was not known, gets one."""
        for name, value in values.items():
            shape = np.shape(value)
            if name not in self.columns:
                self.columns[name] = np.full((len(self.steps), *shape), np.nan)
            if shape != self.columns[name].shape[1:]:
                before = self.columns[name].shape[1:]
                raise ValueError(
                    f"{name}, which is recorded, must have the same shape at every step: "
                    f"{shape} at step {step}, {before} before"
                )
        if self.count == len(self.steps):
            room = max(2 * self.count, _ROOM)
            self.steps = _longer(self.steps, room)
            self.columns = {name: _longer(column, room) for name, column in self.columns.items()}
        self.steps[self.count] = step
        for name, value in values.items():
            self.columns[name][self.count] = value
        self.count += 1

    def forget(self, step: int) -> None:
        """Take back the records from this step on."""
        self.count = int(np.searchsorted(self.steps[: self.count], step))

    def at(self, steps: Array) -> dict[str, Array]:
        """Return the records of these steps; NaN for one that there is not."""
        places = np.searchsorted(self.steps[: self.count], steps)
        places = np.minimum(places, max(self.count - 1, 0))
        there = self.steps[places] == steps if self.count else np.zeros(len(steps), bool)
        found = {}
        for name, column in self.columns.items():
            values = np.full((len(steps), *column.shape[1:]), np.nan, column.dtype)
            values[there] = column[places[there]]
            found[name] = values
        return found


def _longer(array: Array, room: int) -> Array:
    longer = np.empty((room, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


class Recorder:
    """Measures quantities of the models of a run, and keeps what they yield.

    Parameters
    ----------
    problem : BaseProblem
    models : sequence of (network, Optimizer)
    record : tuple of Quantity
        Checked, at least one.
    records : Every or Chosen
        At which steps.
    kernels : Backend
    """

    def __init__(
        self,
        problem: BaseProblem,
        models: Sequence[tuple[Network, Optimizer]],
        record: tuple[Quantity, ...],
        records: Every | Chosen,
        kernels: Backend,
    ) -> None:
        self._models, self._record, self._records = models, record, records
        self._oracle, self._kernels = Oracle(problem, kernels), kernels
        largest = max(a * b for net, _ in models for a, b in itertools.pairwise(net.widths))
        self._small = max(largest, problem.d * problem.k) <= _SMALL
        self._outputs = [
            [quantity.outputs(Model(problem, *model)) for quantity in record] for model in models
        ]
        self._series = [
            _Series({name: o for outputs in listed for name, o in outputs.items()})
            for listed in self._outputs
        ]

    def take(self, loop: TrainingLoop, m: int, step: int, rate: float | None = None) -> None:
        """Record the current iterate of a model, unless that has been done.

        Parameters
        ----------
        loop : TrainingLoop
        m : int
        step : int
            Updates that led to it.
        rate : float, optional
            The learning rate of the step to come, if it is not the optimiser's.
        """
        series = self._series[m]
        if series.count and series.steps[series.count - 1] == step:
            return
        series.forget(step)
        network, optimizer = self._models[m]
        optimizer = optimizer.at(step)
        if rate is not None:
            optimizer = replace(optimizer, learning_rate=rate)
        values: dict[str, Any] = {}
        # What is not finite is recorded as such.
        with np.errstate(all="ignore"), one_thread() if self._small else contextlib.nullcontext():
            params = loop.params(m)
            if not np.isfinite(params).all():  # it has diverged, and no history has this iterate
                return
            moment = Moment(step, network, params, optimizer, self._oracle, self._kernels)
            for quantity, outputs in zip(self._record, self._outputs[m], strict=True):
                if outputs:
                    values |= _checked(quantity, quantity.measure(moment), outputs)
        with np.errstate(all="ignore"):
            for quantity, outputs in zip(self._record, self._outputs[m], strict=True):
                if not outputs:  # a function, which has all threads
                    values |= quantity.measure(moment)
            series.append(step, values)

    def take_active(self, loop: TrainingLoop, rate: float | None = None) -> None:
        """Record the current iterate of every model in the run, if its step is one to record."""
        step = loop.step
        if self._records.due(np.array(step)):
            for m in loop.active:
                self.take(loop, int(m), step, rate)

    def forget(self, step: int) -> None:
        """Take back all records from this step on."""
        for series in self._series:
            series.forget(step)

    def at(self, m: int, steps: Array) -> dict[str, Array]:
        """Return what was recorded of a model at these steps."""
        return self._series[m].at(steps)

    def _keys(self, m: int) -> dict[str, str]:
        """The names of a model's arrays in a checkpoint, by what is recorded."""
        keys = {}
        for q, (quantity, outputs) in enumerate(zip(self._record, self._outputs[m], strict=True)):
            for o, name in enumerate(outputs or [quantity.name]):
                keys[f"record{m}_{q}_{o}"] = name
        return keys

    @property
    def growing(self) -> set[str]:
        """The names of all arrays in a checkpoint: all of them grow."""
        models = range(len(self._series))
        return {key for m in models for key in (f"record{m}", *self._keys(m))}

    def export(self) -> dict[str, Array]:
        """Return all records."""
        arrays = {}
        for m, series in enumerate(self._series):
            arrays[f"record{m}"] = series.steps[: series.count]
            for key, name in self._keys(m).items():
                if name in series.columns:
                    arrays[key] = series.columns[name][: series.count]
        return arrays

    def expect(self, arrays: Mapping[str, Array]) -> None:
        """Take from a checkpoint the shapes that are not known before the first record."""
        for m, series in enumerate(self._series):
            for key, name in self._keys(m).items():
                if name not in series.columns and key in arrays:
                    series.columns[name] = np.empty((0, *arrays[key].shape[1:]))

    def resume(self, arrays: Mapping[str, Array]) -> None:
        """Go on from what ``export`` returned, which is left as it is."""
        for m, series in enumerate(self._series):
            series.steps = arrays[f"record{m}"].copy()
            series.count = len(series.steps)
            for key, name in self._keys(m).items():
                if key in arrays:
                    series.columns[name] = arrays[key].copy()
