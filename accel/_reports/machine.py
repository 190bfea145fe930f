"""The facts about the machine and this installation that ``accel info`` shows."""

import os
import sys
from importlib import metadata
from pathlib import Path

from accel._support import gpu, toolkit
from accel._support.backends import cpu_threads, shares, unavailable
from accel._support.compiling import simd
from accel.kernels.system import caches, cpus, nvidia, platforms

__all__ = ["facts", "kernel_cache", "version"]

_EXTRAS = {
    "cli": ("typer", "rich", "matplotlib", "pandas", "scikit-learn", "pooch", "scipy"),
    "theory": ("scipy",),
    "sklearn": ("scikit-learn",),
    "parquet": ("polars",),
    "torch": ("torch",),
    "dask": ("dask", "distributed"),
    "bench": ("pytest-benchmark", "threadpoolctl", "torch", "jax", "optax"),
    "cuda": ("numba-cuda", "cupy-cuda13x"),
    "cuda12": ("numba-cuda", "cupy-cuda12x"),
}
_NOT_INSTALLED = "not installed"

Facts = dict[str, dict[str, str]]


def version(distribution: str) -> str:
    """The version of an installed distribution, or that it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return _NOT_INSTALLED


def _caches() -> str:
    """Sizes of the caches that the first CPU uses."""
    described = []
    for level, size, users in caches.caches():
        amount = f"{size / 2**20:g}M" if size >= 2**20 else f"{size / 2**10:g}K"
        described.append(f"L{level} {amount}iB{f' (of CPUs {users})' if users else ''}")
    return ", ".join(described) or "unknown: the system does not tell"


def _shapes() -> str:
    """What the passes over the data are compiled with on this machine."""
    from accel.kernels.cpu.shapes import VARIABLE, choose_here, shapes

    try:
        chosen = shapes()
    except ValueError as error:
        return f"none: {error}"
    words = ", ".join(f"{name} {value}" for name, value in chosen._asdict().items())
    return words if chosen == choose_here() else f"{words} ({VARIABLE} is set)"


def kernel_cache() -> Path:
    """Return the folder in which the CPU's kernels are kept.

    Raises
    ------
    OSError
        If none is, with the reason.
    """
    if os.environ.get("ACCEL_CACHE", "1") == "0":
        raise OSError("off (ACCEL_CACHE=0): kernels are compiled in every process")
    from numba.core.caching import FunctionCache

    from accel.kernels.cpu import jit
    from accel.kernels.sources import NO_PLACE

    try:
        # Numba caches all files of a source folder in one place, so any function of it will do.
        return Path(FunctionCache(jit.padded).cache_path)
    except NO_PLACE:
        if not Path(jit.__file__).exists():
            place = Path(jit.__file__).parent
            raise OSError(f"none: Numba has no place for kernels from {place}") from None
        raise OSError("none: no folder to write to; set NUMBA_CACHE_DIR to one") from None


def _kernel_cache() -> str:
    try:
        return str(kernel_cache())
    except OSError as error:
        return str(error)


def _threads() -> str:
    count = cpu_threads()
    value = os.environ.get("ACCEL_NUM_THREADS", "").strip()
    if value:
        return f"{count} (ACCEL_NUM_THREADS={value})"
    total, allowed, usable = cpus.present(), cpus.allowed(), cpus.cpus()
    limits = [name for name, share in shares().items() if share == count < usable]
    if limits:
        why = f"{limits[0]}={count}; the process may use {usable} CPUs"
    elif count < allowed:
        why = f"the container's quota; the process may use {allowed} CPUs"
    elif allowed < total:
        why = f"{cpus.allowed_in_words()}, of {total}"
    else:
        why = "all CPUs"
    return f"{count} ({why}; set ACCEL_NUM_THREADS for another number)"


def _backends() -> str:
    reasons = unavailable()
    usable = ", ".join(name for name, reason in reasons.items() if reason is None)
    return usable if reasons["cpu"] is None else f"{usable} (not cpu: {reasons['cpu']})"


def _gpu() -> str:
    device = gpu.device()
    simulated = " (NUMBA_ENABLE_CUDASIM=1: simulated)" if gpu.simulated() else ""
    if device is None:
        shown = ", ".join(nvidia.gpu_names())
        return f"none used: {gpu.missing()}{f' ({shown})' if shown else ''}{simulated}"
    major, minor = device.capability
    driver = nvidia.driver_version() or "of unknown version"
    return (
        f"{device.name}, compute capability {major}.{minor}, {device.memory / 2**30:.1f} GiB, "
        f"{device.multiprocessors} multiprocessors, driver {driver} for CUDA "
        f"{device.cuda[0]}.{device.cuda[1]}{simulated}"
    )


def _cupy() -> str:
    package = toolkit.cupy()
    if package is None:
        return _NOT_INSTALLED
    names = ", ".join(f"{name} {number}" for name, number in package.packages.items())
    if len(package.packages) > 1:
        remedy = f"uninstall all, then {toolkit.install(package.major)}"
        return f"{names}: they overwrite each other, {remedy}"
    built = "built here, for a CUDA that only it can tell" if package.major is None else ""
    return f"{names or 'of unknown version'} ({built or f'for CUDA {package.major}'})"


def _library(name: str, library: toolkit.Library | None) -> str:
    if library is None:
        return "not looked for: the package cuda-pathfinder is not installed"
    without = toolkit.LIBRARIES[name].without
    if library.problem:
        return f"cannot be loaded, so {without}: {library.problem}"
    if library.absent:
        return f"not found, so {without}"
    return f"{library.version or 'of unknown version'}, {library.path}"


def _cuda() -> dict[str, str]:
    """The packages and libraries that compile and launch kernels for a GPU; needs no driver."""
    packages = {"numba-cuda": version("numba-cuda"), "CuPy": _cupy()}
    if set(packages.values()) == {_NOT_INSTALLED}:
        return packages
    libraries = {name: toolkit.find(name) for name in toolkit.LIBRARIES}
    described = {name: _library(name, library) for name, library in libraries.items()}
    absent = [name for name, library in libraries.items() if library and library.absent]
    return packages | described | ({"missing": toolkit.absence(absent)} if absent else {})


def _extras() -> dict[str, str]:
    missing = {
        extra: [name for name in names if version(name) == _NOT_INSTALLED]
        for extra, names in _EXTRAS.items()
    }
    if (package := toolkit.cupy()) is not None:  # from any of its packages
        extra = "cuda12" if package.major == 12 else "cuda"
        missing[extra] = [name for name in missing[extra] if not name.startswith("cupy")]
    return {
        extra: "installed" if not names else f"lacks {', '.join(names)}"
        for extra, names in missing.items()
    }


def facts() -> Facts:
    """Collect the facts that matter to speed and to reports of trouble.

    Returns
    -------
    dict of str to dict of str to str
        Sections with names and values.
    """
    bits, instructions = simd()
    return {
        "versions": {
            "accel": version("implicit-accel"),
            "python": f"{sys.version.split()[0]} ({sys.executable})",
            **{name: version(name) for name in ("numpy", "numba", "llvmlite")},
        },
        "machine": {
            "system": platforms.described(),
            "CPU": cpus.model(),
            "SIMD width": f"{bits} bit{f' ({instructions})' if instructions else ''}",
            "caches": _caches(),
            "threads": _threads(),
            "GPU": _gpu(),
        },
        "CUDA": _cuda(),
        "kernels": {"backends": _backends(), "cache": _kernel_cache(), "shapes": _shapes()},
        "extras": _extras(),
    }
