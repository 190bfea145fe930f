"""How the CUDA kernels are compiled, cached on disk and launched.

Numba translates a kernel to PTX for a compute capability, with no device needed; nvJitLink makes
machine code of that, which is kept on disk; CuPy loads and launches it. Numba's own launcher is not
used: it knows no more than 48 KiB of shared memory a block (numba-cuda issue 94) and no cooperative
launch without the device runtime, and converts every argument of every launch.

With ``NUMBA_ENABLE_CUDASIM=1`` kernels run in Numba's simulator and all arrays are NumPy's; they
are, too, where kernels are only planned (``planning``).
"""

import contextlib
import hashlib
import logging
import math
import os
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numba import config, types
from numba.core.caching import FunctionCache

from ..compiling import Compilation, happening
from ..sources import NO_PLACE, sources
from ..system.files import replace
from . import planning

#: Whether kernels run in the simulator.
SIMULATED = bool(config.ENABLE_CUDASIM)
#: Whether all arrays are NumPy's: in the simulator, and where kernels are only planned.
ON_HOST = SIMULATED or planning.DEVICE is not None

if ON_HOST:
    xp = np
else:
    import cupy as xp

_log = logging.getLogger("accel")

WARP = 32
#: Threads of a block. The simulator runs them one after the other.
THREADS = 64 if SIMULATED else 256
#: What the simulated device is taken for; small, so that small problems have many blocks.
SIMULATED_DEVICE = {"MultiProcessorCount": 3, "MaxSharedMemoryPerBlockOptin": 64 * 1024}
SIMULATED_CAPABILITY = (9, 0)
#: What a planned device calls its attributes.
_PLANNED = {"MultiProcessorCount": "multiprocessors", "MaxSharedMemoryPerBlockOptin": "shared"}
#: The packages whose versions decide what machine code is made; NVIDIA's for CUDA 13, then 12.
_COMPILERS = (
    "numba", "numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cuda-nvcc-cu12",
    "nvidia-nvjitlink-cu12",
)  # fmt: skip
#: The lanes that take part in a shuffle: all.
ALL = 0xFFFFFFFF


def as_like(given: Any, result: Any) -> Any:
    """Return a result where its argument came from: as NumPy's if that was NumPy's."""
    return result.get() if isinstance(given, np.ndarray) and not ON_HOST else result


def to_host(array: Any) -> Any:
    """Return a copy in NumPy's memory."""
    return array.copy() if ON_HOST else array.get()


def address_of(array: Any) -> int:
    """Return where an array begins."""
    if planning.DEVICE:  # CuPy begins a copy of NumPy's array at a multiple of 512
        return 0
    return int(array.ctypes.data if SIMULATED else array.data.ptr)


@cache
def _attributes(device_id: int) -> dict[str, int]:
    return dict(xp.cuda.Device(device_id).attributes)


def attribute(name: str) -> int:
    """Return an attribute of the device in use, by CUDA's name for it."""
    if planning.DEVICE:
        return getattr(planning.DEVICE, _PLANNED[name])
    return SIMULATED_DEVICE[name] if SIMULATED else _attributes(xp.cuda.Device().id)[name]


def capability() -> tuple[int, int]:
    """Return the compute capability of the device in use."""
    if planning.DEVICE:
        return planning.DEVICE[:2]
    if SIMULATED:
        return SIMULATED_CAPABILITY
    digits = xp.cuda.Device().compute_capability
    return int(digits[:-1]), int(digits[-1])


def blocks_at_once(per_multiprocessor: int) -> int:
    """Return how many blocks run at the same time if so many share a multiprocessor."""
    return per_multiprocessor * attribute("MultiProcessorCount")


def device(function: Callable[..., Any]) -> Any:
    """Decorate a function that kernels call; always inlined, so that its arrays stay registers."""
    if SIMULATED:
        return function
    from numba import cuda

    return cuda.jit(device=True, forceinline=True)(function)


def in_parts(count: int, most: int, make_part: Callable[[int, int], Any]) -> Any:
    """Make one function of ``make_part(begin, end)``'s, each for at most so many of ``count``.

    A loop that is too long for the compiler to unroll indexes its values by a variable, so that
    they lie in local memory. The limits differ: NVVM 13.0 has the least one, for sm_100.
    """
    if count <= most:
        return make_part(0, count)
    before, last = in_parts(count - most, most, make_part), make_part(count - most, count)

    @device
    def parts(*arguments):
        before(*arguments)
        last(*arguments)

    return parts


def pointer(dtype: Any) -> Any:
    """Return the Numba type of an array argument: a bare pointer, which has no negative indices."""
    return types.CPointer(getattr(types, np.dtype(dtype).name))


def record(kind: Any, dtype: np.dtype[Any], fields: dict[str, Any]) -> Any:
    """Return the Numba type of a named tuple of pointers and integers.

    ``fields`` gives each field's element dtype; None stands for ``dtype``, ``int`` for an int64.
    """
    members = [
        types.int64 if of is int else pointer(dtype if of is None else of) for of in fields.values()
    ]
    return types.NamedTuple(members, kind)


@cache
def _sources() -> str:
    digest = hashlib.sha256(str(sources(__package__)).encode())
    for package in _COMPILERS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            digest.update(metadata.version(package).encode())
    return digest.hexdigest()


@cache
def _folder() -> Path | None:
    """The folder for machine code: the one in which Numba would cache what this folder defines."""
    if os.environ.get("ACCEL_CACHE", "1") == "0" or sources(__package__) is None:
        return None
    try:
        return Path(FunctionCache(_folder.__wrapped__).cache_path)
    except NO_PLACE:
        return None


def _load(path: Path) -> bytes | None:
    """Read a file that ``_store`` wrote; None if there is none, or if it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content[32:] if hashlib.sha256(content[32:]).digest() == content[:32] else None


def _store(path: Path, code: bytes) -> None:
    """Write a file whole or not at all; a disk that is full or read-only costs time only."""
    partial_path = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial_path.write_bytes(hashlib.sha256(code).digest() + code)
            replace(partial_path, path)
        except OSError:
            partial_path.unlink(missing_ok=True)
            raise


def link(ptx: str, cc: tuple[int, int]) -> bytes:
    """Make machine code of PTX.

    Raises
    ------
    RuntimeError
        With the linker's words.
    """
    from cuda.bindings import nvjitlink

    options = [f"-arch=sm_{cc[0]}{cc[1]}", "-O3"]
    handle = nvjitlink.create(len(options), options)
    try:
        code = ptx.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, code, len(code), "kernel")
        nvjitlink.complete(handle)
        machine_code = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, machine_code)
        return bytes(machine_code)
    except nvjitlink.nvJitLinkError as error:
        log = bytearray(nvjitlink.get_error_log_size(handle))
        nvjitlink.get_error_log(handle, log)
        raise RuntimeError(f"nvJitLink: {error}: {log.decode(errors='replace')}") from error
    finally:
        nvjitlink.destroy(handle)


class Kernel:
    """A kernel for one specialisation; compiled for a device when it is first launched there.

    Parameters
    ----------
    function : callable
        The kernel, in Python.
    signature : sequence of Numba types
    key : tuple
        Tells apart all that the function's closure may hold.
    blocks : int
        So many blocks should fit on a multiprocessor: the compiler shares out the registers.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        signature: Sequence[Any],
        key: tuple[Any, ...],
        blocks: int = 1,
    ) -> None:
        self.name = "_".join(str(part) for part in (function.__name__, *key))
        self.blocks = blocks
        self.recipe: Any = None  # see planning.makes_kernel
        self._function, self._signature = function, tuple(signature)
        self._loaded: dict[int, Any] = {}
        self._shared = 48 * 1024  # bytes that a block may have without being asked for

    def ptx(self, cc: tuple[int, int]) -> str:
        """Compile to PTX, with ``name`` for its entry point; needs no device."""
        from numba import cuda

        code, _ = cuda.compile(
            self._function,
            types.void(*self._signature),
            device=False,
            abi="numba",
            cc=cc,
            launch_bounds=(THREADS, self.blocks),
        )
        mangled = re.search(r"\.entry (\w+)", code).group(1)
        # Numba's compiler may be newer than linker and driver; this is all that the code needs.
        least = "7.8" if cc < (10, 0) else "8.6" if cc < (12, 0) else "8.7"
        code = re.sub(r"\.version \d+\.\d+", f".version {least}", code, count=1)
        return code.replace(mangled, self.name)

    def _path(self, cc: tuple[int, int]) -> Path | None:
        key = (self.name, self._signature, self.blocks, cc, _sources())
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        folder = _folder()
        return None if folder is None else folder / f"{self.name[:80]}-{digest[:16]}.cubin"

    def kept(self, cc: tuple[int, int]) -> bool:
        """Whether the disk has its machine code."""
        path = self._path(cc)
        return path is not None and _load(path) is not None

    def machine_code(self, cc: tuple[int, int]) -> bytes:
        """Compile to machine code, or read it from the disk."""
        path = self._path(cc)
        code = None if path is None else _load(path)
        if code is None:
            file = self._function.__module__.rpartition(".")[2]
            with happening(Compilation("cuda", file, self.name, path is not None)):
                code = link(self.ptx(cc), cc)
            if path is not None:
                _store(path, code)
        return code

    def _load_here(self) -> Any:
        here = xp.cuda.Device()
        if here.id not in self._loaded:
            module, cc = xp.cuda.Module(), capability()
            try:
                code = self.machine_code(cc)
            except (ImportError, RuntimeError) as error:
                _log.warning("the driver compiles %s, not nvJitLink: %s", self.name, error)
                code = self.ptx(cc).encode()
            module.load(code)
            self._loaded[here.id] = module.get_function(self.name)
        return self._loaded[here.id]

    def prepared(
        self,
        grid: int | tuple[int, ...],
        arguments: Sequence[Any],
        *,
        shared: int = 0,
        cooperative: bool = False,
    ) -> Callable[..., None]:
        """Return a function that launches the kernel; what it is given goes on to the kernel.

        Parameters
        ----------
        grid : int or tuple of int
            Blocks, of ``THREADS`` threads each.
        arguments : sequence
            The first arguments of the kernel, converted once: arrays, integers and named tuples of
            them. The function returned keeps them alive: kernels know addresses only.
        shared : int
            Bytes of dynamic shared memory a block.
        cooperative : bool
            All blocks must run at the same time.

        Raises
        ------
        RuntimeError
            If they cannot.
        """
        grid = grid if isinstance(grid, tuple) else (grid,)
        if planning.DEVICE:
            planning.note(self)
            return lambda *more: None
        if SIMULATED:
            from numba import cuda

            simulated, first = cuda.jit(self._function), [_flat(a) for a in arguments]
            return lambda *more: simulated[grid, THREADS, 0, shared](*first, *more)
        function, driver = self._load_here(), xp.cuda.driver
        if shared > self._shared:  # never less: an earlier launch may come again
            driver.funcSetAttribute(
                function.ptr, driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared
            )
            self._shared = shared
        if cooperative:  # CuPy would launch fewer blocks, which wait for the others for ever
            fitting = driver.occupancyMaxActiveBlocksPerMultiprocessor(
                function.ptr, THREADS, shared
            )
            if blocks_at_once(fitting) < math.prod(grid):
                raise RuntimeError(
                    f"{math.prod(grid)} blocks of {self.name} with {shared} bytes of shared memory "
                    f"cannot run at the same time on this GPU"
                )
        first = [word for argument in arguments for word in _words(argument)]
        return partial(_launch, arguments, function, grid, first, shared, cooperative)


def _flat(argument: Any) -> Any:
    """Return a simulated kernel's argument; to a kernel all arrays are pointers."""
    if isinstance(argument, tuple):
        return type(argument)(*(_flat(part) for part in argument))
    return argument.reshape(-1) if isinstance(argument, np.ndarray) else argument


def _launch(
    alive: Sequence[Any],
    function: Any,
    grid: tuple[int, ...],
    first: list[int],
    shared: int,
    cooperative: bool,
    *more: int,
) -> None:
    function(grid, (THREADS,), (*first, *more), shared, None, cooperative)


def _words(argument: Any) -> list[Any]:
    """Return what a kernel is given for an argument: addresses, integers, floats of 64 bits."""
    if isinstance(argument, tuple):
        return [word for part in argument for word in _words(part)]
    if isinstance(argument, xp.ndarray):
        return [argument.data.ptr]
    return [np.float64(argument) if isinstance(argument, float) else int(argument)]
