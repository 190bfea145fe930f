"""The JSON of every group: pytest-benchmark's format, and beside it what our own tables say.

A record is a dict in memory: ``group``, ``date``, ``quick``, ``machine``, ``commit``, the
``benchmarks`` with all their samples, and whatever the tables of its group are made of. On disk
``machine`` and ``commit`` lie where pytest-benchmark has them, and all but the benchmarks under
``accel``; so ``pytest-benchmark compare FILE`` reads it too. What is committed is `slim`.
"""

import datetime
import json
import math
import platform
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accel._files import archives
from benchmarks import ROOT
from benchmarks.harness import machine

_FORMAT = "5.3.1"  # pytest-benchmark's version whose files these are like
#: What no table is made of: samples and curves, and the details of a run of figure 3.
_RAW = {"samples", "curve", "stages", "figures"}

Record = dict[str, Any]


def record(group: str, quick: bool, about: dict[str, Any] | None = None, **fields: Any) -> Record:
    """A record with no benchmark yet; `about` is the machine, by default this one's CPU."""
    return {
        "group": group,
        "date": datetime.date.today().isoformat(),
        "quick": quick,
        "machine": machine.describe() if about is None else about,
        "commit": _commit(),
        "benchmarks": [],
        **fields,
    }


def entry(
    group: str, name: str, seconds: Sequence[float], iterations: int = 1, **extra: Any
) -> dict[str, Any]:
    """A benchmark and all its samples, each in seconds an iteration."""
    return {
        "group": group,
        "name": name,
        "fullname": f"{group}: {name}",
        "params": None,
        "param": None,
        "extra_info": extra,
        "options": {},
        "stats": {**statistics(seconds), "data": list(seconds), "iterations": iterations},
    }


def statistics(seconds: Sequence[float]) -> dict[str, Any]:
    """What pytest-benchmark tells of samples, under the names that it uses."""
    data = np.sort(np.asarray(seconds, np.float64))
    q1, median, q3 = (float(q) for q in np.percentile(data, [25, 50, 75]))
    mean, iqr = float(data.mean()), q3 - q1
    stddev = float(data.std(ddof=1)) if len(data) > 1 else 0.0
    fences = q1 - 1.5 * iqr, q3 + 1.5 * iqr
    inside = data[(fences[0] <= data) & (data <= fences[1])]
    by_deviation = int(np.count_nonzero(np.abs(data - mean) > stddev))
    by_quartiles = len(data) - len(inside)
    return {
        "min": float(data[0]),
        "max": float(data[-1]),
        "mean": mean,
        "stddev": stddev,
        "rounds": len(data),
        "median": median,
        "iqr": iqr,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": by_quartiles,
        "stddev_outliers": by_deviation,
        "outliers": f"{by_deviation};{by_quartiles}",
        "ld15iqr": float(inside[0]),
        "hd15iqr": float(inside[-1]),
        "ops": 1 / mean if mean else 0.0,
        "total": float(data.sum()),
    }


def write(content: Record, path: Path) -> Path:
    """Write a record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with archives.replacing(path) as file:
        file.write(f"{text(document(content))}\n".encode())
    return path


def document(content: Record) -> dict[str, Any]:
    """A record as it is on disk, in the format of pytest-benchmark."""
    own = {k: v for k, v in content.items() if k not in ("machine", "commit", "benchmarks")}
    return {
        "machine_info": _machine_info(content["machine"]),
        "commit_info": content["commit"],
        "benchmarks": content["benchmarks"],
        "datetime": content["date"],
        "version": _FORMAT,
        "accel": own,
    }


def text(value: Any) -> str:
    """JSON with a line for each row, which is what has no list of dicts within."""
    return _lines(_plain(value), "")


def _lines(value: Any, indent: str) -> str:
    if _is_row(value):
        return json.dumps(value, allow_nan=False)
    within = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_lines(item, within)}" for key, item in value.items()]
        opening, closing = "{}"
    else:
        items = [_lines(item, within) for item in value]
        opening, closing = "[]"
    return f"{opening}\n{within}" + f",\n{within}".join(items) + f"\n{indent}{closing}"


def _is_row(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_row, value.values()))
    return not isinstance(value, list) or not any(isinstance(item, dict) for item in value)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's; NaN and infinity, which are no JSON, as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def slim(content: Record) -> Record:
    """What is committed of a record: what its tables and `compare` read, without raw samples."""
    slimmed = without(content, _RAW)
    for benchmark in slimmed["benchmarks"]:
        benchmark["stats"].pop("data", None)
    return slimmed


def without(value: Any, names: Collection[str]) -> Any:
    """A copy of lists and dicts without the keys of these names, at whatever depth."""
    if isinstance(value, dict):
        return {key: without(item, names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [without(item, names) for item in value]
    return value


def file_name(content: Record) -> str:
    """``<CPU>-<date>-<group>.json`` or ``<GPU>-<date>.json``."""
    group = "" if content["group"] == "gpu" else f"-{content['group']}"
    return f"{machine.slug(content['machine'])}-{content['date']}{group}.json"


def read(path: Path) -> Record:
    """What `write` has written.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not a JSON file of this suite.
    """
    document = json.loads(path.read_text())
    if not isinstance(document, dict) or "group" not in document.get("accel", ()):
        raise ValueError("not written by `python -m benchmarks`")
    return {
        **document["accel"],
        "machine": document["machine_info"]["accel"],
        "commit": document["commit_info"],
        "benchmarks": document["benchmarks"],
    }


def _machine_info(about: dict[str, Any]) -> dict[str, Any]:
    system, release, processor = (*about.get("system", "").split(), "", "", "")[:3]
    return {
        "machine": processor,
        "processor": processor,
        "python_implementation": platform.python_implementation(),
        "python_version": about.get("versions", {}).get("python", ""),
        "system": system,
        "release": release,
        "cpu": {"brand_raw": about.get("cpu", ""), "count": about.get("cpus_in_use")},
        "accel": about,
    }


def _commit() -> dict[str, Any]:
    """Of the checkout, as pytest-benchmark tells it; empty where there is none."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout.strip()

    try:
        return {
            "id": git("rev-parse", "HEAD"),
            "time": git("show", "-s", "--format=%cI", "HEAD"),
            "branch": git("rev-parse", "--abbrev-ref", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
            "project": "implicit-accel",
        }
    except (OSError, subprocess.SubprocessError):
        return {}
