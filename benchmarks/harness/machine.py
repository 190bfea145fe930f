"""The facts about the machine in a record, and an environment that slows no peer down."""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Pins OpenBLAS to kernels that may be older than the CPU: NumPy would not run at its best.
BLAS_OVERRIDE = "OPENBLAS_CORETYPE"

LIBRARIES = (
    "implicit-accel",
    "numpy",
    "numba",
    "llvmlite",
    "threadpoolctl",
    "scipy",
    "scikit-learn",
    "torch",
    "jax",
    "jaxlib",
    "optax",
)


def peer_threads() -> int:
    """The CPUs that this process may use: the same number for every contender."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def handicap() -> str:
    """One line if the environment slows NumPy down, else nothing."""
    value = os.environ.get(BLAS_OVERRIDE)
    if not value:
        return ""
    return f"{BLAS_OVERRIDE}={value} is set; `python -m benchmarks pytest` runs without it"


def cpu_name() -> str:
    """Name, family and model: virtual machines give processors of several generations one name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    if "model name" not in fields:
        return platform.machine()
    details = ", ".join(f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields)
    name = fields["model name"].strip()
    return f"{name} ({details.removeprefix('cpu ')})" if details else name


def slug(about: dict[str, Any]) -> str:
    """The part of a file name for the machine of a record: its GPU, or CPU and CPUs in use."""
    if "device" in about:
        return _slug(about["device"]["name"])
    name = re.sub(r"\(r\)|\(tm\)|\bcpu\b|@[^(]*", "", about["cpu"].lower())
    return f"{_slug(name)}-{about['cpus_in_use']}cpu"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def versions(libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    by_name = {"python": platform.python_version()}
    for library in libraries:
        try:
            by_name[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            by_name[library] = "not installed"
    return by_name


def blas() -> list[dict[str, Any]]:
    """Every BLAS in this process: library, core type whose kernels it uses, threads."""
    try:
        import numpy  # noqa: F401  # its BLAS must be loaded to be seen
        import threadpoolctl
    except ImportError:
        return []
    keys = ("internal_api", "architecture", "num_threads", "version", "prefix")
    infos = threadpoolctl.threadpool_info()
    return [{k: info.get(k) for k in keys} for info in infos if info.get("user_api") == "blas"]


def describe(libraries: Sequence[str] = LIBRARIES) -> dict[str, Any]:
    """CPU, system, versions of the libraries, and the BLAS that NumPy has."""
    return {
        "cpu": cpu_name(),
        "cpus_in_use": peer_threads(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": versions(libraries),
        "blas": blas(),
        "environment": {k: v for k, v in os.environ.items() if k.startswith("OPENBLAS_")},
    }


def restart_without_override() -> None:
    """Replace this process by one whose BLAS chooses its kernels for this very CPU.

    OpenBLAS reads the variable when it is loaded, so nothing short of a new process helps.
    """
    if os.environ.pop(BLAS_OVERRIDE, None) is not None:
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ)
