"""NVIDIA's libraries that compile CUDA kernels: where they are, or which of them are missing.

They are looked for as numba-cuda and CuPy do, by NVIDIA's cuda-pathfinder: among the packages of
this Python, in a conda environment, where the system's loader looks, and under ``CUDA_PATH`` or
``CUDA_HOME``. Libraries that are there are loaded into the process, as those two would do later.
This needs no driver and makes no context on a device.
"""

import json
import os
import re
import sys
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "LIBRARIES", "NEEDED", "CuPy", "Library", "absence", "cupy", "find", "install", "present",
]  # fmt: skip

_FINDER = "cuda.pathfinder"
_LIBDEVICE = ("nvvm", "libdevice", "libdevice.10.bc")
_SYSTEM = Path("/usr/local/cuda")  # where numba-cuda looks for libdevice in the end
_SOURCES = ("cupy", *(f"cupy-cuda{major}x" for major in range(11, 20)))


@dataclass(frozen=True)
class _Kind:
    """Facts about a library, wherever it is."""

    name: str  # cuda-pathfinder's
    packages: tuple[str, ...]  # those that contain it
    without: str  # the consequence if it is missing


#: NVIDIA's libraries, by their names in NVIDIA's documentation.
LIBRARIES = {
    "libnvvm": _Kind("nvvm", ("nvidia-cuda-nvcc-cu12", "nvidia-nvvm"), "no kernel can be compiled"),
    "libdevice": _Kind("", ("nvidia-cuda-nvcc-cu12", "nvidia-nvvm"), "no kernel can be compiled"),
    "NVRTC": _Kind(
        "nvrtc",
        ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"),
        "neither CuPy nor numba-cuda can compile",
    ),
    "nvJitLink": _Kind(
        "nvJitLink",
        ("nvidia-nvjitlink", "nvidia-nvjitlink-cu12"),
        "the driver compiles in its place, in every process anew",
    ),
    "cuBLAS": _Kind(
        "cublas",
        ("nvidia-cublas", "nvidia-cublas-cu12"),
        "no Gram form and no wide products on the GPU",
    ),
    "cuSOLVER": _Kind(
        "cusolver",
        ("nvidia-cusolver", "nvidia-cusolver-cu12"),
        "no end-to-end rule with several outputs on the GPU",
    ),
}
#: All of these are needed to run anything on a GPU.
NEEDED = ("libnvvm", "libdevice", "NVRTC")


@dataclass(frozen=True)
class Library:
    """One of NVIDIA's libraries.

    Attributes
    ----------
    name : str
        One of `LIBRARIES`.
    path : str or None
        The file; None if it was not found.
    version : str or None
        Of the package or the CUDA toolkit that it is part of, if known.
    problem : str or None
        Why it could not be loaded, though it was found.
    """

    name: str
    path: str | None = None
    version: str | None = None
    problem: str | None = None

    @property
    def absent(self) -> bool:
        """Whether it was not found. One that was found and cannot be loaded is not absent."""
        return self.path is None and self.problem is None

    @property
    def major(self) -> int | None:
        """The first number of its version, for compilers that of CUDA; None if it is unknown."""
        return _leading(self.version or "")


@dataclass(frozen=True)
class CuPy:
    """The CuPy that is installed.

    Attributes
    ----------
    packages : dict of str to str
        The versions of the packages that contain it. If there are several, they overwrite each
        other's files.
    major : int or None
        The major version of CUDA that it was built for. None if it was built on this machine: then
        it would have to be imported to know.
    """

    packages: dict[str, str]
    major: int | None


def install(cuda: int | None = None) -> str:
    """Return the command that installs what a GPU needs.

    Parameters
    ----------
    cuda : int, optional
        The major version of CUDA that the packages are to be for; by default the newest.
    """
    extra = "cuda12" if cuda == 12 else "cuda"
    return f"pip install 'implicit-accel[{extra}]'"


def present() -> int | None:
    """Return the major version of CUDA that the installed packages are for, if they tell.

    CuPy tells, or else NVIDIA's bindings for Python, which numba-cuda needs: packages for another
    version do not go with them.
    """
    package = cupy()
    if package is not None and package.major is not None:
        return package.major
    try:
        return _leading(metadata.version("cuda-bindings"))
    except metadata.PackageNotFoundError:
        return None


def cupy() -> CuPy | None:
    """Describe the installed CuPy without importing it; None if there is none."""
    spec = find_spec("cupy")
    if spec is None:
        return None
    packages = {}
    for name in _SOURCES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return CuPy(packages, _built_for(spec.origin, list(packages)))


def _built_for(origin: str | None, packages: list[str]) -> int | None:
    """CUDA's major version, from a file in CuPy's binary packages, or else from their names."""
    version = ""
    if origin is not None:
        try:
            note = json.loads((Path(origin).parent / ".data" / "_wheel.json").read_bytes())
            version = str(note["cuda"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
    if not version and len(packages) == 1:
        version = packages[0].removeprefix("cupy-cuda")
    return _leading(version)


def _leading(version: str) -> int | None:
    """The number that a version begins with."""
    digits = re.match(r"\d+", version)
    return int(digits[0]) if digits else None


def find(name: str) -> Library | None:
    """Look for a library.

    Parameters
    ----------
    name : str
        One of `LIBRARIES`.

    Returns
    -------
    Library or None
        None if it cannot be looked for because cuda-pathfinder is not installed.
    """
    if name == "libdevice":
        place = _libdevice()
        return Library(name) if place is None else Library(name, place, _version(name, place))
    try:
        finder = import_module(_FINDER)
    except ImportError:
        return None
    try:
        path = finder.load_nvidia_dynamic_lib(LIBRARIES[name].name).abs_path
    except finder.DynamicLibNotFoundError:
        path = _as_numba_finds_it() if name == "libnvvm" else None
    except (RuntimeError, OSError) as error:  # it is damaged, or needs a library that is missing
        lines = str(error).splitlines()
        return Library(name, problem=lines[0] if lines else repr(error))
    return Library(name) if path is None else Library(name, path, _version(name, path))


def _as_numba_finds_it() -> str | None:
    """Return where numba-cuda finds libnvvm; some of its versions look in more places."""
    try:
        import_module("accel.kernels.cuda")  # makes a name in NumPy that numba-cuda needs
        path = import_module("numba.cuda.cuda_paths").get_cuda_paths()["nvvm"].info
    except (ImportError, AttributeError, KeyError, RuntimeError, OSError):
        return None
    return path if path and os.path.exists(path) else None


def _libdevice() -> str | None:
    """Return where libdevice is, trying the same places in the same order as numba-cuda."""
    prefix = Path(sys.prefix)
    places = [prefix.joinpath(*_LIBDEVICE)] if (prefix / "conda-meta").is_dir() else []
    for package in LIBRARIES["libdevice"].packages:
        places += [path for path in _files(package) if path.name == _LIBDEVICE[-1]]
    home = os.environ.get("CUDA_HOME", os.environ.get("CUDA_PATH"))
    # If the variable is set, numba-cuda looks there only.
    last = _SYSTEM if home is None else Path(home)
    places.append(last.joinpath(*_LIBDEVICE))
    return next((str(path) for path in places if path.is_file()), None)


def _files(package: str) -> list[Path]:
    """Return the files of a package; none if it is not installed."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]


def _version(name: str, path: str) -> str | None:
    """Return the version of the package or CUDA toolkit that a file belongs to, if known."""
    for package in LIBRARIES[name].packages:
        if any(Path(path) == file for file in _files(package)):
            return metadata.version(package)
    for folder in Path(path).resolve().parents:
        try:
            return str(json.loads((folder / "version.json").read_bytes())["cuda"]["version"])
        except (OSError, ValueError, KeyError, TypeError):
            if match := re.fullmatch(r"cuda-(\d+(\.\d+)*)", folder.name):
                return match[1]
    return None


def absence(names: list[str]) -> str:
    """Say in one line which libraries were not found, where they were looked for, and what to do.

    Parameters
    ----------
    names : list of str
        Of `LIBRARIES`.
    """
    set_here = [name for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    places = ["among the packages of this Python"]
    if conda := os.environ.get("CONDA_PREFIX"):
        places.append(f"in conda's {conda}")
    places.append("where the system's loader looks")
    places += [f"under {name}={os.environ[name]}" for name in set_here]
    if not set_here:
        places.append("under CUDA_HOME, which is not set")
    *first, last = names
    subject = f"{', '.join(first)} and {last} were" if first else f"{last} was"
    return (
        f"{subject} not found {', '.join(places[:-1])} or {places[-1]}: {install(present())}, or "
        "let CUDA_HOME name the folder of a CUDA toolkit"
    )
