"""The history of a run: what was recorded of its iterates."""

from dataclasses import dataclass, field

import numpy as np

from accel._support import showing, validation
from accel._support.arrays import Array
from accel.recording.naming import BATCH_LOSS, HISTORY

__all__ = ["BATCH_LOSS", "HISTORY", "History"]


def _widened(recorded: dict[str, Array]) -> dict[str, Array]:
    """A column for every number that is recorded: vectors as ``name_1``, matrices ``name_1_1``."""
    columns: dict[str, Array] = {}
    for name, values in recorded.items():
        for index in np.ndindex(values.shape[1:]):
            column = "_".join([name, *(str(i + 1) for i in index)])
            while column in columns:  # another one's name ends in a number
                column += "_"
            columns[column] = values[:, *index]
    return columns


@dataclass(frozen=True, eq=False)
class History:
    """The recorded iterates of a run, m of them, the last iterate included.

    Attributes
    ----------
    step : (m,) int64 array
        Updates made before the iterate; ascending.
    loss : (m,) float64 array
    gradient_norm : (m,) float64 array
        Frobenius norm of the gradient with respect to the end-to-end matrix.
    weight_norm : (m,) float64 array
        Frobenius norm of the end-to-end matrix.
    seconds : (m,) float64 array
        Time spent on training until then, without compilation and without what is recorded; with
        the 0.03 ms or so that it takes to go on after a record that ``record`` asks for.
    recorded : dict of str to array
        What else was asked for by ``record``, by name: arrays (m, ...). ``history[name]`` is one of
        them, or one of those above. With a schedule as learning rate there is ``rate``, (m,), that
        of the update which follows the iterate; with batches ``batch_loss``, (m,), the loss at the
        iterate of the rows and labels of that update, NaN where none was made.
    """

    step: Array
    loss: Array
    gradient_norm: Array
    weight_norm: Array
    seconds: Array
    recorded: dict[str, Array] = field(default_factory=dict)

    def __repr__(self) -> str:
        facts: dict[str, object] = {"records": len(self)}
        if len(self):
            facts |= {"last_step": int(self.step[-1]), "loss": f"{self.loss[-1]:.6g}"}
        return showing.line(self, **facts, recorded=list(self.recorded))

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the first and the last record, and the shapes of others."""
        facts: dict[str, object] = {"records": len(self)}
        for name in [*HISTORY, *self.recorded]:
            values = self[name]
            if values.ndim == 1 and len(values):
                first, last = values[0], values[-1]
                facts[name.replace("_", " ")] = f"{first:.6g} to {last:.6g}"
            else:
                facts[name.replace("_", " ")] = f"shape {values.shape}"
        return showing.table(facts)

    def __len__(self) -> int:
        return len(self.step)

    def __getitem__(self, name: str) -> Array:
        if name in HISTORY:
            column: Array = getattr(self, name)
            return column
        if name not in self.recorded:
            known = ", ".join([*HISTORY, *self.recorded])
            raise KeyError(f"{validation.shown(name)} was not recorded, only {known}")
        return self.recorded[name]

    def columns(self) -> dict[str, Array]:
        """Return everything as columns (m,): of vectors, ``name_1`` and so on."""
        return {name: getattr(self, name) for name in HISTORY} | _widened(self.recorded)
