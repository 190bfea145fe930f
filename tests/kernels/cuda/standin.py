"""A stand-in for CuPy: NumPy computes, and what is launched, recorded and waited for is noted down.

It has as much of CuPy as the hosts of the kernels use. Every name, the signature of every function
and the keys of a device's attributes are those of the CuPy that is installed, which needs no driver
for that. Where there is none they come from ``cupy.json``, which was written by

    python -m tests.kernels.cuda.standin

and which a test compares with what is installed. A name that CuPy lacks is an AttributeError, an
argument that it does not take a TypeError, and so is what it refuses to do with NumPy's arrays.
"""

import importlib
import importlib.util
import inspect
import json
import re
from contextlib import suppress
from functools import cache, reduce, wraps
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

WRITTEN = Path(__file__).with_name("cupy.json")
#: Functions and constants, by their names in the module ``cupy``; those of NumPy's name compute.
NUMPYS = (
    "abs", "asarray", "ascontiguousarray", "concatenate", "empty", "exp", "full", "linalg.svd",
    "matmul", "ones", "outer", "sum", "vdot", "where", "zeros",
)  # fmt: skip
#: Arguments of a launch, at least and at most: of this CuPy tells no signature.
LAUNCH_TAKES = 3, 6
FROM_NUMPY = ("asarray", "ascontiguousarray")  # they take its arrays
DTYPES = ("float64", "int64", "uint64")
DRIVERS = (
    "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES", "funcSetAttribute",
    "occupancyMaxActiveBlocksPerMultiprocessor",
)  # fmt: skip
KNOWN = {
    *NUMPYS, *DTYPES, *(f"cuda.driver.{name}" for name in DRIVERS), "cuda.get_current_stream",
    "from_dlpack", "ndarray", "linalg", "cuda", "cuda.driver", "cuda.MemoryPointer.ptr",
}  # fmt: skip


class _Some:
    """A default value of CuPy's, whatever it is."""

    def __repr__(self):
        return "..."


def _of_signature(signature):
    empty, some = inspect.Parameter.empty, _Some()
    parameters = [
        p.replace(annotation=empty, default=p.default if p.default is empty else some)
        for p in signature.parameters.values()
    ]
    return str(inspect.Signature(parameters))


def _of_docstring(text):
    """Read what Cython leaves of a signature: ``f(int a, b='C', *, c: 'type' = None) -> int``."""
    match = re.match(r"[\w.]+\((.*?)\)( ->.*)?$", (text or "").partition("\n")[0])
    if match is None:
        return None
    parameters = []
    for part in filter(None, match[1].replace("\\", "").split(",")):
        name, default, _ = part.strip().partition("=")
        name = name.partition(":")[0].split()[-1]
        parameters.append(f"{name}=..." if default else name)
    return f"({', '.join(parameters)})"


def describe(thing):
    """Return the signature of something of CuPy's as text; None if it tells none."""
    if not callable(thing) or (isinstance(thing, type) and issubclass(thing, np.generic)):
        return None
    with suppress(TypeError, ValueError):
        signature = inspect.signature(thing)
        kinds = [p.kind for p in signature.parameters.values() if p.name != "self"]
        if kinds != [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]:
            return _of_signature(signature)
    return _of_docstring(thing.__doc__)


def of_cupy(path):
    """Return what the installed CuPy has by this name; ``ndarray`` and Graph as they are found."""
    parts = path.replace("cuda.Graph", "cuda.graph.Graph").split(".")
    return reduce(getattr, parts, importlib.import_module("cupy"))


def installed():
    """Describe the installed CuPy: its version, a device's attributes, names with signatures."""
    runtime = importlib.import_module("cupy_backends.cuda.api.runtime")
    prefix = "cudaDevAttr"
    keys = [name.removeprefix(prefix) for name in dir(runtime) if name.startswith(prefix)]
    arrays = [name for name in dir(of_cupy("ndarray")) if not name.startswith("_")]
    paths = sorted(KNOWN | {f"ndarray.{name}" for name in arrays})
    names = {path: describe(of_cupy(path)) for path in paths}
    return {"version": of_cupy("__version__"), "attributes": sorted(keys), "names": names}


def is_installed():
    """Whether there is a CuPy, which is more than another test's stand-in."""
    with suppress(ValueError):
        return importlib.util.find_spec("cupy_backends") is not None
    return False


def written():
    """Return what was written down."""
    return json.loads(WRITTEN.read_text())


@cache
def table():
    """Return what is known of CuPy: from the installed one, if there is one."""
    return installed() if is_installed() else written()


@cache
def signature(path):
    """Return the signature by a name; None if CuPy tells none.

    Raises
    ------
    AttributeError
        If CuPy has no such name.
    """
    if path not in table()["names"]:
        raise AttributeError(f"CuPy {table()['version']} has no {path} that a host has used yet")
    text = table()["names"][path]
    return text and inspect.signature(eval(f"lambda {text[1:-1]}: None"))


def checked(path, function):
    """Return the function, which then takes only what CuPy's of this name takes."""
    allowed = signature(path)

    @wraps(function)
    def call(*arguments, **named):
        if allowed:
            try:
                allowed.bind(*arguments, **named)
            except TypeError as error:
                raise TypeError(f"{path}{allowed}: {error}") from None
        return function(*arguments, **named)

    return call


def like(path):
    """Decorate a class: its public names are CuPy's under this path, and take what those take."""

    def decorate(kind):
        for name, thing in list(vars(kind).items()):
            if not name.startswith("_"):
                KNOWN.add(f"{path}.{name}")
                if callable(thing):
                    setattr(kind, name, _later(f"{path}.{name}", thing))
        KNOWN.add(path)
        return kind

    return decorate


def _later(path, function):
    """Check when it is called: by then all names are known."""
    return wraps(function)(lambda *given, **named: checked(path, function)(*given, **named))


def _plain(thing):
    """Return NumPy's arrays for the stand-in's."""
    if isinstance(thing, (tuple, list)):
        return type(thing)(map(_plain, thing))
    return thing.of_numpy if isinstance(thing, Array) else thing


def _refuse_numpys(things):
    for thing in things:
        if isinstance(thing, (tuple, list)):
            _refuse_numpys(thing)
        elif isinstance(thing, np.ndarray):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")


def _ours(result):
    """Return the stand-in's arrays for NumPy's; CuPy has arrays where NumPy has scalars."""
    if isinstance(result, tuple):
        return tuple(map(_ours, result))
    return Array(np.asarray(result)) if isinstance(result, (np.ndarray, np.generic)) else result


class Array(NDArrayOperatorsMixin):
    """An array whose memory is NumPy's, and whose names are those of CuPy's."""

    def __init__(self, of_numpy):
        self.__dict__["of_numpy"] = of_numpy

    def __getattr__(self, name):
        allowed = signature(f"ndarray.{name}")
        value = getattr(self.of_numpy, name)
        if not callable(value):
            return _ours(value)

        def call(*arguments, **named):
            if allowed:
                allowed.bind(self, *arguments, **named)
            plain = {key: _plain(value) for key, value in named.items()}
            return _ours(value(*_plain(arguments), **plain))

        return call

    def __len__(self):
        return len(self.of_numpy)

    def __float__(self):
        return float(self.of_numpy)

    def __int__(self):
        return int(self.of_numpy)

    def __bool__(self):
        return bool(self.of_numpy)

    def __getitem__(self, index):
        return _ours(self.of_numpy[_plain(index)])

    def __setitem__(self, index, value):
        _refuse_numpys([value])
        self.of_numpy[_plain(index)] = _plain(value)

    def __array__(self, *_, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed: call get()")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **named):
        _refuse_numpys(inputs)
        if out is not None:
            named["out"] = _plain(out)
        result = getattr(ufunc, method)(*_plain(inputs), **named)
        return _ours(result) if out is None else out[0]

    def get(self, stream=None, order="C", out=None, blocking=True):
        return np.array(self.of_numpy)

    @property
    def data(self):
        return SimpleNamespace(ptr=self.of_numpy.ctypes.data)


@like("cuda.Device")
class Device:
    def __init__(self, attributes):
        self._attributes = attributes

    @property
    def id(self):
        return 0

    @property
    def compute_capability(self):
        return "90"

    @property
    def attributes(self):
        return self._attributes


@like("cuda.Event")
class Event:
    def __init__(self, cupy, **options):
        self._cupy = cupy
        assert options == {"disable_timing": True}  # with the time an event costs more

    def record(self, stream=None):
        self._cupy.note("record", stream or self._cupy.streams[-1], self)


@like("cuda.Stream")
class Stream:
    def __init__(self, cupy, non_blocking=False):
        self._cupy, self._non_blocking = cupy, non_blocking

    def __enter__(self):
        self._cupy.streams.append(self)
        return self

    def __exit__(self, *exception):
        assert self._cupy.streams.pop() is self

    def synchronize(self):
        assert not self._cupy.capturing
        self._cupy.note("synchronize", self)

    def wait_event(self, event):
        self._cupy.note("wait", self, event)

    def begin_capture(self, mode=None):
        assert self._non_blocking
        self._cupy.capturing = True

    def end_capture(self):
        self._cupy.capturing = False
        return Graph(self._cupy)


@like("cuda.Graph")
class Graph:
    def __init__(self, cupy):
        self._cupy = cupy

    def launch(self, stream=None):
        self._cupy.note("graph", stream or self._cupy.streams[-1])
        self._cupy.replays += 1


@like("cuda.Module")
class Module:
    def __init__(self, cupy):
        self._cupy = cupy

    def load(self, cubin):
        assert cubin == b"machine code"

    def get_function(self, name):
        return Function(self._cupy, name)


@like("cuda.Function")
class Function:
    def __init__(self, cupy, name):
        self._cupy, self._name = cupy, name

    @property
    def ptr(self):
        return hash(self._name)

    def __call__(self, grid, block, arguments, shared=0, stream=None, cooperative=False):
        assert type(grid) is type(block) is type(arguments) is tuple
        assert all(type(word) in (int, np.float64) for word in arguments)
        assert shared <= self._cupy.attributes.get(self.ptr, 48 * 1024)
        self._cupy.note("launch", stream or self._cupy.streams[-1])
        self._cupy.launches.append((self._name, grid, block, len(arguments), cooperative))
        self._cupy.words.append(arguments)


class CuPy:
    """The module; ``notes`` holds what happened and on which stream, in order."""

    ndarray = Array

    def __init__(self):
        self.launches, self.replays, self.capturing, self.attributes = [], 0, False, {}
        self.fitting, self.words, self.notes, self.streams = 1, [], [], [Stream(self)]
        self.linalg = SimpleNamespace()
        for path in NUMPYS:
            numpys = reduce(getattr, path.split("."), np)
            place = self.linalg if path.startswith("linalg.") else self
            setattr(place, path.rpartition(".")[2], checked(path, self._by_numpy(path, numpys)))
        for name in DTYPES:
            signature(name)
            setattr(self, name, getattr(np, name))
        limits = dict.fromkeys(table()["attributes"], 0)
        for key, value in {
            "MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 227 * 1024,
        }.items():  # fmt: skip
            assert key in limits
            limits[key] = value
        given = {
            "Device": lambda device=None: Device(limits),
            "Module": lambda: Module(self),
            "Stream": lambda **options: Stream(self, **options),
            "Event": lambda **options: Event(self, **options),
            "get_current_stream": lambda device_id=-1: self.streams[-1],
        }
        self.cuda = SimpleNamespace(
            **{name: checked(f"cuda.{name}", function) for name, function in given.items()}
        )
        driver = {
            "funcSetAttribute": lambda f, attribute, value: self.attributes.update({f: value}),
            "occupancyMaxActiveBlocksPerMultiprocessor": lambda *launch: self.fitting,
        }
        self.cuda.driver = SimpleNamespace(
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
            **{name: checked(f"cuda.driver.{name}", call) for name, call in driver.items()},
        )

    def note(self, what, stream, *more):
        self.notes.append((what, stream, *more))

    def _by_numpy(self, path, function):
        def call(*arguments, **named):
            self.note(path, self.streams[-1])
            if path not in FROM_NUMPY:
                _refuse_numpys([*arguments, *named.values()])
            given = {name: _plain(value) for name, value in named.items()}
            result = function(*_plain(arguments), **given)
            if "out" in named:
                return named["out"]
            first = arguments[0]
            if path in FROM_NUMPY and isinstance(first, Array):
                # An array that is as it should be comes back itself.
                if result.__array_interface__ == _plain(first).__array_interface__:
                    return first
            elif path in FROM_NUMPY:
                result = np.array(result)
            return _ours(result)

        return call


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps(installed(), indent=1) + "\n")
    print(WRITTEN, metadata.version("cupy-cuda13x"))
