"""The peak of memory of a run beyond its inputs, each in a process of its own.

The kernels are loaded first; then X (n, d) and y are made, and the peak that Linux keeps is set
back to what is in use. What the run adds to that is held against the size of X.
"""

import json
import subprocess
import sys
from typing import Any

from benchmarks.harness import page
from benchmarks.harness.report import met_words

#: Beyond the inputs, in units of the bytes of X.
MUST = 1.3
_KINDS = {
    "train, X on a 64-byte boundary": (True, 1),
    "train, X as NumPy allocates it": (False, 1),
    "sweep of 16 models, X on a 64-byte boundary": (True, 16),
}
_CHILD = """
import gc, json, re, sys
from pathlib import Path
import numpy as np
import accel
from accel._support.arrays import aligned

n, d, on_boundary, models = json.loads(sys.argv[1])

def run(X, y):
    problem = accel.LpProblem(X, y, p=4.0)
    network = accel.LinearNetwork.for_problem(problem, depth=1)
    rates = [1e-4 / (1 + m) for m in range(models)]
    pairs = [(network, accel.GradientDescent(rate)) for rate in rates]
    if models == 1:
        return accel.train(problem, *pairs[0], steps=3)
    return accel.sweep(problem, pairs, steps=3)

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

rng = np.random.default_rng(0)
small = rng.standard_normal((1000, d), dtype=np.float32)
run(small, small[:, 0].copy())
X = rng.standard_normal((n, d), dtype=np.float32)
y = X[:, 0] + X[:, 1]
if on_boundary:
    X = aligned(X)
else:
    buffer = np.empty(X.nbytes + 64, np.uint8)
    start = 16 - buffer.ctypes.data % 64
    moved = buffer[start % 64 : start % 64 + X.nbytes].view(np.float32).reshape(X.shape)
    moved[:] = X
    X = moved
del small
gc.collect()
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
kept = run(X, y)
print(json.dumps({"before": 1024 * before, "peak": 1024 * kilobytes("VmHWM"), "X": X.nbytes}))
"""


def measure(quick: bool) -> list[dict[str, Any]]:
    """A row for each kind of run; a gap where the system does not report its memory."""
    n, d = 50_000 if quick else 1_000_000, 128
    return [
        {"name": name, "n": n, "d": d, **_measured(n, d, *kind)} for name, kind in _KINDS.items()
    ]


def _measured(n: int, d: int, on_boundary: bool, models: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps([n, d, on_boundary, models])],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"gap": reason}
    told = json.loads(done.stdout.splitlines()[-1])
    return {**told, "ratio": (told["peak"] - told["before"]) / told["X"]}


def markdown(rows: list[dict[str, Any]]) -> str:
    """A line a kind of run."""
    lines = []
    for row in rows:
        name = f"{row['name']} ({row['n']} x {row['d']}, float32)"
        if "gap" in row:
            lines.append([name, f"not measured: {row['gap']}", "", ""])
            continue
        beyond = (row["peak"] - row["before"]) / 2**20
        met = met_words(row["ratio"] < MUST)
        lines.append([name, f"{beyond:.0f} MiB", f"{row['ratio']:.2f}", met])
    header = ["memory beyond the inputs, at its peak", "", "over the bytes of X", f"under {MUST:g}"]
    return page.table(header, lines)
