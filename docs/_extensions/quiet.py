"""Keeps what accel says while it compiles out of the gallery, where it depends on the day."""

from accel._support import compiling


def quiet(_settings: object, _script: str) -> None:
    """Say nothing from now on; sphinx-gallery calls this before each script, in its process."""
    compiling.silenced().__enter__()
