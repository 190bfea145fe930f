"""Where NVIDIA's libraries are, on made-up machines and on this one."""

import json
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from accel._support import toolkit

from ...children import ROOT, python


class NotFound(RuntimeError):
    pass


@pytest.fixture
def finder(monkeypatch):
    """A made-up cuda-pathfinder: by library, the path that it returns or the error it raises."""
    there = {}

    def load(name):
        answer = there.get(name, NotFound("no such file"))
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(abs_path=str(answer))

    modules = {
        "cuda.pathfinder": SimpleNamespace(
            load_nvidia_dynamic_lib=load, DynamicLibNotFoundError=NotFound
        ),
        "accel.kernels.cuda": None,
    }

    def load_module(name):
        if name not in modules:
            raise ImportError(name)
        return modules[name]

    monkeypatch.setattr(toolkit, "import_module", load_module)
    for name in ("CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    return SimpleNamespace(there=there, modules=modules)


@pytest.fixture
def packages(monkeypatch, tmp_path):
    """Made-up installed packages: by name, a version and files below a folder."""
    installed = {}

    def distribution(name):
        if name not in installed:
            raise toolkit.metadata.PackageNotFoundError(name)
        version, files = installed[name]
        return SimpleNamespace(
            version=version, files=files, locate_file=lambda file: tmp_path / "site" / file
        )

    monkeypatch.setattr(toolkit.metadata, "distribution", distribution)
    monkeypatch.setattr(toolkit.metadata, "version", lambda name: distribution(name).version)
    return installed


def put(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_library_in_a_package(finder, packages, tmp_path):
    relative = "nvidia/cu13/lib/libnvvm.so.4"
    packages["nvidia-nvvm"] = "13.5.37", [relative, "nvidia/cu13/nvvm/LICENSE"]
    finder.there["nvvm"] = tmp_path / "site" / relative
    library = toolkit.find("libnvvm")
    assert library == toolkit.Library("libnvvm", str(tmp_path / "site" / relative), "13.5.37")
    assert library.major == 13


@pytest.mark.parametrize(
    ("note", "folder", "version", "major"),
    [
        ('{"cuda": {"version": "13.0.2"}}', "cuda", "13.0.2", 13),
        ('{"cuda": {"version": "12.9.1"}}', "cuda-12.9", "12.9.1", 12),
        (None, "cuda-13.0", "13.0", 13),
        ("damaged", "cuda-13.0", "13.0", 13),
        ('["another file"]', "cuda", None, None),
        (None, "cuda", None, None),
    ],
)
def test_a_library_in_a_toolkit(finder, packages, tmp_path, note, folder, version, major):
    path = put(tmp_path / folder / "lib64" / "libnvrtc.so.13")
    if note is not None:
        put(tmp_path / folder / "version.json", note)
    finder.there["nvrtc"] = path
    library = toolkit.find("NVRTC")
    assert library == toolkit.Library("NVRTC", str(path), version)
    assert library.major == major


def test_a_link_to_a_toolkit(finder, packages, tmp_path):
    put(tmp_path / "cuda-13.0" / "lib64" / "libnvJitLink.so.13")
    (tmp_path / "cuda").symlink_to(tmp_path / "cuda-13.0")
    finder.there["nvJitLink"] = tmp_path / "cuda" / "lib64" / "libnvJitLink.so.13"
    assert toolkit.find("nvJitLink").version == "13.0"


@pytest.mark.parametrize("name", sorted({*toolkit.LIBRARIES} - {"libdevice"}))
def test_a_missing_or_damaged_library(finder, packages, name):
    assert toolkit.find(name) == toolkit.Library(name)
    error = RuntimeError("Failed to dlopen libx.so.1: file too short\nmore of that")
    finder.there[toolkit.LIBRARIES[name].name] = error
    assert toolkit.find(name).problem == "Failed to dlopen libx.so.1: file too short"
    finder.there[toolkit.LIBRARIES[name].name] = OSError()
    assert toolkit.find(name).problem == "OSError()"
    del finder.modules["cuda.pathfinder"]
    assert toolkit.find(name) is None


def test_libnvvm_where_only_numba_cuda_looks(finder, packages, tmp_path):
    there = put(tmp_path / "nvvm" / "libnvvm.so.4")
    for info, expected in ((str(there), str(there)), (str(tmp_path / "none"), None), (None, None)):
        paths = {"nvvm": SimpleNamespace(info=info)}
        finder.modules["numba.cuda.cuda_paths"] = SimpleNamespace(
            get_cuda_paths=lambda paths=paths: paths
        )
        assert toolkit.find("libnvvm").path == expected
        assert toolkit.find("NVRTC").path is None


def test_libdevice(finder, packages, monkeypatch, tmp_path):
    """The places where numba-cuda looks; here the last is filled first."""

    def expect(path):
        library = toolkit.find("libdevice")
        assert (library.path, library.problem) == (path and str(path), None)

    monkeypatch.setattr(toolkit, "_SYSTEM", tmp_path / "cuda-13.0")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    expect(None)
    expect(put(tmp_path / "cuda-13.0/nvvm/libdevice/libdevice.10.bc"))
    assert toolkit.find("libdevice").version == "13.0"
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "path"))
    expect(None)  # numba-cuda looks nowhere else
    expect(put(tmp_path / "path/nvvm/libdevice/libdevice.10.bc"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    expect(None)
    expect(put(tmp_path / "home/nvvm/libdevice/libdevice.10.bc"))
    relative = "nvidia/cu13/nvvm/libdevice/libdevice.10.bc"
    packages["nvidia-nvvm"] = "13.5.37", ["nvidia/cu13/lib/libnvvm.so.4", relative]
    expect(put(tmp_path / "site" / relative))
    assert toolkit.find("libdevice").version == "13.5.37"
    conda = put(tmp_path / "env/nvvm/libdevice/libdevice.10.bc")
    expect(tmp_path / "site" / relative)
    (tmp_path / "env/conda-meta").mkdir()
    expect(conda)


@pytest.mark.parametrize(
    ("installed", "note", "major"),
    [
        ({"cupy-cuda13x": "14.2.0"}, '{"cuda": "13.x"}', 13),
        ({"cupy-cuda12x": "13.6.0"}, None, 12),
        ({"cupy": "14.2.0"}, '{"cuda": "12.9", "packaging": "conda"}', 12),
        ({"cupy": "14.2.0"}, None, None),  # built from source
        ({}, None, None),
        # Of two packages the one whose files are there.
        ({"cupy-cuda12x": "13.6.0", "cupy-cuda13x": "14.2.0"}, '{"cuda": "12.x"}', 12),
        ({"cupy-cuda12x": "13.6.0", "cupy-cuda13x": "14.2.0"}, "damaged", None),
        ({"cupy-cuda13x": "14.2.0"}, "[]", 13),
    ],
)
def test_cupy(monkeypatch, packages, tmp_path, installed, note, major):
    packages.update({name: (version, []) for name, version in installed.items()})
    module = put(tmp_path / "cupy/__init__.py", "raise RuntimeError")
    if note is not None:
        put(tmp_path / "cupy/.data/_wheel.json", note)
    spec = SimpleNamespace(origin=str(module))
    monkeypatch.setattr(toolkit, "find_spec", lambda name: spec)
    assert toolkit.cupy() == toolkit.CuPy(installed, major)


def test_no_cupy(monkeypatch):
    monkeypatch.setattr(toolkit, "find_spec", lambda name: None)
    assert toolkit.cupy() is None


@pytest.mark.parametrize(
    ("found", "bindings", "major"),
    [(12, "13.3.1", 12), (None, "12.9.10", 12), (None, None, None), (13, None, 13)],
)
def test_the_cuda_of_the_packages(monkeypatch, packages, found, bindings, major):
    packages.update({} if bindings is None else {"cuda-bindings": (bindings, [])})
    for cupy in (toolkit.CuPy({}, found), *([None] if found is None else [])):
        monkeypatch.setattr(toolkit, "cupy", lambda cupy=cupy: cupy)
        assert toolkit.present() == major


def test_the_message_about_missing_libraries(monkeypatch):
    monkeypatch.setattr(toolkit, "present", lambda: None)
    for name in ("CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    remedy = (
        "pip install 'implicit-accel[cuda]', or let CUDA_HOME name the folder of a CUDA toolkit"
    )
    assert toolkit.absence(["libnvvm"]) == (
        "libnvvm was not found among the packages of this Python, where the system's loader looks "
        f"or under CUDA_HOME, which is not set: {remedy}"
    )
    monkeypatch.setenv("CUDA_HOME", "/opt/cuda")
    monkeypatch.setenv("CONDA_PREFIX", "/opt/conda")
    assert toolkit.absence(["libnvvm", "libdevice", "NVRTC"]) == (
        "libnvvm, libdevice and NVRTC were not found among the packages of this Python, in conda's "
        f"/opt/conda, where the system's loader looks or under CUDA_HOME=/opt/cuda: {remedy}"
    )
    monkeypatch.setattr(toolkit, "present", lambda: 12)
    assert toolkit.absence(["cuBLAS"]).endswith(remedy.replace("[cuda]", "[cuda12]"))


@pytest.mark.parametrize(
    ("cuda", "extra"), [(None, "cuda"), (11, "cuda"), (12, "cuda12"), (13, "cuda"), (14, "cuda")]
)
def test_the_extra_to_install(cuda, extra):
    assert toolkit.install(cuda) == f"pip install 'implicit-accel[{extra}]'"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extra in project["optional-dependencies"]


def test_this_machine():
    """The libraries are those that numba-cuda uses; no driver is needed, and CuPy is not loaded."""
    for name in ("cuda.pathfinder", "numba_cuda"):
        pytest.importorskip(name)
    code = """
import json, sys
from accel._support import toolkit
ours = {name: toolkit.find(name) for name in toolkit.LIBRARIES}
ours = {name: [library.path, library.version, library.problem] for name, library in ours.items()}
cupy, loaded = toolkit.cupy(), [n for n in ("numba", "cupy") if n in sys.modules]
import accel.kernels.cuda, numba.cuda, numba.cuda.cuda_paths
try:
    paths = {name: way.info for name, way in numba.cuda.cuda_paths.get_cuda_paths().items()}
except RuntimeError as error:
    paths = str(error)
print(json.dumps([ours, loaded, numba.cuda.__file__, paths]))
"""
    ours, loaded, numba_cuda, paths = json.loads(python("-c", code).stdout)
    if "numba_cuda" not in Path(numba_cuda).parts:
        pytest.skip("numba.cuda is not numba-cuda's here: its package does not lie in the first of "
                    "the folders with packages")  # fmt: skip
    assert not [name for name, (_, _, problem) in ours.items() if problem]
    if isinstance(paths, str):  # numba-cuda gives up where NVRTC is missing
        assert ours["NVRTC"][0] is None, paths
        return
    for name, theirs in (("libnvvm", "nvvm"), ("libdevice", "libdevice"), ("NVRTC", "nvrtc")):
        assert ours[name][0] == paths[theirs]
    if ours["libnvvm"][0] is not None:
        assert "numba" not in loaded
    assert "cupy" not in loaded
