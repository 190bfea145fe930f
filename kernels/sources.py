"""A hash of the sources of kernels: part of the key under which compiled ones lie on the disk."""

import hashlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from types import CodeType
from typing import Any

__all__ = ["NO_PLACE", "sources"]

#: What Numba raises where it has no place for a function's code: no folder that can be written to,
#: or a source file that is not on the disk by itself.
NO_PLACE = (RuntimeError, ValueError, LookupError, OSError)

#: Modules of figures, from which no kernel is compiled: kept kernels stay valid if they change.
_FIGURES = ("costs",)

#: Modules of another folder that compiled code has something from.
_BESIDE = ("specs", "system.caches", "system.waiting")


def _parts(code: CodeType) -> Iterator[str]:
    """Yield what distinguishes code from other code; ``marshal`` may write the same differently."""
    yield repr((code.co_code, code.co_name, code.co_names, code.co_varnames, code.co_freevars))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)
        elif isinstance(constant, frozenset):  # its order differs from process to process
            yield repr(sorted(map(repr, constant)))
        else:
            yield repr(constant)


def _content(module: str) -> str:
    """Return a module's source; its code where there is none, as in a frozen application."""
    loader: Any = find_spec(module).loader
    source: str | None = loader.get_source(module)
    return source if source else "".join(_parts(loader.get_code(module)))


@cache
def sources(package: str) -> str | None:
    """Hash all that the kernels of a package are compiled from, and what they take from beside it.

    The modules' loaders are asked, since not all modules are files: some are in a zip, or in an
    application that was frozen to bytecode.

    Returns
    -------
    str or None
        None if the loaders do not tell. Then nothing that is compiled may be kept.
    """
    folders = find_spec(package).submodule_search_locations
    modules = (module.name for module in pkgutil.iter_modules(folders))
    names = sorted(f"{package}.{name}" for name in modules if name not in _FIGURES)
    digest = hashlib.sha256()
    try:
        for name in [*(f"{package.rpartition('.')[0]}.{each}" for each in _BESIDE), *names]:
            digest.update(_content(name).encode())
    except (AttributeError, ImportError, OSError):
        return None
    return digest.hexdigest() if names else None
