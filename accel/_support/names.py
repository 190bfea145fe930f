"""Public names for what private modules define."""

from collections.abc import Iterable, Mapping
from types import FunctionType

__all__ = ["publish"]


def publish(room: str, namespace: Mapping[str, object], names: Iterable[str]) -> None:
    """Set ``__module__`` of classes and functions to the public package that exports them.

    Tracebacks, pickles and documentation then show the name that users import.

    Parameters
    ----------
    room : str
        ``__name__`` of the package.
    namespace : mapping of str to object
        Its ``globals()``.
    names : iterable of str
        Its ``__all__``; names that are not loaded yet are skipped.
    """
    for name in names:
        value = namespace.get(name)
        if isinstance(value, type | FunctionType):
            value.__module__ = room
