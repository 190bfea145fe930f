"""Stand-ins for a GPU: arrays that refuse what CuPy's refuse, a ``cupy`` and kernels for them."""

import types
from importlib.machinery import ModuleSpec

import numpy as np

from accel._support.gpu import Gpu
from accel.kernels.reference import chunks, curvature, factor_chain, loop, lp_loss, precondition

GPU = Gpu("Fast One", (9, 0), 80 * 2**30, 132, (13, 0))
CUDA, HOST = (2, 0), (1, 0)  # devices as DLPack names them


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that, as CuPy's, no NumPy function converts implicitly."""

    def __init__(self, memory, device=0):
        self._memory = np.asarray(memory)
        self.device = types.SimpleNamespace(id=device)

    def __array__(self, *arguments, **keywords):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        if method != "__call__" or any(isinstance(a, np.ndarray) for a in inputs):
            raise TypeError("Unsupported type numpy.ndarray")
        return DeviceArray(ufunc(*map(memory_of, inputs), **keywords))

    def __dlpack_device__(self):
        return CUDA

    def __dlpack__(self, **keywords):
        return self._memory

    @property
    def __cuda_array_interface__(self):
        return self._memory.__array_interface__

    def __getattr__(self, name):
        if name in ("shape", "dtype", "ndim", "size", "nbytes", "flags"):
            return getattr(self._memory, name)
        raise AttributeError(name)

    @property
    def T(self):
        return DeviceArray(self._memory.T)

    def __len__(self):
        return len(self._memory)

    def __getitem__(self, key):
        return DeviceArray(self._memory[memory_of(key)])

    def __float__(self):
        return float(self._memory)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self._memory.ctypes.data)

    def item(self):
        return self._memory.item()

    def sum(self, axis=None):
        return DeviceArray(self._memory.sum(axis))

    def max(self, axis=None):
        return DeviceArray(self._memory.max(axis))

    def min(self, axis=None):
        return DeviceArray(self._memory.min(axis))

    def nonzero(self):
        return tuple(map(DeviceArray, self._memory.nonzero()))

    def __int__(self):
        return int(self._memory)

    def reshape(self, *shape):
        return DeviceArray(self._memory.reshape(*shape))

    def astype(self, dtype):
        return DeviceArray(self._memory.astype(dtype))

    def get(self, out=None):
        if out is None:
            return self._memory.copy()
        out[...] = self._memory
        return out


def memory_of(a):
    return a._memory if isinstance(a, DeviceArray) else a


class OnlyDLPack:
    """An array of another library, with DLPack alone."""

    def __init__(self, memory, where=CUDA, error=None):
        self.memory, self._where, self._error = np.asarray(memory), where, error

    def __dlpack_device__(self):
        return self._where

    def __dlpack__(self, **keywords):
        if self._error:
            raise self._error
        return self.memory.__dlpack__(**keywords) if self._where == HOST else self.memory


class OnlyInterface:
    """An array of another library, with ``__cuda_array_interface__`` alone."""

    def __init__(self, memory):
        self.memory = np.asarray(memory)

    @property
    def __cuda_array_interface__(self):
        return self.memory.__array_interface__


def _asarray(a):
    if isinstance(a, DeviceArray):
        return a
    if hasattr(a, "__cuda_array_interface__"):
        described = {"__array_interface__": a.__cuda_array_interface__, "owner": a}
        return DeviceArray(np.asarray(types.SimpleNamespace(**described)))
    return DeviceArray(np.array(a))


def _ascontiguousarray(a, dtype):
    with np.errstate(over="ignore"):  # a GPU does not warn
        memory = np.ascontiguousarray(a._memory, dtype)
    return a if memory is a._memory else DeviceArray(memory)


def make_cupy():
    cupy = types.ModuleType("cupy")
    cupy.__spec__ = ModuleSpec("cupy", None)  # as any imported module has
    cupy.ndarray, cupy.asarray, cupy.ascontiguousarray = DeviceArray, _asarray, _ascontiguousarray
    cupy.from_dlpack = lambda a: DeviceArray(a.__dlpack__())
    return cupy


class TrainingLoop(loop.TrainingLoop):
    """The reference loop, with its state on the device."""

    def __init__(self, X, Y, loss, models, threads=1, batches=None):
        super().__init__(memory_of(X), memory_of(Y), loss, models, threads, batches)

    def device_params(self, model):
        return DeviceArray(self.params(model))

    def snapshot(self):
        host = super().snapshot()
        return host._replace(params=DeviceArray(host.params), state=DeviceArray(host.state))

    def restore(self, snapshot, models=None):
        params, state = memory_of(snapshot.params), memory_of(snapshot.state)
        super().restore(snapshot._replace(params=params, state=state), models)


def _loss_and_gradient(X, Y, W, loss):
    value, gradient = lp_loss.loss_and_gradient(*map(memory_of, (X, Y, W)), loss)
    return value, DeviceArray(gradient)


def _sums(piece, W, loss, most):
    (X, Y), maps = map(memory_of, piece), memory_of(W)
    return chunks.sums((X, Y), maps, loss, most)


def _hessian_product(X, Y, W, V, loss):
    assert all(isinstance(a, DeviceArray) for a in (X, Y))  # not copied there at every product
    return curvature.hessian_product(memory_of(X), memory_of(Y), W, V, loss)


def _hessian(X, y, w, loss):
    return DeviceArray(lp_loss.hessian(*map(memory_of, (X, y, w)), loss))


def make_kernels():
    names = ("chunks", "curvature", "factor_chain", "loop", "lp_loss", "precondition")
    kernels = {name: types.ModuleType(f"accel.kernels.cuda.{name}") for name in names}
    kernels["loop"].TrainingLoop = TrainingLoop
    kernels["lp_loss"].loss_and_gradient = _loss_and_gradient
    kernels["lp_loss"].hessian = _hessian
    kernels["chunks"].row_length, kernels["chunks"].pieces = chunks.row_length, chunks.pieces
    kernels["chunks"].sums = _sums
    for name, plain in (
        ("factor_chain", factor_chain), ("curvature", curvature), ("precondition", precondition),
    ):  # fmt: skip
        vars(kernels[name]).update(
            {key: value for key, value in vars(plain).items() if not key.startswith("__")}
        )
    kernels["curvature"].hessian_product = _hessian_product
    return kernels


def plan_kernels():
    """Modules, names and stand-ins that make real plans and the results of the kernels above."""
    from accel.kernels.cuda import loop as cuda_loop
    from accel.kernels.cuda import lp_loss as cuda_lp_loss

    from ..kernels.planning import Module
    from ..kernels.planning import TrainingLoop as Planning

    class Planned(TrainingLoop, Planning):
        pass

    plan = Module("lp_loss").loss_and_gradient

    def loss_and_gradient(X, Y, W, loss):
        value, gradient = plan(*map(memory_of, (X, Y, W)), loss)
        return value, DeviceArray(gradient)

    yield cuda_loop, "TrainingLoop", Planned
    yield cuda_lp_loss, "loss_and_gradient", loss_and_gradient
