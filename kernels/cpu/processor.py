"""What the kernels are fitted to: vector width, number of registers and sizes of the caches."""

from functools import cache
from pathlib import Path

import llvmlite.binding as llvm
from numba import config
from numba.core.codegen import get_host_cpu_features

#: Bytes of a cache where the system does not say: those of most laptops and cloud machines.
FALLBACK = {1: 32 * 1024, 2: 512 * 1024, 3: 8 * 1024**2}

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


@cache
def vector_bytes() -> int:
    """Bytes in the widest SIMD vector that Numba generates code for: 64, 32 or 16.

    What a vector may be follows from the features alone, as in Numba itself: NUMBA_CPU_FEATURES, or
    else those of the host, whatever NUMBA_CPU_NAME is ("generic" stands for no features).
    """
    features = config.CPU_FEATURES
    enabled = (get_host_cpu_features() if features is None else features).split(",")
    has = {name for name in ("avx512f", "avx") if f"+{name}" in enabled}
    return 64 if "avx512f" in has else 32 if "avx" in has else 16


@cache
def vector_registers() -> int:
    """Return the number of SIMD registers: 16 on x86 without AVX-512, 32 elsewhere."""
    x86 = llvm.get_process_triple().startswith(("x86_64", "i386", "i686"))
    return 16 if x86 and vector_bytes() < 64 else 32


@cache
def cache_bytes(level: int) -> int:
    """Return the bytes of the data cache of a level, 1, 2 or 3.

    Linux states them under ``/sys``; elsewhere, and where that cannot be read, ``FALLBACK`` is
    assumed.
    """
    for index in sorted(_CACHES.glob("index*")):
        try:
            kind, at, size = (
                (index / name).read_text().strip() for name in ("type", "level", "size")
            )
            if kind in ("Data", "Unified") and int(at) == level:
                return int(size[:-1]) * _UNITS[size[-1]]
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return FALLBACK[level]
