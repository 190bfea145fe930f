"""How many processors this process may use, and what they are; nothing heavy is imported."""

import ctypes
import os
import platform
from pathlib import Path

from . import platforms

__all__ = ["allowed", "allowed_in_words", "cpus", "model", "present"]

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CPUINFO = Path("/proc/cpuinfo")


def present() -> int:
    """Return the number of CPUs of this machine."""
    return os.cpu_count() or 1


def allowed() -> int:
    """Return the number of CPUs that this process may use, or should.

    On Linux and Windows its affinity mask has them. macOS has no masks; there they are the
    performance cores, since a team that meets at barriers is as slow as its slowest member.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    if platforms.windows():
        return _affinity() or present()
    if platforms.macos():  # one with cores of one kind has no levels
        return platforms.sysctl_number("hw.perflevel0.logicalcpu") or present()
    return present()


def allowed_in_words() -> str:
    """Return what ``allowed`` counts."""
    return "the performance cores" if platforms.macos() else "the CPUs this process may use"


def _affinity() -> int:
    """Return the CPUs in the process's mask: those of one group, where there are more than 64.

    It is 0 for a process that has threads in several groups.
    """
    library = platforms.kernel32()
    library.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(library.GetCurrentProcess())
    mine, all_ = ctypes.c_size_t(0), ctypes.c_size_t(0)
    if not library.GetProcessAffinityMask(process, ctypes.byref(mine), ctypes.byref(all_)):
        return 0
    return mine.value.bit_count()


def cpus() -> int:
    """Return the number of CPUs that ``allowed`` and the container's quota leave."""
    count = allowed()
    try:
        quota, period = _QUOTA.read_text().split()
        # Rounded down: a thread that the quota suspends would stall the whole team.
        count = min(count, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no cgroup version 2 here, or no limit ("max")
    return max(count, 1)


def model() -> str:
    """Return the name of the first CPU, or of its kind."""
    return _name() or platform.processor() or platform.machine() or "unknown"


def _name() -> str:
    if platforms.macos():
        return platforms.sysctl("machdep.cpu.brand_string").rstrip(b"\0").decode(errors="replace")
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else ""
