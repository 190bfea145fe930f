"""The host's part of a run on a GPU, with a stand-in for CuPy whose kernels compute nothing.

What the stand-in accepts is what CuPy's documentation allows; that kernels are right is for the
simulator to show. Here it is launches, streams, graphs, shared memory and the way back to NumPy.
"""

import gc
import importlib
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from accel.kernels.reference.precondition import precondition
from accel.kernels.specs import END_TO_END, RUNNING, Loss, Model, Rule

from ..runs import PLAIN, problem
from .test_machine_code import cuda

MODULES = ("block", "engines", "factor_chain", "jit", "loop", "lp_loss", "precondition", "settle",
           "updates")  # fmt: skip

#: The attributes of a device that CuPy 14.2 has names for: CUDA's, without some that are not in its
#: tables, such as the compute capability's.
ATTRIBUTES = [
    "AsyncEngineCount",
    "CanFlushRemoteWrites",
    "CanMapHostMemory",
    "CanUseHostPointerForRegisteredMem",
    "ClockRate",
    "ComputeMode",
    "ComputePreemptionSupported",
    "ConcurrentKernels",
    "ConcurrentManagedAccess",
    "CooperativeLaunch",
    "CooperativeMultiDeviceLaunch",
    "DirectManagedMemAccessFromHost",
    "EccEnabled",
    "GPUDirectRDMAFlushWritesOptions",
    "GPUDirectRDMASupported",
    "GPUDirectRDMAWritesOrdering",
    "GlobalL1CacheSupported",
    "GlobalMemoryBusWidth",
    "GpuOverlap",
    "HostNativeAtomicSupported",
    "HostRegisterReadOnlySupported",
    "HostRegisterSupported",
    "Integrated",
    "IsMultiGpuBoard",
    "KernelExecTimeout",
    "L2CacheSize",
    "LocalL1CacheSupported",
    "ManagedMemory",
    "MaxBlockDimX",
    "MaxBlockDimY",
    "MaxBlockDimZ",
    "MaxBlocksPerMultiprocessor",
    "MaxGridDimX",
    "MaxGridDimY",
    "MaxGridDimZ",
    "MaxPitch",
    "MaxRegistersPerBlock",
    "MaxRegistersPerMultiprocessor",
    "MaxSharedMemoryPerBlock",
    "MaxSharedMemoryPerBlockOptin",
    "MaxSharedMemoryPerMultiprocessor",
    "MaxSurface1DLayeredLayers",
    "MaxSurface1DLayeredWidth",
    "MaxSurface1DWidth",
    "MaxSurface2DHeight",
    "MaxSurface2DLayeredHeight",
    "MaxSurface2DLayeredLayers",
    "MaxSurface2DLayeredWidth",
    "MaxSurface2DWidth",
    "MaxSurface3DDepth",
    "MaxSurface3DHeight",
    "MaxSurface3DWidth",
    "MaxSurfaceCubemapLayeredLayers",
    "MaxSurfaceCubemapLayeredWidth",
    "MaxSurfaceCubemapWidth",
    "MaxTexture1DLayeredLayers",
    "MaxTexture1DLayeredWidth",
    "MaxTexture1DLinearWidth",
    "MaxTexture1DMipmappedWidth",
    "MaxTexture1DWidth",
    "MaxTexture2DGatherHeight",
    "MaxTexture2DGatherWidth",
    "MaxTexture2DHeight",
    "MaxTexture2DLayeredHeight",
    "MaxTexture2DLayeredLayers",
    "MaxTexture2DLayeredWidth",
    "MaxTexture2DLinearHeight",
    "MaxTexture2DLinearPitch",
    "MaxTexture2DLinearWidth",
    "MaxTexture2DMipmappedHeight",
    "MaxTexture2DMipmappedWidth",
    "MaxTexture2DWidth",
    "MaxTexture3DDepth",
    "MaxTexture3DDepthAlt",
    "MaxTexture3DHeight",
    "MaxTexture3DHeightAlt",
    "MaxTexture3DWidth",
    "MaxTexture3DWidthAlt",
    "MaxTextureCubemapLayeredLayers",
    "MaxTextureCubemapLayeredWidth",
    "MaxTextureCubemapWidth",
    "MaxThreadsPerBlock",
    "MaxThreadsPerMultiProcessor",
    "MaxTimelineSemaphoreInteropSupported",
    "MemoryClockRate",
    "MemoryPoolSupportedHandleTypes",
    "MemoryPoolsSupported",
    "MultiGpuBoardGroupID",
    "MultiProcessorCount",
    "PageableMemoryAccess",
    "PageableMemoryAccessUsesHostPageTables",
    "PciBusId",
    "PciDeviceId",
    "PciDomainId",
    "Reserved92",
    "Reserved93",
    "Reserved94",
    "ReservedSharedMemoryPerBlock",
    "SingleToDoublePrecisionPerfRatio",
    "SparseCudaArraySupported",
    "StreamPrioritiesSupported",
    "SurfaceAlignment",
    "TccDriver",
    "TextureAlignment",
    "TexturePitchAlignment",
    "TotalConstantMemory",
    "UnifiedAddressing",
    "WarpSize",
]


class Array(np.ndarray):
    """NumPy's array with what CuPy's has more, and without its silent way to the host."""

    def get(self):
        return np.array(self)

    @property
    def data(self):
        return SimpleNamespace(ptr=self.__array_interface__["data"][0])


def mine(function):
    return lambda *arguments, **named: np.asanyarray(function(*arguments, **named)).view(Array)


class CuPy:
    """As much of the module as the kernels' hosts use."""

    ndarray = Array
    linalg = np.linalg
    uint64, int64, float64 = np.uint64, np.int64, np.float64

    def __init__(self):
        self.launches, self.replays, self.capturing, self.attributes = [], 0, False, {}
        self.fitting = 1
        for name in ("zeros", "full", "empty", "asarray", "ascontiguousarray", "concatenate",
                     "where", "ones", "outer", "abs", "matmul", "sum", "vdot"):  # fmt: skip
            setattr(self, name, mine(getattr(np, name)))
        limits = dict.fromkeys(ATTRIBUTES, 0)
        limits["MultiProcessorCount"], limits["MaxSharedMemoryPerBlockOptin"] = 132, 227 * 1024
        device = SimpleNamespace(id=0, compute_capability="90", attributes=limits)
        driver = SimpleNamespace(
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
            funcSetAttribute=lambda pointer, key, value: self.attributes.update({pointer: value}),
            occupancyMaxActiveBlocksPerMultiprocessor=lambda *launch: self.fitting,
        )
        self.cuda = SimpleNamespace(
            Device=lambda *number: device, driver=driver, Module=lambda: Module(self),
            Stream=lambda **options: Stream(self),
        )  # fmt: skip


class Stream:
    def __init__(self, cupy):
        self.cupy = cupy

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def synchronize(self):
        assert not self.cupy.capturing

    def begin_capture(self):
        self.cupy.capturing = True

    def end_capture(self):
        self.cupy.capturing = False
        return self

    def launch(self):
        self.cupy.replays += 1


class Module:
    def __init__(self, cupy):
        self.cupy = cupy

    def load(self, code):
        assert code == b"machine code"

    def get_function(self, name):
        def launch(grid, block, arguments, shared, stream, cooperative):
            assert all(type(word) in (int, np.float64) for word in arguments)
            limit = self.cupy.attributes.get(hash(name), 48 * 1024)
            assert shared <= limit
            self.cupy.launches.append((name, grid, block, len(arguments), cooperative))

        return Function(name, launch)


class Function:
    def __init__(self, name, launch):
        self.ptr, self.launch = hash(name), launch

    def __call__(self, *arguments):
        self.launch(*arguments)


@pytest.fixture
def cupy(monkeypatch):
    """Put the stand-in into every module; models make their steps by magic."""
    stand_in = CuPy()
    for name in MODULES:
        module = importlib.import_module(f"accel.kernels.cuda.{name}")
        if hasattr(module, "xp"):
            monkeypatch.setattr(module, "xp", stand_in)
    monkeypatch.setattr(cuda.jit.Kernel, "machine_code", lambda kernel, cc: b"machine code")
    monkeypatch.setattr(cuda.jit.Kernel, "_load_here", loaded_anew)
    cuda.jit._attributes.cache_clear()
    yield stand_in
    cuda.jit._attributes.cache_clear()


def test_the_stand_in_has_the_attributes_of_cupy():
    runtime = pytest.importorskip("cupy_backends.cuda.api.runtime", reason="CuPy is not installed")
    prefix = "cudaDevAttr"
    names = {name.removeprefix(prefix) for name in dir(runtime) if name.startswith(prefix)}
    assert set(ATTRIBUTES) <= names
    assert len(CuPy().cuda.Device().attributes) == len(ATTRIBUTES)


def loaded_anew(kernel):
    """Kernels outlive a test, and so would what they hold of its stand-in."""
    kernel._loaded = {}
    return LOAD(kernel)


LOAD = cuda.jit.Kernel._load_here


def training(cupy, rule=PLAIN, models=1, large=False, **shape):
    case = problem(**{"n": 40, "d": 8, "hidden": (), **shape})
    loop_module = cuda.loop
    listed = [Model(case.widths, case.params, rule)] * models
    with pytest.MonkeyPatch.context() as patched:
        if large:
            patched.setattr(loop_module, "plan", lambda *arguments: None)
        loop = loop_module.TrainingLoop(case.X, case.Y, case.loss, listed)
    advance = loop._engine.advance

    def and_so_it_does(active, partners, steps):
        advance(active, partners, steps)
        loop._run.models[active, cuda.settle.STEPS] += steps

    loop._engine.advance = and_so_it_does
    return case, loop


def test_a_resident_run(cupy):
    case, loop = training(cupy)
    assert loop.engine == "resident"
    ((name, (blocks,), block, words, cooperative),) = cupy.launches  # it has been evaluated
    assert name.startswith("resident_float64")
    assert 1 <= blocks <= 132
    assert block == (256,)
    assert words == 5 + 8 + 2 + 3
    assert cooperative
    loop.advance(1000, record_every=10)
    assert loop.step == 1000
    assert loop.statuses[0] == RUNNING
    assert type(loop.params(0)) is np.ndarray
    assert isinstance(loop.device_params(0), Array)
    np.testing.assert_array_equal(loop.params(0), case.params)
    snapshot = loop.snapshot()
    assert isinstance(snapshot.params, Array)
    loop.restore(snapshot._replace(params=np.array(snapshot.params) + 1, step=5))
    assert loop.step == 5
    np.testing.assert_array_equal(loop.params(0), case.params + 1)
    assert loop.evaluate().shape == (1, 4)


def test_large_shared_memory_is_asked_for(cupy):
    training(cupy, n=50, d=128)
    assert not cupy.attributes
    training(cupy, n=50, d=128, hidden=(100, 100))
    assert max(cupy.attributes.values()) > 8 * (128 * 100 + 100 * 100 + 100)


def test_an_earlier_launch_keeps_its_shared_memory(cupy, monkeypatch):
    kernel = cuda.updates._make_kernel(np.dtype(float))
    monkeypatch.setattr(kernel, "_shared", 48 * 1024)
    for shared in (150_000, 90_000):
        kernel.prepared(1, (1, 2, 3, 4, 5), shared=shared)
    assert set(cupy.attributes.values()) == {150_000}


def test_blocks_that_cannot_run_together_are_refused(cupy):
    cupy.fitting = 0
    with pytest.raises(RuntimeError, match="cannot run at the same time"):
        training(cupy)


@pytest.mark.parametrize("large", [True, False])
def test_what_kernels_have_addresses_of_stays_alive(cupy, monkeypatch, large):
    """A launch that forgot an array would let CuPy give its memory to the next one."""
    held = []
    words = cuda.jit._words

    def noting(argument):
        if isinstance(argument, Array):
            held.append(weakref.ref(argument))
        return words(argument)

    monkeypatch.setattr(cuda.jit, "_words", noting)
    _, loop = training(cupy, large=large, hidden=(100, 300))
    gc.collect()
    assert len(held) > 10
    assert all(array() is not None for array in held)
    del loop


def test_a_streamed_run_replays_a_graph(cupy):
    _, loop = training(cupy, large=True)
    assert loop.engine == "streaming"
    before = len(cupy.launches)
    loop.advance(40)
    assert cupy.replays == 2  # of sixteen steps each
    # One of the maps, then sixteen steps captured and eight made, two launches each.
    assert len(cupy.launches) - before == 1 + 2 * 16 + 2 * 8
    loop.advance(16)
    assert cupy.replays == 3


@pytest.mark.parametrize("gram", [True, False])
def test_products_and_gram_are_not_captured(cupy, gram):
    _, loop = training(cupy, large=True, k=1 if gram else 40, p=2.0, gram=gram, models=2)
    loop.advance(20)
    assert cupy.replays == 0
    assert loop.step == 20


def test_the_end_to_end_rule_with_several_outputs(cupy):
    rule = Rule(END_TO_END, (0.01, 0.1, 3.0, 0.0, 0.0))
    _, loop = training(cupy, rule, k=2)
    assert loop.engine == "streaming"
    loop.advance(3)
    assert loop.step == 3


def test_functions_answer_in_kind(cupy):
    case = problem(n=30, d=6, hidden=())
    W = case.params.reshape(1, 6)
    _, gradient = cuda.lp_loss.loss_and_gradient(case.X, case.Y, W, Loss(4.0))
    assert type(gradient) is np.ndarray
    assert type(cuda.factor_chain.end_to_end(case.params, case.widths)) is np.ndarray
    state = np.zeros((0, 6))
    cuda.updates.update(0, case.params, case.params, state, PLAIN.hyper, 1)
    on_host = importlib.import_module("accel.kernels.cuda.precondition").precondition
    for w in (W, W.astype(np.float32)):
        direction = on_host(w, w, 3)  # calls no function of the device
        assert type(direction) is np.ndarray
        np.testing.assert_array_equal(direction, precondition(w, w, 3))


def test_without_nvjitlink_the_driver_compiles(cupy, monkeypatch, caplog):
    def no_linker(kernel, cc):
        raise ImportError("no nvjitlink here")

    monkeypatch.setattr(cuda.jit.Kernel, "machine_code", no_linker)
    monkeypatch.setattr(cuda.jit.Kernel, "ptx", lambda kernel, cc: "machine code")
    training(cupy)
    assert "no nvjitlink here" in caplog.text
