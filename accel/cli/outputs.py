"""The files that a command writes: their paths, checked before the work, and their writing."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._files import paths
from accel._reports.csv_files import history_rows, write_rows
from accel._runs.history import HISTORY
from accel.tuning import Comparison, Model

__all__ = [
    "comparison_csv",
    "comparison_name",
    "output_file",
    "output_paths",
    "train_name",
    "write",
]

_SUFFIXES = (".npz", ".csv", ".png")
#: What names a file that commands do not write, and not a folder.
_OTHERS = (".html", ".jpeg", ".jpg", ".json", ".npy", ".parquet", ".pdf", ".svg", ".tsv", ".txt")
_LONG = 100  # characters of the name of a file
_UNSAFE = re.compile(r"[^\w.+-]+")


def _safe(name: str) -> str:
    """A name that every file system takes; of a long one a part, and a hash of the whole."""
    name = _UNSAFE.sub("_", name).strip("._") or "run"
    if len(name) <= _LONG:
        return name
    return f"{name[: _LONG - 9]}-{sha256(name.encode()).hexdigest()[:8]}"


def train_name(stem: str, optimizer: Optimizer, network: Network, seed: int) -> str:
    """The name of a run's files: data, loss, optimiser, depth, width, learning rate and seed."""
    hidden = network.widths[1:-1]
    width = f"-w{max(hidden)}" if hidden else ""
    rate = f"-lr{optimizer.learning_rate:.3g}"
    return _safe(f"train-{stem}-{optimizer.name}-d{network.depth}{width}{rate}-s{seed}")


def comparison_name(
    stem: str, models: Sequence[Model], width: int | None, seed: int, others: Mapping[str, Any]
) -> str:
    """The name of a comparison's files: data, loss, optimisers with their depths, and seed.

    Of ``others``, the settings that are not as by default, the name has a hash.
    """
    depths: dict[str, list[str]] = {}
    for model in models:
        depths.setdefault(model.optimizer, []).append(f"d{model.depth}")
    told = "-".join("-".join([name, *each]) for name, each in depths.items())
    more = f"-{sha256(repr(sorted(others.items())).encode()).hexdigest()[:6]}" if others else ""
    return _safe(f"compare-{stem}-{told}{'' if width is None else f'-w{width}'}-s{seed}{more}")


def output_paths(
    out: Path, name: str, kinds: Sequence[str], source: Path | None, *, force: bool
) -> list[Path]:
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
    force : bool
        Whether files that are there may be replaced.

    Returns
    -------
    list of Path
        Files in a folder that is there or can be made.

    Raises
    ------
    ValueError
        If a file cannot be written there, is there already without ``force``, or would overwrite
        the data.
    """
    out, where = paths.given("--out", out), paths.text(out)
    if out.suffix.lower() in (*_SUFFIXES, *_OTHERS) and not out.is_dir():
        if out.suffix.lower() not in kinds:
            raise ValueError(f"--out must be a folder or end in {', '.join(kinds)}, got {where}")
        files = list(dict.fromkeys([out, out.with_suffix(".png")]))
    else:
        files = [out / f"{name}{kind}" for kind in kinds]
    for path in files:
        _check_file(path, where, {} if source is None else {"data": source}, force)
    return files


def output_file(out: Path, sources: Mapping[str, Path], *, force: bool) -> Path:
    """Check that a file can be written, and is none of those that are read, by what they are.

    Raises
    ------
    ValueError
        As ``output_paths``.
    """
    out = paths.given("--out", out)
    _check_file(out, paths.text(out), sources, force)
    return out


def _check_file(path: Path, where: str, sources: Mapping[str, Path], force: bool) -> None:
    refusal = paths.refusal(path)
    for what, source in sources.items():
        if not refusal and path.samefile(source):
            raise ValueError(f"--out would overwrite the {what} in {paths.text(source)}")
    if refusal not in ("", paths.MISSING):
        raise ValueError(f"--out {where}: {paths.text(path)} cannot be written: {refusal}")
    if not refusal and not force:
        raise ValueError(
            f"{paths.text(path)} is there already: --force replaces it, --out takes another place"
        )
    folder = path.absolute().parent
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(
            f"--out {where}: {paths.text(existing)} is no folder that can be written to"
        )


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
