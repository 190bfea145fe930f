"""NVIDIA's driver: its library, and what can be known of it without a call."""

import ctypes
import re
from pathlib import Path
from typing import Any

from . import platforms

__all__ = ["driver_library", "driver_version", "gpu_names", "load_driver"]

_NVIDIA = Path("/proc/driver/nvidia")


def driver_library() -> str:
    """Return the name of the driver's library."""
    return "nvcuda.dll" if platforms.windows() else "libcuda.so.1"


def load_driver() -> Any:
    """Load the driver's library, whose functions are to be called through ctypes.

    Raises
    ------
    OSError
        If there is none.
    """
    return ctypes.CDLL(driver_library())


def driver_version() -> str | None:
    """Return the version of the driver; None where the system does not tell: Linux does."""
    try:
        number = re.search(r"\b\d+(\.\d+)+\b", (_NVIDIA / "version").read_text(errors="replace"))
    except OSError:
        return None
    return number[0] if number else None


def gpu_names() -> list[str]:
    """Return the models of the GPUs that Linux shows, whether or not they can be used."""
    names = []
    for path in sorted(_NVIDIA.glob("gpus/*/information")):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model")]
    return names
