"""The backends: which folder of ``kernels/`` a run uses, and how many threads it gets."""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from accel import validation

_MODULES = ("lp_loss", "factor_chain", "updates", "precondition", "loop")

#: Why a backend cannot be used; None if it can.
_REGISTRY: dict[str, str | None] = {
    "reference": None,
    "cpu": None,
    "cuda": "this version has no CUDA kernels",
}

_DEFAULT = "cpu"
_MOST_THREADS = 1024
_VARIABLE = "ACCEL_NUM_THREADS"
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class Backend:
    """The kernels of one backend, each file imported when it is first asked for.

    Attributes
    ----------
    name : str
    lp_loss, factor_chain, updates, precondition, loop : module
    """

    name: str

    def __getattr__(self, module: str) -> ModuleType:
        if module not in _MODULES:
            raise AttributeError(f"a backend has no attribute {module!r}")
        return importlib.import_module(f"accel.kernels.{self.name}.{module}")


def unavailable() -> dict[str, str | None]:
    """Every known backend, with the reason why it cannot be used here; None if it can.

    Returns
    -------
    dict of str to (str or None)
    """
    return dict(_REGISTRY)


def resolve(name: str = "auto") -> Backend:
    """Return the backend of that name.

    Parameters
    ----------
    name : {"auto", "reference", "cpu", "cuda"}
        ``"auto"`` is the fastest one that works here.

    Returns
    -------
    Backend

    Raises
    ------
    TypeError
        If name is no string.
    ValueError
        If no backend has that name, or if it is not available; the message says why.

    Examples
    --------
    >>> from accel.backends import resolve
    >>> resolve("auto").name
    'cpu'
    """
    validation.choice("backend", name, ["auto", *_REGISTRY])
    if name == "auto":
        name = _DEFAULT
    if reason := _REGISTRY[name]:
        raise ValueError(f"backend {name!r} is not available: {reason}")
    return Backend(name)


def _cpus() -> int:
    """CPUs that this process may use, by its affinity mask and its container's quota."""
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    else:
        cpus = os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        # Rounded down: a thread that the quota suspends would stall the whole team.
        cpus = min(cpus, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no cgroup version 2 here, or no limit ("max")
    return max(cpus, 1)


def cpu_threads(requested: int | None = None) -> int:
    """Threads for the CPU kernels.

    Parameters
    ----------
    requested : int, optional
        1 to 1024. Otherwise the environment variable ``ACCEL_NUM_THREADS`` counts, and without it
        the number of CPUs that this process may use.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If requested is no integer.
    ValueError
        If requested or the variable is out of range.
    """
    if requested is not None:
        return validation.integer("threads", requested, least=1, most=_MOST_THREADS)
    value = os.environ.get(_VARIABLE, "").strip()
    if not value:
        return min(_cpus(), _MOST_THREADS)
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"{_VARIABLE} must be an integer, got {value!r}")
    return validation.integer(_VARIABLE, int(value), least=1, most=_MOST_THREADS)
