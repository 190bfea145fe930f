"""What the kernels are fitted to, beside the caches: width and number of the vector registers."""

from functools import cache

import llvmlite.binding as llvm
from numba import config
from numba.core.codegen import get_host_cpu_features


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
