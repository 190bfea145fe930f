"""Available memory, which is checked before much of it is taken.

Linux grants memory that it does not have, and kills the process that uses it. With an estimate in
advance there is a MemoryError instead, at once and with a reason.
"""

from collections.abc import Mapping

from accel.kernels.system.memory import available

__all__ = ["readable_size", "require"]

_SMALL = 64 * 2**20  # bytes: less is not checked


def readable_size(size: float) -> str:
    """Return a number of bytes as text for people, from MiB to EiB."""
    unit = "MiB"
    size /= 2**20
    for larger in ("GiB", "TiB", "PiB", "EiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.{0 if size >= 100 else 1}f} {unit}"


def require(what: str, needs: Mapping[str, float] | float) -> None:
    """Raise MemoryError if something needs more memory than is available.

    Parameters
    ----------
    what : str
        What needs it: the beginning of the message.
    needs : float, or mapping of str to float
        Estimate in bytes. If it has several parts, the message names the largest.

    Raises
    ------
    MemoryError
    """
    parts = needs if isinstance(needs, Mapping) else {"": needs}
    total = sum(parts.values())
    if total <= _SMALL or total <= (room := available()):
        return
    largest = max(parts, key=lambda name: parts[name])
    mostly = f", {readable_size(parts[largest])} of it for {largest}" if largest else ""
    raise MemoryError(
        f"{what} needs about {readable_size(total)} of memory{mostly}, "
        f"but {readable_size(room)} are available"
    )
