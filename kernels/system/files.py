"""Files that outlast a power cut, and files that take the place of others at once."""

import contextlib
import os
import time
from pathlib import Path
from typing import IO, Any

from . import platforms

__all__ = ["flush", "flush_folder", "replace"]

#: On Windows a file that somebody has open, a virus scanner for instance, cannot be replaced: how
#: often that is tried, and the seconds in between.
_TRIES, _PAUSE = 20, 0.05


def flush(file: IO[bytes]) -> None:
    """Write all that an open file holds to the disk.

    Raises
    ------
    OSError
    """
    file.flush()
    if platforms.macos():  # there fsync leaves it in the cache of the disk
        import fcntl

        full: Any = fcntl
        with contextlib.suppress(OSError):  # not every file system does it
            full.fcntl(file.fileno(), full.F_FULLFSYNC)
            return
    os.fsync(file.fileno())


def replace(source: Path, target: Path) -> None:
    """Give a file another's name at once: at no time is there neither or half of one.

    Raises
    ------
    OSError
        PermissionError on Windows if the target stays open for a second.
    """
    for left in reversed(range(_TRIES if platforms.windows() else 1)):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if not left:
                raise
            time.sleep(_PAUSE)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder outlast a power cut, where folders can be opened and flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
