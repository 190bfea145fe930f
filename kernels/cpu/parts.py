"""How Numba compiles kernels that are made of many functions: all of them at once.

Numba takes every function for a program of its own. It optimises it, together with whatever that
calls, makes machine code and wrappers for Python of it, and then does all this anew for the next
caller: what lies ten calls deep is optimised ten times, and run as nothing but a piece of the last
caller. Here a function that only kernels call is a ``Part``, simplified without what it calls, so
that its loops over a few constants are gone when it becomes part of another loop; and a kernel that
Python calls is a ``Whole``, which links all of its parts, each once, and optimises the result.
"""

from collections.abc import Callable
from typing import Any

from numba import njit, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.environment import lookup_environment
from numba.core.registry import CPUDispatcher, cpu_target

__all__ = ["compiled_part", "compiled_whole"]

#: What is asked of Numba beyond its documentation. One that has it no more compiles as it likes to.
_NEEDED = {
    JITCodeLibrary: ("_get_module_for_linking", "finalize", "get_pointer_to_function"),
    Compiler: ("compile_extra",),
}
_OF_LIBRARIES = ("_codegen", "_final_module", "_finalized", "_linking_libraries")


def _links() -> bool:
    """Whether this Numba has all that is asked of it."""
    library = cpu_target.target_context.codegen().create_library("probe")
    classes = all(hasattr(kind, name) for kind, names in _NEEDED.items() for name in names)
    return classes and all(hasattr(library, name) for name in _OF_LIBRARIES)


_LINKS = _links()
_ENVIRONMENT = "_ZN08NumbaEnv"


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """The instructions of a function, without what it calls and with no place in memory."""

    def finalize(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:
        return self  # asked for ``set_env`` only

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing: the variable that holds it has no place in memory, either."""


class _Whole(JITCodeLibrary):  # type: ignore[misc]
    """A kernel with all of its parts."""

    def finalize(self) -> None:
        found: dict[Any, None] = {}

        def find(libraries: Any) -> None:
            for library in libraries:
                if library not in found:
                    found[library] = None
                    if isinstance(library, _Part):
                        find(library._linking_libraries)

        find(self._linking_libraries)
        self._linking_libraries = list(found)
        super().finalize()
        for variable in self._final_module.global_variables:
            if variable.name.startswith(_ENVIRONMENT):
                environment = lookup_environment(variable.name)
                if environment is not None:
                    self._codegen.set_env(variable.name, environment)


class _Compile(Compiler):  # type: ignore[misc]
    _library: type[JITCodeLibrary]

    def compile_extra(self, function: Any) -> Any:
        library = self._library(self.state.targetctx.codegen(), function.__qualname__)
        library.enable_object_caching()
        self.state.library = library
        return super().compile_extra(function)


class _CompilePart(_Compile):
    _library = _Part


class _CompileWhole(_Compile):
    _library = _Whole


class _PartDispatcher(CPUDispatcher):  # type: ignore[misc]
    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile it for integers, and not once more for every constant that is among them."""
        args = tuple(map(types.unliteral, args))
        return super().get_call_template(args, {k: types.unliteral(v) for k, v in kws.items()})

    def __call__(self, *args: Any) -> Any:
        """Compile it once more, as a kernel, since Python would jump to nowhere: for tests."""
        if "alone" not in vars(self):
            options = {k: v for k, v in self.targetoptions.items() if k in self.alone_with}
            self.alone = compiled_whole(**options)(self.py_func)
        return self.alone(*args)

    #: Options that mean something where there is no caller.
    alone_with = ("nogil", "fastmath", "error_model", "boundscheck")


def compiled_whole(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a kernel that Python calls; the options are those of Numba's ``njit``."""
    if _LINKS:
        options |= {"pipeline_class": _CompileWhole, "no_cfunc_wrapper": True}
    decorator: Callable[[Callable[..., Any]], Any] = njit(**options)
    return decorator


def compiled_part(*, piece: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate likewise a function that only kernels call; a ``piece`` has machine code, too."""
    if not _LINKS:
        return njit(**options)  # type: ignore[no-any-return]
    pipeline = _CompileWhole if piece else _CompilePart
    unwrapped = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    decorator = njit(pipeline_class=pipeline, **unwrapped, **options)

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = decorator(function)
        if isinstance(dispatcher, CPUDispatcher):  # Numba may have been told to compile nothing
            dispatcher.__class__ = _PartDispatcher
        return dispatcher

    return decorate
