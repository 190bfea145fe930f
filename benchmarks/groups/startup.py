"""The group ``startup``: what a user waits for before the first step, and what is installed.

Every time comes from a fresh interpreter. The compiled code goes to a temporary NUMBA_CACHE_DIR,
so that the cache is cold when it should be and the user's own stays as it is.
"""

import functools
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.harness import page, records, report
from benchmarks.harness.records import Record
from benchmarks.harness.registry import Settings
from benchmarks.harness.timing import in_turn
from benchmarks.peers.common import Gap, require

#: Samples of an import, and of a first ``train``; one in the quick form.
IMPORTS, TRAINS = 5, 3
#: What a user of a peer imports before a first gradient step.
PEERS = ("numpy", "scipy.optimize", "sklearn.linear_model", "torch", "jax", "optax")
#: The requirement of each peer as a distribution, for its size.
DISTRIBUTIONS = ("scipy", "scikit-learn", "torch", "jax", "optax")

#: What must not be loaded by `import accel`, because each costs a good part of a second.
HEAVY = ("numba", "pandas", "matplotlib", "sklearn", "scipy")

_IMPORT = f"""
import json, sys, time
begin = time.perf_counter()
import accel
seconds = time.perf_counter() - begin
print(json.dumps({{"seconds": seconds, "loaded": [m for m in {HEAVY!r} if m in sys.modules]}}))
"""

# Small data: what is left of `train` is start-up.
_TRAIN = """
import json, time
import numpy as np
import accel

rng = np.random.default_rng(0)
X = rng.standard_normal((442, 10))
problem = accel.LpProblem(X, X @ rng.standard_normal(10), p=4.0)

def seconds():
    network = accel.LinearNetwork.for_problem(problem, depth=3, width=10, init="balanced")
    begin = time.perf_counter()
    accel.train(problem, network, accel.GradientDescent(1e-3), steps=100)
    return time.perf_counter() - begin

print(json.dumps({"first": seconds(), "later": sorted(seconds() for _ in range(5))[2]}))
"""


@dataclass(frozen=True)
class Startup:
    """One figure, the median of its samples in seconds, with the limit it is held to."""

    name: str
    samples: tuple[float, ...]
    must: float
    note: str = ""

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(self.samples)


def _python(code: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"start-up measurement failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def import_time(quick: bool) -> Startup:
    """Time of ``import accel``, the file system's caches warm."""
    _python(_IMPORT)
    runs = [_python(_IMPORT) for _ in range(1 if quick else IMPORTS)]
    loaded = runs[0]["loaded"]
    note = f"loads {', '.join(loaded)}" if loaded else "loads none of the heavy libraries"
    return Startup("import accel", tuple(r["seconds"] for r in runs), 0.5, note)


def first_train(quick: bool) -> tuple[Startup, Startup]:
    """The first ``train`` of a process: with a cold cache, and what a warm one leaves of it."""
    cold, warm = [], []
    for _ in range(1 if quick else TRAINS):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_python(_TRAIN, NUMBA_CACHE_DIR=folder)["first"])
            warm.append(_python(_TRAIN, NUMBA_CACHE_DIR=folder))
    extra = tuple(r["first"] - r["later"] for r in warm)
    later = statistics.median(r["later"] for r in warm)
    return (
        Startup("first train, cold cache", tuple(cold), 6.0),
        Startup("first train, warm cache: more than a later", extra, 0.5, f"later: {later:.3f} s"),
    )


def _to_the_table(folder: str) -> float:
    """Seconds from ``accel compare`` to its table, kernels and files in a folder."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "accel", "compare", "--force"],
        cwd=folder,
        env={**os.environ, "NUMBA_CACHE_DIR": folder},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as command:
        assert command.stdout is not None
        lines = [(line, time.perf_counter() - began) for line in command.stdout]
    seconds = [passed for line, passed in lines if line.startswith("model ")]
    if command.returncode != 0 or not seconds:
        raise RuntimeError(f"accel compare failed with {command.returncode}")
    return seconds[0]


def first_table(quick: bool) -> tuple[Startup, Startup]:
    """``accel compare``, with a cold cache and with a warm one."""
    cold, warm = [], []
    for _ in range(1 if quick else TRAINS):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_to_the_table(folder))
            warm.append(_to_the_table(folder))
    return (
        Startup("accel compare to its table, cold cache", tuple(cold), 10.0),
        Startup("accel compare to its table, warm cache", tuple(warm), 10.0),
    )


def peers_imports(quick: bool) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds to import each peer, in turn, and why some were not."""
    there, gaps = {}, {}
    for module in PEERS:
        try:
            require(module.partition(".")[0])
            there[module] = _IMPORT.replace("import accel", f"import {module}")
        except Gap as gap:
            gaps[module] = str(gap)
    for code in there.values():
        _python(code)
    calls = {module: functools.partial(_seconds_of, code) for module, code in there.items()}
    return in_turn(calls, 1 if quick else IMPORTS), gaps


def _seconds_of(code: str) -> float:
    return float(_python(code)["seconds"])


def sizes() -> list[dict[str, Any]]:
    """Megabytes of this package, and of it and the peers with all that they require."""
    own = [path for folder in ("accel", "kernels") for path in (ROOT / folder).rglob("*.py")]
    megabytes = sum(path.stat().st_size for path in own) / 1e6
    rows = [{"name": "implicit-accel", "megabytes": megabytes, "note": f"{len(own)} files"}]
    needs = {"implicit-accel": megabytes, **dict.fromkeys(DISTRIBUTIONS, 0.0)}
    for name, extra in needs.items():
        try:
            names = required(name)
        except importlib.metadata.PackageNotFoundError:
            rows.append({"name": name, "gap": f"{name} is not installed"})
            continue
        total = extra + sum(map(_installed, names - {"implicit-accel"}))
        note = ", ".join(sorted(names - {name}))
        rows.append({"name": f"{name} with what it requires", "megabytes": total, "note": note})
    return rows


def required(name: str) -> set[str]:
    """A distribution and all that it requires without extras, by their names.

    Raises
    ------
    PackageNotFoundError
        If the distribution itself is not installed.
    """
    from packaging.requirements import Requirement

    importlib.metadata.distribution(name)
    names, todo = set(), [name]
    while todo:
        here = todo.pop()
        if here in names:
            continue
        try:
            lines = importlib.metadata.distribution(here).requires or []
        except importlib.metadata.PackageNotFoundError:
            continue
        names.add(here)
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name.lower())
    return names


def _installed(name: str) -> float:
    """Megabytes of the files of a distribution, compiled Python left out."""
    files = importlib.metadata.files(name) or []
    paths = (file.locate() for file in files if file.suffix != ".pyc")
    return sum(Path(path).stat().st_size for path in paths if Path(path).is_file()) / 1e6


def measure(settings: Settings) -> Record:
    quick = settings.quick
    content = records.record("startup", quick, rounds=1 if quick else IMPORTS)
    figures = [import_time(quick), *first_train(quick), *first_table(quick)]
    content["startup"] = [
        {"name": s.name, "seconds": s.seconds, "must": s.must, "note": s.note} for s in figures
    ]
    content["benchmarks"] = [
        records.entry("startup", s.name, s.samples, kind="ours", note=s.note) for s in figures
    ]
    samples, content["gaps"] = peers_imports(quick)
    content["benchmarks"] += [
        records.entry("startup", f"import {name}", seconds, kind="peer")
        for name, seconds in samples.items()
    ]
    content["sizes"] = sizes()
    return content


def markdown(content: Record) -> str:
    """Times with their limits, the peers' imports, sizes."""
    rows = [
        [s["name"], _seconds(s["seconds"]), f"under {s['must']:g} s",
         report.met_words(s["seconds"] < s["must"]), s["note"]]
        for s in content["startup"]
    ]  # fmt: skip
    rows += [
        [b["name"], _seconds(b["stats"]["median"]), "", "", "a peer"]
        for b in content["benchmarks"]
        if b["extra_info"]["kind"] == "peer"
    ]
    rows += [[f"import {name}", gap, "", "", "a peer"] for name, gap in content["gaps"].items()]
    times = page.table(["from a fresh interpreter", "", "must", "met", ""], rows)
    rows = [
        [row["name"], row.get("gap") or f"{row['megabytes']:.1f} MB", row.get("note", "")]
        for row in content["sizes"]
    ]
    about = f"{report.machine_line(content)}; medians of up to {content['rounds']} runs."
    return f"{about}\n\n{times}\n\n{page.table(['installed', '', ''], rows)}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"


summary = markdown


def plots(content: Record) -> dict[str, bytes]:
    """None."""
    return {}
