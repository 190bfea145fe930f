"""How the CPU kernels are compiled, cached on disk and laid out in memory.

Kernels come from factories closed over what is known at compile time, and those closures hold
other compiled functions. Numba's own cache pickles the closure into its key, which differs from
process to process then; ``entry`` gives each specialisation a key of its own instead: its name,
what it is specialised for, and a hash of the sources (Numba looks only at the file of the outermost
function, so that an edit to a helper would go unnoticed).
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher
from numba.core.runtime import rtsys
from numba.core.sigutils import normalize_signature

from .. import compiling
from ..sources import NO_PLACE, sources
from .interrupts import held_within_passes
from .made_for import made_for, reason
from .parts import compiled_part, compiled_whole
from .processor import vector_bytes

#: ``reassoc`` lets sums run in vector lanes, ``contract`` allows fused multiply-add, ``nsz`` is
#: needed for both to vectorise. None of them may assume that NaN and inf do not occur. With
#: ``reassoc`` a loop that adds up a total must not store to an array as well: LLVM takes the vector
#: version of such a loop, and with it another order of summation, only where the arrays do not lie
#: close together in memory.
FASTMATH = {"reassoc", "contract", "nsz"}

#: Bytes in a cache line, and the alignment of every buffer of the kernels.
LINE = 64

_OPTIONS = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy", "boundscheck": False}


inner = compiled_part(**_OPTIONS)
#: For formulas in which an intermediate result may overflow: ``reassoc`` makes NaN of inf there.
in_order = compiled_part(**{**_OPTIONS, "fastmath": {"contract"}})
#: For sums that compute their own rounding errors: every operation as it is written.
as_written = compiled_part(**{**_OPTIONS, "fastmath": False})
#: For what is called per tile: arrays that cross a call have their references counted, atomically.
inlined = compiled_part(forceinline=True, **_OPTIONS)
#: Both at once, for what must give the same bits in a vector of any width, and on any machine.
inlined_as_written = compiled_part(forceinline=True, **{**_OPTIONS, "fastmath": False})
#: For thin layers that arrays cross: spliced in before LLVM, and their counting, see them.
spliced = compiled_part(inline="always", **_OPTIONS)
#: What Python calls, and is not kept on the disk; ``entry`` is.
whole = compiled_whole(**_OPTIONS)
_piece = compiled_part(piece=True, **_OPTIONS)


def named(*key: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put what a function is specialised for into its name, under the decorator that compiles it.

    The linker knows functions by name and argument types. Two specialisations that differ in
    neither would be taken for one as soon as both come from the disk: within a process Numba
    numbers them, but each was the first of its kind in the process that compiled it.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__qualname__ += "".join(f"_{part}" for part in key)
        return function

    return decorate


def lanes_for(columns: int, dtype: np.dtype[Any]) -> int:
    """Elements in a vector: the register's width, less where rows so short would be mostly padding.

    Rows are padded to whole vectors; a narrower vector is taken when that wastes over a quarter.
    """
    lanes = vector_bytes() // dtype.itemsize
    while lanes * dtype.itemsize > vector_bytes() // 2 and -columns % lanes > columns // 4:
        lanes //= 2
    return lanes


def padded(length: int, lanes: int) -> int:
    """Round ``length`` up to whole vectors."""
    return -(-length // lanes) * lanes


def row_length(d: int, dtype: np.dtype[Any]) -> int:
    """How long rows of d elements are kept: whole vectors."""
    return padded(d, lanes_for(d, dtype))


def aligned_zeros(size: int, dtype: Any) -> np.ndarray:
    """Zeros, 1-D, that start on a cache line."""
    dtype = np.dtype(dtype)
    raw = np.zeros(size * dtype.itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)


class _KeyedCache(FunctionCache):
    """Numba's on-disk cache of one function, under a key that we choose.

    Every specialisation has files of its own. Numba would number those of a function and keep the
    numbers in an index that it reads, changes and writes: two processes that do so at the same time
    can give one number to different kernels.

    Attributes
    ----------
    why : str
        Why the last kernel that was looked for is not there; empty if it never was.
    """

    def __init__(self, function: Callable[..., Any], key: tuple[Any, ...]) -> None:
        super().__init__(function)
        self._key, self.why = (key, tuple(made_for().items())), ""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (sig, codegen.magic_tuple(), self._key)

    def _choose_file(self, sig: Any, codegen: Any) -> None:
        digest = hashlib.sha256(repr(self._index_key(sig, codegen)).encode()).hexdigest()
        self._cache_file = IndexDataCacheFile(
            self._cache_path,
            # 16 digits tell them apart, and encrypted folders allow no more than 143 characters.
            f"{self._impl.filename_base}-{digest[:16]}",
            self._impl.locator.get_source_stamp(),
        )

    def has(self, sig: Any, target_context: Any) -> bool:
        """Whether a kernel is on the disk."""
        codegen = target_context.codegen()
        self._choose_file(sig, codegen)
        try:
            name = self._cache_file._load_index().get(self._index_key(sig, codegen))
            return name is not None and os.path.exists(self._cache_file._data_path(name))
        except Exception:  # as for ``load_overload``
            return False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load a kernel; None if there is none or its files are damaged."""
        self._choose_file(sig, target_context.codegen())
        found = None
        try:
            # Numba would first load all that it could compile, which takes longer than the rest: a
            # kernel needs no more than the runtime.
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(sig, target_context)
        except Exception:  # unpickling a damaged file raises whatever it likes
            self.why = "its file on the disk cannot be read"
            try:
                self.flush()
            except OSError:
                self.disable()
            return None
        if found is None:
            self.why = reason(self._cache_path)
        else:
            compiling.loaded(self._py_func)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save a kernel, or leave it to the next process to compile it again."""
        self._choose_file(sig, data.codegen)
        try:
            super().save_overload(sig, data)
        except OSError as error:
            compiling.not_kept(error)


def entry(*key: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that Python calls: compiled without the GIL, cached under ``key``.

    The key must tell apart all that the function's closure may hold. A Ctrl-C ends a compilation
    between two passes of the compiler.

    Raises
    ------
    RuntimeError
        If Numba has been told not to compile: without that the kernels are no Python that runs.
    """
    return _cached(whole, key)


def piece_of(*key: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate likewise a function that kernels call by its address (:mod:`.pieces`)."""
    return _cached(_piece, key)


def is_kept(dispatcher: Any, signature: Any) -> bool:
    """Whether an entry or a piece is compiled already, in this process or on the disk."""
    arguments, _ = normalize_signature(signature)
    if tuple(arguments) in dispatcher.overloads:
        return True
    cache = dispatcher._cache
    return isinstance(cache, _KeyedCache) and cache.has(signature, dispatcher.targetctx)


def _cached(compiled: Any, key: tuple[Any, ...]) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = compiled(named(*key)(function))
        if not isinstance(dispatcher, Dispatcher):
            raise RuntimeError(
                "NUMBA_DISABLE_JIT is set: Numba compiles nothing, and the CPU kernels do not run "
                "uncompiled; use backend='reference', or unset it"
            )
        # Numba wants a writable place for its files; without one we compile in every process.
        if os.environ.get("ACCEL_CACHE", "1") != "0" and sources(__package__):
            with contextlib.suppress(*NO_PLACE):
                dispatcher._cache = _KeyedCache(function, key)
        dispatcher.compile = held_within_passes()(dispatcher.compile)
        return dispatcher

    return decorate
