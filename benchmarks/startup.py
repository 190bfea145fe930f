"""What a user waits for before the first step: import, compilation, the cache; by subprocess.

Every figure comes from a fresh interpreter. The compiled code goes to a temporary NUMBA_CACHE_DIR,
so that the cache is cold when it should be and the user's own stays as it is.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

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
    """One figure in seconds with the limit it is held to."""

    name: str
    seconds: float
    must: float
    note: str = ""


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


def import_time(repeats: int = 5) -> Startup:
    """Median time of ``import accel``, the file system's caches warm."""
    _python(_IMPORT)
    runs = [_python(_IMPORT) for _ in range(repeats)]
    loaded = runs[0]["loaded"]
    note = f"loads {', '.join(loaded)}" if loaded else "loads none of the heavy libraries"
    return Startup("import accel", statistics.median(r["seconds"] for r in runs), 0.5, note)


def first_train(repeats: int = 3) -> tuple[Startup, Startup]:
    """The first ``train`` of a process: with a cold cache, and what a warm one leaves of it."""
    with tempfile.TemporaryDirectory() as folder:
        cold = _python(_TRAIN, NUMBA_CACHE_DIR=folder)
        warm = [_python(_TRAIN, NUMBA_CACHE_DIR=folder) for _ in range(repeats)]
    extra = statistics.median(r["first"] - r["later"] for r in warm)
    later = statistics.median(r["later"] for r in warm)
    return (
        Startup("first train, cold cache", cold["first"], 30.0),
        Startup("first train, warm cache: more than a later", extra, 1.0, f"later: {later:.3f} s"),
    )
