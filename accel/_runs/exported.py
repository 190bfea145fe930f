"""What ``Run.export`` returns: all that a run depends on, as arrays by name.

Those of a snapshot have its name before theirs: ``loop_params`` are the factors of now,
``base_params`` and ``kept_params`` those of the snapshots that a run with batches and one with a
rate that follows the loss may go back to. With ``cut_`` before all their names come those of the
same run, had it more steps, where they are others.
"""

from collections.abc import Mapping

import numpy as np

from accel._support.arrays import Array, on_device
from accel.kernels import specs
from accel.kernels.protocols import Snapshot

__all__ = [
    "GROWING",
    "arrays_of",
    "cut_arrays",
    "cut_in",
    "made_in",
    "revived",
    "snapshot_in",
    "until",
    "without_cut",
]

#: Those whose length grows with the run.
GROWING = ("steps", "rows", "clock", "loop_active", "kept_active", "base_active")
_CUT = "cut_"


def arrays_of(name: str, snapshot: Snapshot) -> dict[str, Array]:
    """Return the parts of a snapshot as arrays, by names that begin with this one."""
    return {
        f"{name}_{part}": value if on_device(value) else np.asarray(value)
        for part, value in snapshot._asdict().items()
    }


def snapshot_in(name: str, arrays: Mapping[str, Array]) -> Snapshot:
    """Return the snapshot that ``arrays_of`` was given."""
    step, *parts = (arrays[f"{name}_{field}"] for field in Snapshot._fields)
    return Snapshot(int(step), *parts)


def cut_arrays(cut: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays of the run that has more steps under their names beside the others."""
    return {f"{_CUT}{name}": array for name, array in cut.items()}


def cut_in(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return what ``cut_arrays`` was given."""
    return {
        name.removeprefix(_CUT): array for name, array in arrays.items() if name.startswith(_CUT)
    }


def without_cut(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return all but those."""
    return {name: array for name, array in arrays.items() if not name.startswith(_CUT)}


def made_in(arrays: Mapping[str, Array]) -> int:
    """Return the updates that a run has made which ``Run.export`` described.

    Raises
    ------
    KeyError, ValueError
        If the arrays, as those of a damaged file, do not say so.
    """
    fates = arrays["loop_fates"]
    if (cut := arrays.get(f"{_CUT}loop_fates")) is not None:
        fates = np.concatenate([fates, cut])
    if fates.shape[1:] != (2,):
        raise ValueError("it does not say how many steps the run has made")
    return int(np.max(fates[:, 1], initial=0))


def until(arrays: Mapping[str, Array], steps: int) -> dict[str, Array]:
    """Return what a run goes on from that shall have so many steps.

    With a rate that follows the loss the last stretch of a run is judged at its end, in a longer
    run only later: that one goes on from before the judgement.
    """
    cut = cut_in(arrays)
    if cut and steps > cut["loop_fates"][0, 1]:
        return without_cut(arrays) | cut
    return dict(arrays)


def revived(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return what a run of one model was described by, the model in the run even if it has ended.

    Where it ended at a record, that is made once more.
    """
    if arrays["codes"][0] == specs.RUNNING:
        return dict(arrays)
    step = arrays["loop_fates"][0, 1]
    before = arrays["steps"] < step
    return {
        **arrays,
        "codes": np.full_like(arrays["codes"], specs.RUNNING),
        "steps": arrays["steps"][before],
        "rows": arrays["rows"][before],
        "loop_step": np.array(step),
        "loop_active": np.zeros_like(arrays["loop_active"], shape=1),
        "loop_fates": np.array([[specs.RUNNING, step]], arrays["loop_fates"].dtype),
    }
