"""The GPU that is used, or what is missing, with a made-up driver."""

import pytest

import accel
from accel._support import gpu, toolkit
from accel._support.backends import resolve, unavailable

from ...children import python


class Driver:
    """libcuda.so.1 of a machine with one GPU."""

    def __init__(self, **different):
        self.name, self.capability, self.version = b"Fast One", (9, 0), 13000
        self.count, self.init, self.error = 1, 0, b"CUDA_ERROR_UNKNOWN"
        vars(self).update(different)

    def cuInit(self, flags):
        return self.init

    def cuGetErrorName(self, status, text):
        text._obj.value = self.error

    def cuDriverGetVersion(self, number):
        return self._write(number, self.version)

    def cuDeviceGetCount(self, number):
        return self._write(number, self.count)

    def cuDeviceGet(self, number, ordinal):
        return self._write(number, 7 + ordinal)

    def cuDeviceGetName(self, text, size, handle):
        assert handle == 7
        text.value = self.name
        return 0

    def cuDeviceGetAttribute(self, number, attribute, handle):
        values = dict(zip((75, 76), self.capability, strict=True)) | {16: 132}
        return self._write(number, values[attribute])

    def cuDeviceTotalMem_v2(self, number, handle):
        return self._write(number, 80 * 2**30)

    def _write(self, number, value):
        number._obj.value = value
        return 0


OLDER = "in a new environment, pip install 'implicit-accel[cuda12]'"
UPDATE = f"update the driver, or, {OLDER}"
NEW_LINKER = toolkit.Library("nvJitLink", "/new/nvJitLink", "13.0.88")


@pytest.fixture
def machine(monkeypatch):
    """A function that sets up a driver (None for none) and the packages."""
    gpu._device_or_reason.cache_clear()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)

    def set_up(driver, modules=("numba_cuda", "cupy"), cupy=13, **different):
        def load(name):
            if driver is None:
                raise OSError(f"{name}: cannot open shared object file")
            return driver

        def find(name):
            path = f"/cuda/{name}"
            return different.get(
                name, toolkit.Library(name, path, f"{different.get('cuda', 13)}.1")
            )

        monkeypatch.setattr("accel.kernels.system.nvidia.ctypes.CDLL", load)
        monkeypatch.setattr(gpu, "find_spec", lambda name: name if name in modules else None)
        monkeypatch.setattr(toolkit, "find", find)
        monkeypatch.setattr(toolkit, "cupy", lambda: toolkit.CuPy({"cupy": "14.2"}, cupy))
        monkeypatch.setattr(toolkit, "present", lambda: different.get("present"))

    yield set_up
    gpu._device_or_reason.cache_clear()


def test_a_gpu(machine):
    machine(Driver())
    assert gpu.missing() is None
    assert gpu.device() == gpu.Gpu("Fast One", (9, 0), 80 * 2**30, 132, (13, 0))
    assert unavailable()["cuda"] is None
    assert resolve("cuda").name == "cuda"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"driver": None}, "no NVIDIA driver: libcuda.so.1 was not found"),
        (
            {"modules": ["cupy"]},
            "the package numba-cuda is not installed: pip install 'implicit-accel[cuda]'",
        ),
        (
            {"modules": ["numba_cuda"]},
            "the package cupy is not installed: pip install 'implicit-accel[cuda]'",
        ),
        (
            {"driver": Driver(version=12040), "modules": []},
            "the package numba-cuda is not installed: pip install 'implicit-accel[cuda12]'",
        ),
        (
            {"modules": ["cupy"], "present": 12},
            "the package numba-cuda is not installed: pip install 'implicit-accel[cuda12]'",
        ),
        (
            {"driver": Driver(version=11080)},
            "the NVIDIA driver supports CUDA 11.8, NVRTC needs 13.0: update the driver",
        ),
        (
            {"driver": Driver(name=b"P100", capability=(6, 0))},
            "P100 has compute capability 6.0, CUDA 13 (libnvvm) needs at least 7.5",
        ),
        ({"driver": Driver(init=100)}, "no CUDA device was found"),
        ({"driver": Driver(count=0)}, "no CUDA device was found"),
        ({"driver": Driver(init=999)}, "the NVIDIA driver does not work: CUDA_ERROR_UNKNOWN"),
        ({"driver": Driver(init=999, error=None)}, "the NVIDIA driver does not work: error 999"),
        (
            {"driver": Driver(version=12040)},
            f"the NVIDIA driver supports CUDA 12.4, NVRTC needs 13.0: {UPDATE}",
        ),
        (
            {"driver": Driver(version=12040), "cuda": 12, "cupy": 13},
            f"the NVIDIA driver supports CUDA 12.4, CuPy needs 13.0: {UPDATE}",
        ),
        (
            {"driver": Driver(version=12040), "cuda": 12, "cupy": 12, "nvJitLink": NEW_LINKER},
            f"the NVIDIA driver supports CUDA 12.4, nvJitLink needs 13.0: {UPDATE}",
        ),
        (
            {"driver": Driver(name=b"V100", capability=(7, 0))},
            f"V100 has compute capability 7.0, CUDA 13 (libnvvm) needs at least 7.5: {OLDER}",
        ),
        (
            {"driver": Driver(name=b"V100", capability=(7, 0)), "cuda": None, "cupy": 13},
            f"V100 has compute capability 7.0, CUDA 13 (CuPy) needs at least 7.5: {OLDER}",
        ),
        (
            {"driver": Driver(name=b"P100", capability=(6, 0)), "cuda": 12, "cupy": 12},
            "P100 has compute capability 6.0, CUDA 12 (libnvvm) needs at least 7.0",
        ),
        (
            {"libnvvm": toolkit.Library("libnvvm", problem="libstdc++.so.6 is too old")},
            "libnvvm cannot be loaded: libstdc++.so.6 is too old",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_missing(machine, arguments, reason):
    machine(**{"driver": Driver(), **arguments})
    assert gpu.device() is None
    assert gpu.missing() == unavailable()["cuda"] == reason
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        resolve("cuda")
    assert str(caught.value) == f"backend 'cuda' is not available: {reason}"


def test_older_packages_serve_older_drivers_and_gpus(machine):
    machine(Driver(capability=(7, 0), version=12040), cuda=12, cupy=12)
    assert gpu.missing() is None


def test_a_compiler_may_be_newer_than_the_driver(machine):
    """The version in its PTX is older; but the machine code of nvJitLink has to fit the driver."""
    machine(Driver(version=12040), cuda=12, cupy=12, libnvvm=toolkit.Library("libnvvm", "/", "13"))
    assert gpu.missing() is None


@pytest.mark.parametrize("absent", [["libnvvm"], ["libdevice"], ["NVRTC"], [*toolkit.NEEDED]])
def test_a_missing_compiler(machine, monkeypatch, absent):
    machine(Driver(), **{name: toolkit.Library(name) for name in absent})
    monkeypatch.setenv("CUDA_HOME", "/not/here")
    problem = accel.LpProblem([[1.0], [2.0]], [1.0, 2.0], p=4)
    network = accel.LinearNetwork.for_problem(problem, depth=2, seed=0)
    with pytest.raises(ValueError, match=r"^backend 'cuda' is not available: ") as caught:
        accel.train(problem, network, accel.GradientDescent(0.01), 3, backend="cuda")
    assert str(caught.value).endswith(toolkit.absence(absent))
    assert unavailable()["cuda"] == toolkit.absence(absent)


@pytest.mark.parametrize(
    "different",
    [
        {"nvJitLink": toolkit.Library("nvJitLink")},  # the driver compiles instead
        {"nvJitLink": toolkit.Library("nvJitLink", problem="damaged")},
        dict.fromkeys(["libnvvm", "NVRTC", "nvJitLink"]),  # they cannot be looked for
        {"cuda": None, "cupy": None},  # of unknown versions
    ],
)
def test_what_is_not_needed(machine, different):
    machine(Driver(), **different)
    assert gpu.missing() is None


def test_compilers_are_looked_for_where_there_is_a_gpu(machine, monkeypatch):
    for driver in (None, Driver(count=0), Driver(init=999)):
        machine(driver)
        monkeypatch.setattr(toolkit, "find", None)
        gpu._device_or_reason.cache_clear()
        assert gpu.missing() is not None


def test_hidden_devices(machine, monkeypatch):
    machine(Driver(init=100))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu.missing() == "no CUDA device was found, and CUDA_VISIBLE_DEVICES is ''"


def test_the_driver_is_asked_once(machine):
    machine(Driver())
    device = gpu.device()
    machine(None)
    assert gpu.device() is device


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_the_simulator_needs_no_gpu(machine, monkeypatch, value, expected):
    machine(None)
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", value)
    assert gpu.simulated() == expected
    assert (unavailable()["cuda"] is None) == expected
    assert gpu.missing() is not None


def test_nothing_is_imported_to_find_out():
    code = (
        "import sys; from accel._support.backends import unavailable; unavailable()\n"
        "print(*({'numba', 'numba_cuda', 'cupy'} & set(sys.modules)))"
    )
    ended = python("-c", code)
    assert ended.stdout.split() == []


@pytest.mark.gpu
def test_this_gpu():
    import cupy

    device, properties = gpu.device(), cupy.cuda.runtime.getDeviceProperties(0)
    assert device.name == properties["name"].decode()
    assert device.capability == (properties["major"], properties["minor"])
    assert device.multiprocessors == properties["multiProcessorCount"]
    assert device.memory == properties["totalGlobalMem"]
