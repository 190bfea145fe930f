"""Paths that users give: checked before anything is opened, and told on one line."""

import os
import stat
from pathlib import Path

from accel._support import validation

__all__ = ["FOLDER", "MISSING", "SPECIAL", "given", "named", "refusal", "told", "unreadable"]

#: Refusals: nothing is there, or a folder, or a pipe or device.
MISSING, FOLDER, SPECIAL = "no such file", "a folder", "no regular file"

_LONG = 300  # characters; of a longer path the end tells most


def given(name: str, value: object) -> Path:
    """The path that a user means, with ``~`` resolved.

    Raises
    ------
    TypeError
        If it is no path.
    ValueError
        If it begins with the ``~`` of a user that there is not.
    """
    try:
        return Path(value).expanduser()  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a path, got {validation.shown(value)}") from None
    except RuntimeError:
        raise ValueError(f"{name} must be in a folder that is there, got {told(value)}") from None


def named(name: str, value: object, variable: str) -> Path | None:
    """The path that a user means, or else that in an environment variable; None without either."""
    if value is not None:
        return given(name, value)
    set_to = os.environ.get(variable)
    return given(variable, set_to) if set_to else None


def told(path: object) -> str:
    """Return a path as a message shows it: as it is, unless that would be no readable line."""
    text = str(path)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= _LONG else f"...{text[-_LONG:]}"


def refusal(path: Path) -> str:
    """Say why it is no file to read, or nothing if it is one.

    To open a pipe may take for ever, and a device may have no end.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a name with a zero byte
        return str(error)
    if stat.S_ISREG(mode):
        return ""
    return FOLDER if stat.S_ISDIR(mode) else SPECIAL


def unreadable(path: Path, error: Exception | str) -> ValueError:
    """Return what to raise of a file that is damaged; the error, or what is wrong in words."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ValueError(f"{told(path)}: not readable: {' '.join(reason.split()):.300}")
