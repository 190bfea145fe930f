"""The backends: which folder of ``kernels/`` a run uses, and with how many threads."""

import importlib
import os
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from accel._support import compiling, gpu, validation
from accel._support.arrays import Array
from accel.kernels import protocols
from accel.kernels.specs import Entrywise, Structure
from accel.kernels.system.cpus import cpus

_NAMES = ("reference", "cpu", "cuda")

#: Multiply-adds of a run, and of one of its steps, from which "auto" takes a GPU. A core makes some
#: 5e9 a second. Sixteen cores need ten seconds for 1e12, about as long as it may take to load CuPy
#: and to compile; for 1e6 they need no longer than the blocks of a GPU wait for each other in a
#: step. Both numbers are choices, not yet measured on a GPU.
_WORTH, _WORTH_A_STEP = 1e12, 1e6

#: What tells Numba not to compile: an environment variable, or a file in the working directory at
#: the start of the process.
_UNCOMPILED, _NUMBA_FILE = "NUMBA_DISABLE_JIT", ".numba_config.yaml"

_MOST_THREADS = 1024
_VARIABLE = "ACCEL_NUM_THREADS"
_SHARES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Backend:
    """The kernels of one backend, each file imported when it is first asked for.

    ``accel.kernels.protocols`` says what the files hold.

    Attributes
    ----------
    name : str
    lp_loss, factor_chain, curvature, entrywise, updates, precondition, loop, chunks, twofold, needs
        Modules.
    """

    name: str

    def _file(self, name: str) -> Any:
        compiling.announce(self.name)
        return importlib.import_module(f"accel.kernels.{self.name}.{name}")

    @property
    def lp_loss(self) -> protocols.LossModule:
        """Loss and gradient of a linear map."""
        return cast(protocols.LossModule, self._file("lp_loss"))

    @property
    def factor_chain(self) -> protocols.ChainModule:
        """Factors and their product."""
        return cast(protocols.ChainModule, self._file("factor_chain"))

    @property
    def curvature(self) -> protocols.CurvatureModule:
        """The Hessian in the factors times a vector."""
        return cast(protocols.CurvatureModule, self._file("curvature"))

    @property
    def entrywise(self) -> protocols.EntrywiseModule:
        """Maps made of vectors entry by entry: their values, gradients and curvature."""
        return cast(protocols.EntrywiseModule, self._file("entrywise"))

    def end_to_end(self, params: Array, structure: Structure) -> Array:
        """Return the end-to-end matrix (k, d) of flat factors, or vectors of an entrywise map."""
        if isinstance(structure, Entrywise):
            return self.entrywise.end_to_end(params, structure)
        return self.factor_chain.end_to_end(params, structure)

    def gradients(self, params: Array, structure: Structure, G: Array) -> Array:
        """Return the gradients of all factors or vectors, flat, from that of the matrix (k, d)."""
        if isinstance(structure, Entrywise):
            return self.entrywise.gradients(params, structure, G)
        return self.factor_chain.gradients(params, structure, G)

    def chain_curvature(
        self, params: Array, structure: Structure, G: Array
    ) -> protocols.ChainCurvature:
        """Begin products with the Hessian at a point, given the gradient G (k, d) of the loss."""
        if isinstance(structure, Entrywise):
            return self.entrywise.ChainCurvature(params, structure, G)
        return self.curvature.ChainCurvature(params, structure, G)

    @property
    def updates(self) -> protocols.UpdateModule:
        """Steps of optimisers."""
        return cast(protocols.UpdateModule, self._file("updates"))

    @property
    def precondition(self) -> protocols.PreconditionModule:
        """The end-to-end rule."""
        return cast(protocols.PreconditionModule, self._file("precondition"))

    @property
    def loop(self) -> protocols.LoopModule:
        """Whole runs."""
        return cast(protocols.LoopModule, self._file("loop"))

    @property
    def chunks(self) -> protocols.ChunksModule:
        """Sums over a part of the rows."""
        return cast(protocols.ChunksModule, self._file("chunks"))

    @property
    def twofold(self) -> protocols.TwofoldModule:
        """Dot products with twice the digits."""
        return cast(protocols.TwofoldModule, self._file("twofold"))

    @property
    def needs(self) -> protocols.NeedsModule:
        """Memory, and where data may lie."""
        return cast(protocols.NeedsModule, self._file("needs"))


def _uncompiled() -> bool:
    """Whether Numba has been told not to compile; Numba is loaded only if that is possible."""
    by_variable = _UNCOMPILED in os.environ
    if not (by_variable or "numba" in sys.modules or os.path.exists(_NUMBA_FILE)):
        return False
    from numba.core import config

    if by_variable:  # it may have been set after Numba was loaded; the compiler reads it anew, too
        config.reload_config()
    return bool(config.DISABLE_JIT)


@cache
def _warn_uncompiled() -> None:
    warnings.warn(
        f"{_UNCOMPILED} is set, so the CPU kernels cannot be compiled: the reference backend takes "
        "their place, which is plain NumPy and much slower",
        RuntimeWarning,
        stacklevel=3,
    )


def _reason(name: str) -> str | None:
    if name == "cpu" and _uncompiled():
        return f"{_UNCOMPILED} is set: the reference takes its place"
    return gpu.missing() if name == "cuda" and not gpu.simulated() else None


def unavailable() -> dict[str, str | None]:
    """Return for every known backend why it cannot be used here, or None if it can.

    The GPU is looked for once a process. With ``NUMBA_ENABLE_CUDASIM=1`` in the
    environment the CUDA backend needs none: it runs, very slowly, in Numba's simulator.

    Returns
    -------
    dict of str to (str or None)
    """
    return {name: _reason(name) for name in _NAMES}


def resolve(
    name: str = "auto", *, work: float = 0.0, steps: int = 1, on_device: bool = False
) -> Backend:
    """Return the backend of that name.

    Parameters
    ----------
    name : {"auto", "reference", "cpu", "cuda"}
        ``"auto"`` is ``"cuda"`` if there is a GPU that can be used and the data is on it, or the
        run is so long that starting up the GPU is small beside it: at least 1e6 multiply-adds a
        step and 1e12 in all. Else it is ``"cpu"``. Where Numba has been told not to compile
        (``NUMBA_DISABLE_JIT=1``, to debug or to measure coverage), the reference takes the place of
        ``"cpu"``, with a RuntimeWarning once a process.
    work : float
        Multiply-adds of a step, those of all models together.
    steps : int
        Of the run.
    on_device : bool
        Whether the data is in the memory of a GPU.

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
    >>> from accel._support.backends import resolve
    >>> resolve("auto").name
    'cpu'
    """
    validation.choice("backend", name, ["auto", *_NAMES])
    if name == "auto":
        worth = on_device or (work >= _WORTH_A_STEP and work * steps >= _WORTH)
        usable = worth and not gpu.simulated() and gpu.missing() is None
        name = "cuda" if usable else "cpu"
    if name == "cpu" and _uncompiled():
        _warn_uncompiled()
        return Backend("reference")
    if name == "cuda" and (reason := _reason(name)):
        raise ValueError(f"backend {name!r} is not available: {reason}")
    return Backend(name)


def shares() -> dict[str, int]:
    """Return the environment variables that limit this process's share of the CPUs, as numbers.

    joblib and Dask set them for their workers; batch systems and users do so, too.
    """
    values = {name: os.environ.get(name, "").split(",")[0].strip() for name in _SHARES}
    return {
        name: int(value)
        for name, value in values.items()
        if value.isascii() and value.isdigit() and int(value)
    }


def cpu_threads(requested: int | None = None) -> int:
    """Return the number of threads for the CPU kernels.

    Parameters
    ----------
    requested : int, optional
        1 to 1024. Otherwise the environment variable ``ACCEL_NUM_THREADS`` counts; without it the
        least of the CPUs that this process may use, ``NUMBA_NUM_THREADS`` and ``OMP_NUM_THREADS``.

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
        usable: int = cpus()
        return min(usable, *shares().values(), _MOST_THREADS)
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"{_VARIABLE} must be an integer, got {value!r}")
    return validation.integer(_VARIABLE, int(value), least=1, most=_MOST_THREADS)
