"""Public names for what private modules define."""

from collections.abc import Iterable, MutableMapping
from types import FunctionType

__all__ = ["publish"]


def publish(room: str, namespace: MutableMapping[str, object], names: Iterable[str]) -> None:
    """Make a package show its public names, and theirs be its own.

    ``dir()`` of it lists these names, but for ``__file__`` and the like. ``__module__`` of classes
    and functions becomes the package that exports them.

    Pickles, ``repr`` and documentation then show the name that users import. The price, as with
    NumPy's classes: ``inspect.getsource`` looks for a class in the file of its ``__module__``, and
    raises OSError. It still works for functions and methods.

    Parameters
    ----------
    room : str
        ``__name__`` of the package.
    namespace : mapping of str to object
        Its ``globals()``, which get a ``__dir__``.
    names : iterable of str
        Its ``__all__``; names that are not loaded yet are skipped.
    """
    public = list(names)
    for name in public:
        value = namespace.get(name)
        if isinstance(value, type | FunctionType):
            value.__module__ = room

    def listed() -> list[str]:
        return sorted({*public, *(name for name in namespace if name.startswith("__"))})

    namespace["__dir__"] = listed
