"""Public names for what private modules define."""

from collections.abc import Iterable, Mapping
from types import FunctionType

__all__ = ["publish"]


def publish(room: str, namespace: Mapping[str, object], names: Iterable[str]) -> None:
    """Set ``__module__`` of classes and functions to the public package that exports them.

    Pickles, ``repr`` and documentation then show the name that users import. The price, as with
    NumPy's classes: ``inspect.getsource`` looks for a class in the file of its ``__module__``, and
    raises OSError. It still works for functions and methods.

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
