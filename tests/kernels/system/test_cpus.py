"""How many CPUs a process may use on each system, and what they are called."""

import os
import platform

import pytest

from accel.kernels.system import cpus

from .conftest import Mac, Windows


@pytest.fixture(autouse=True)
def eight(on, monkeypatch, tmp_path):
    """A machine with Linux, eight CPUs and no quota."""
    on("linux")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cpus, "_QUOTA", tmp_path / "cpu.max")


def test_respect_affinity_and_quota(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    quota = tmp_path / "cpu.max"
    expected = {None: 4, "max 100000": 4, "250000 100000": 2, "50000 100000": 1, "nonsense": 4}
    for text, count in expected.items():
        if text is not None:
            quota.write_text(text + "\n")
        assert cpus.cpus() == count
    assert (cpus.allowed(), cpus.present()) == (4, 8)
    assert cpus.allowed_in_words() == "the CPUs this process may use"


@pytest.mark.parametrize(("mask", "count"), [(0b1011, 3), (2**64 - 1, 64), (0, 8), (None, 8)])
def test_the_mask_of_windows(on, mask, count):
    """It is 0 if the process has threads in several groups; and the call may fail."""
    assert on("win32", Windows(mask)) == []
    assert cpus.cpus() == cpus.allowed() == count


@pytest.mark.parametrize(("known", "count"), [({"hw.perflevel0.logicalcpu": 6}, 6), ({}, 8)])
def test_the_performance_cores_of_a_mac(on, known, count):
    on("darwin", Mac(known))
    assert cpus.cpus() == count
    assert cpus.allowed_in_words() == "the performance cores"


def test_another_system_has_all(on):
    on("freebsd14")
    assert cpus.cpus() == 8


def test_names(on, monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(cpus, "_CPUINFO", tmp_path / "cpuinfo")
    assert cpus.model() == "arm64"
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nCPU part\t: 0xd0c\n")  # as on Arm
    assert cpus.model() == "arm64"
    (tmp_path / "cpuinfo").write_text("model name\t: Fast One\nmodel name\t: Slow One\n")
    assert cpus.model() == "Fast One"
    on("darwin", Mac({"machdep.cpu.brand_string": "Apple M9"}))
    assert cpus.model() == "Apple M9"
    on("darwin", Mac({}))
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert cpus.model() == "arm"
