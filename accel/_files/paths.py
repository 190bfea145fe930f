"""Paths that users pass: checked before anything is opened, and shown on one line."""

import os
import stat
from pathlib import Path

from accel._support import validation

__all__ = ["FOLDER", "MISSING", "SPECIAL", "given", "named", "refusal", "text", "unreadable"]

#: Why a path cannot be read: nothing is there, or a folder, or a pipe or device.
MISSING, FOLDER, SPECIAL = "no such file", "a folder", "no regular file"

_LONG = 300  # characters; of a longer path only the end is shown
_REASON, _OWN = 300, 440  # characters of a reason that are shown: of another's, and of our own


def given(name: str, value: object) -> Path:
    """The path that a user passes, with ``~`` resolved.

    Raises
    ------
    TypeError
        If it is not a path.
    ValueError
        If it begins with ``~`` and the name of a user who does not exist.
    """
    try:
        return Path(value).expanduser()  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a path, got {validation.shown(value)}") from None
    except RuntimeError:
        raise ValueError(f"{name} must be in a folder that is there, got {text(value)}") from None


def named(name: str, value: object, variable: str) -> Path | None:
    """The path that a user passes, else that in an environment variable, else None."""
    if value is not None:
        return given(name, value)
    set_to = os.environ.get(variable)
    return given(variable, set_to) if set_to else None


def text(path: object) -> str:
    """Return a path for a message: as it is, or escaped or cut so that it is one readable line."""
    line = str(path)
    line = line if line.isprintable() else repr(line)
    return line if len(line) <= _LONG else f"...{line[-_LONG:]}"


def refusal(path: Path) -> str:
    """Say why a path cannot be read as a file; empty if it can.

    Opening a pipe may wait for ever, and a device may have no end.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # the name has a zero byte
        return str(error)
    if stat.S_ISREG(mode):
        return ""
    return FOLDER if stat.S_ISDIR(mode) else SPECIAL


def unreadable(path: Path, error: Exception | str) -> ValueError:
    """Return the exception for a damaged file, from another one or from what is wrong in words."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    most = _OWN if isinstance(error, str) else _REASON
    return ValueError(f"{text(path)}: not readable: {' '.join(reason.split())[:most]}")
