"""How many processors this process may use; nothing is imported for that."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cpus() -> int:
    """Return the number of CPUs that the affinity mask and the container's quota leave."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        # Rounded down: a thread that the quota suspends would stall the whole team.
        count = min(count, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no cgroup version 2 here, or no limit ("max")
    return max(count, 1)
