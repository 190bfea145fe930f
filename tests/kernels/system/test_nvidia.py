"""The driver of NVIDIA: its library on each system, and what Linux tells without it."""

import pytest

from accel.kernels.system import nvidia


@pytest.mark.parametrize(("system", "name"), [("linux", "libcuda.so.1"), ("win32", "nvcuda.dll")])
def test_its_library(on, system, name):
    library = object()
    loaded = on(system, library)
    assert nvidia.load_driver() is library
    assert loaded == [nvidia.driver_library()] == [name]


def test_what_linux_tells(monkeypatch, tmp_path):
    monkeypatch.setattr(nvidia, "_NVIDIA", tmp_path)
    assert nvidia.driver_version() is None
    assert nvidia.gpu_names() == []
    for place, model in [("0000:02", "NVIDIA L4"), ("0000:01", "NVIDIA H100")]:
        folder = tmp_path / "gpus" / place
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t {model}\nIRQ: 7\n")
    (tmp_path / "version").write_text("NVRM version: module for x86_64  580.65.06  Release\n")
    assert nvidia.driver_version() == "580.65.06"
    assert nvidia.gpu_names() == ["NVIDIA H100", "NVIDIA L4"]
    (tmp_path / "version").write_text("nonsense\n")
    assert nvidia.driver_version() is None
