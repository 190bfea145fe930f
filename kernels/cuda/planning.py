"""Planning: finding out, without a device, which kernels a program would launch on one.

With ``ACCEL_CUDA_PLANNING=9.0`` in the environment, a compute capability, all arrays are NumPy's, a
run is laid out as on such a device, and kernels are noted in place of being launched. There are no
results. If ``ACCEL_CUDA_PLAN`` names a file, each kernel is appended to it as soon as it
is noted: a line with its name and how another process can make it (``warm`` has them compiled).
"""

import base64
import os
import pickle
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, NamedTuple

#: Environment variables: the device to plan for, and the file to write to.
PLANNING, PLAN = "ACCEL_CUDA_PLANNING", "ACCEL_CUDA_PLAN"


class Device(NamedTuple):
    """The properties of a device that a plan uses; a block may have ``shared`` bytes of memory."""

    major: int
    minor: int
    multiprocessors: int
    shared: int


#: Devices to plan for by compute capability alone: A100, H100 and H200, B200.
_DEVICES = (
    Device(8, 0, 108, 166_912),
    Device(9, 0, 132, 232_448),
    Device(10, 0, 148, 232_448),
)


def device_of(text: str) -> Device:
    """Parse a device: ``9.0``, or ``9.0 114 232448`` with its multiprocessors and shared memory.

    Raises
    ------
    ValueError
        If the text is not like that, or if nothing more is known of the compute capability.
    """
    capability, *rest = text.split()
    major, _, minor = capability.partition(".")
    numbers = [major, minor, *rest]
    if not all(n.isascii() and n.isdigit() for n in numbers) or len(rest) not in (0, 2):
        raise ValueError(f"a compute capability is like 9.0, got {text!r}")
    if rest:
        return Device(*map(int, numbers))
    for device in _DEVICES:
        if device[:2] == (int(major), int(minor)):
            return device
    known = ", ".join(f"{device.major}.{device.minor}" for device in _DEVICES)
    raise ValueError(f"no device of compute capability {capability} is known, only of {known}")


def text_of(device: Device) -> str:
    """Return the text that ``device_of`` parses."""
    return f"{device.major}.{device.minor} {device.multiprocessors} {device.shared}"


#: The device to plan for; None where kernels run.
DEVICE = device_of(os.environ[PLANNING]) if os.environ.get(PLANNING) else None

#: Kernels that this process would have launched, by name.
noted: dict[str, Any] = {}


def makes_kernel(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function that makes a kernel: each is made once, and knows how it was made.

    Its ``recipe`` is the decorated function and the arguments: both can be pickled.
    """

    @cache
    @wraps(factory)
    def made(*arguments: Any) -> Any:
        kernel = factory(*arguments)
        kernel.recipe = (made, arguments)
        return kernel

    return made


def note(kernel: Any) -> None:
    """Note a kernel that would be launched now."""
    if kernel.name in noted:
        return
    noted[kernel.name] = kernel
    if path := os.environ.get(PLAN):
        recipe = base64.b64encode(pickle.dumps(kernel.recipe)).decode()
        with open(path, "a", encoding="ascii") as file:
            file.write(f"{kernel.name} {recipe}\n")


def kernel_of(recipe: str) -> Any:
    """Make a kernel from the recipe that ``note`` wrote behind its name."""
    factory, arguments = pickle.loads(base64.b64decode(recipe))
    return factory(*arguments)
