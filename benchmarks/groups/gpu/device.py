"""The facts about the GPU in a record."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.harness import machine

LIBRARIES = (
    "implicit-accel",
    "numpy",
    "numba",
    "numba-cuda",
    "cupy-cuda13x",
    "cuda-bindings",
    "torch",
    "triton",
    "jax",
    "jaxlib",
    "jax-cuda13-plugin",
)

_QUERY = (
    "driver_version",
    "pstate",
    "temperature.gpu",
    "power.draw",
    "power.limit",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "clocks.max.mem",
    "ecc.mode.current",
)
_DRIVER = Path("/proc/driver/nvidia/version")


def describe() -> dict[str, Any]:
    """The device, the driver, the versions and the host."""
    from accel._support import gpu

    device, state = gpu.device(), query()
    about = {
        "name": device.name,
        "compute_capability": f"{device.capability[0]}.{device.capability[1]}",
        "memory_bytes": device.memory,
        "multiprocessors": device.multiprocessors,
        "driver": state.get("driver_version") or _driver(),
        "driver_cuda": f"{device.cuda[0]}.{device.cuda[1]}",
        "at_start": state,
    }
    return {
        "device": about,
        "versions": machine.versions(LIBRARIES),
        "cpu": machine.cpu_name(),
        "cpus_in_use": machine.peer_threads(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def query() -> dict[str, str]:
    """Driver, clocks and power as nvidia-smi reads them; empty where it cannot."""
    # It counts all devices, the libraries only the visible ones.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    command = ["nvidia-smi", f"--id={first}", f"--query-gpu={','.join(_QUERY)}"]
    try:
        done = subprocess.run(
            [*command, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(_QUERY, values, strict=True)) if len(values) == len(_QUERY) else {}


def _driver() -> str:
    try:
        version = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", _DRIVER.read_text())
    except OSError:
        version = None
    return version[1] if version else "unknown"
