"""Where a command writes its files, and the writing."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from accel._files import paths

_SUFFIXES = (".npz", ".csv", ".png")


def output_paths(out: Path, name: str, kinds: Sequence[str], source: Path | None) -> list[Path]:
    """Where to write what a command leaves behind, checked before the work begins.

    Parameters
    ----------
    out : Path
        A folder, or a file that ends in one of the kinds: then that file, and a PNG beside it.
    name : str
        Of the files in a folder, without their suffix.
    kinds : sequence of str
        Suffixes.
    source : Path or None
        The file the data came from, never to be overwritten.

    Returns
    -------
    list of Path
        Files in a folder that is there or can be made.

    Raises
    ------
    ValueError
        If there is no writing at that place.
    """
    out, where = paths.given("--out", out), paths.text(out)
    if out.suffix.lower() in _SUFFIXES and not out.is_dir():
        if out.suffix.lower() not in kinds:
            raise ValueError(f"--out must be a folder or end in {', '.join(kinds)}, got {where}")
        found = list(dict.fromkeys([out, out.with_suffix(".png")]))
    else:
        found = [out / f"{name}{kind}" for kind in kinds]
    for path in found:
        refusal = paths.refusal(path)
        if source is not None and not refusal and path.samefile(source):
            raise ValueError(f"--out would overwrite the data in {paths.text(source)}")
        if refusal not in ("", paths.MISSING):
            raise ValueError(f"--out {where}: {paths.text(path)} cannot be written: {refusal}")
    folder = found[0].absolute().parent
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(
            f"--out {where}: {paths.text(existing)} is no folder that can be written to"
        )
    return found


def write(paths: Sequence[Path], writers: Mapping[str, Callable[[Path], object]]) -> None:
    """Write every file by the writer for its suffix; their folder is made if it is not there."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        writers[path.suffix.lower()](path)
