"""The files that a command writes: their paths, checked before the work, and their writing."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from accel._files import paths
from accel._reports.csv_files import history_rows, write_rows
from accel._runs.history import HISTORY
from accel.tuning import Comparison

__all__ = ["comparison_csv", "output_paths", "write"]

_SUFFIXES = (".npz", ".csv", ".png")


def output_paths(out: Path, name: str, kinds: Sequence[str], source: Path | None) -> list[Path]:
    """Choose the files that a command writes, and check that they can be written.

    Parameters
    ----------
    out : Path
        A folder, or a file that ends in one of the kinds: then that file, and a PNG beside it.
    name : str
        Of the files in a folder, without their suffix.
    kinds : sequence of str
        Suffixes of the files that the command can write.
    source : Path or None
        The file the data came from, never to be overwritten.

    Returns
    -------
    list of Path
        Files in a folder that is there or can be made.

    Raises
    ------
    ValueError
        If a file cannot be written there, or would overwrite the data.
    """
    out, where = paths.given("--out", out), paths.text(out)
    if out.suffix.lower() in _SUFFIXES and not out.is_dir():
        if out.suffix.lower() not in kinds:
            raise ValueError(f"--out must be a folder or end in {', '.join(kinds)}, got {where}")
        files = list(dict.fromkeys([out, out.with_suffix(".png")]))
    else:
        files = [out / f"{name}{kind}" for kind in kinds]
    for path in files:
        refusal = paths.refusal(path)
        if source is not None and not refusal and path.samefile(source):
            raise ValueError(f"--out would overwrite the data in {paths.text(source)}")
        if refusal not in ("", paths.MISSING):
            raise ValueError(f"--out {where}: {paths.text(path)} cannot be written: {refusal}")
    folder = files[0].absolute().parent
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(
            f"--out {where}: {paths.text(existing)} is no folder that can be written to"
        )
    return files


def write(paths: Sequence[Path], writers: Mapping[str, Callable[[Path], object]]) -> None:
    """Write every file by the writer for its suffix; their folder is made if it is not there."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        writers[path.suffix.lower()](path)


def comparison_csv(path: Path, comparison: Comparison) -> None:
    """Write the curves of all models, one line a record."""
    rows = (
        (tuned.model.optimizer, tuned.model.depth, tuned.rate, *row)
        for tuned in comparison.models
        for row in history_rows(tuned.result.history, comparison.distances(tuned))
    )
    write_rows(path, ("optimizer", "depth", "learning_rate", "distance", *HISTORY), rows)
