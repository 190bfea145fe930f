"""What each system says of its caches, and what is assumed where it says nothing."""

import platform

import pytest

from accel.kernels.system import caches
from accel.kernels.system.caches import Cache, cache_bytes

from .conftest import Mac, Windows


@pytest.fixture
def folder(on, tmp_path, monkeypatch):
    """An empty folder in place of Linux's, on a processor of Intel's kind, nothing remembered."""
    on("linux")
    monkeypatch.setattr(caches, "_CACHES", tmp_path)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return tmp_path


def state(folder, index, **facts):
    place = folder / f"index{index}"
    place.mkdir()
    for name, fact in facts.items():
        (place / name).write_text(f"{fact}\n")


def test_caches_that_the_system_states(folder):
    state(folder, 0, type="Instruction", level=1, size="64K")
    state(folder, 1, type="Data", level=1, size="48K", shared_cpu_list="0")
    state(folder, 2, type="Unified", level=2, size="2048K")
    state(folder, 3, type="Unified", level=3, size="1G", shared_cpu_list="0-3")
    assert [cache_bytes(level) for level in (1, 2, 3)] == [48 << 10, 2 << 20, 1 << 30]
    assert caches.caches() == [
        Cache(1, 48 << 10, "0"), Cache(2, 2 << 20, ""), Cache(3, 1 << 30, "0-3"),
    ]  # fmt: skip


def test_nothing_stated(folder):
    assert [cache_bytes(level) for level in (1, 2, 3)] == [32 << 10, 512 << 10, 8 << 20]
    assert caches.caches() == []


@pytest.mark.parametrize("name", ["aarch64", "arm64", "ARM64"])
def test_nothing_stated_on_arm(folder, monkeypatch, name):
    """As in most virtual machines: no size, though the rest is there."""
    monkeypatch.setattr(platform, "machine", lambda: name)
    state(folder, 0, type="Data", level=1, shared_cpu_list="0")
    assert [cache_bytes(level) for level in (1, 2, 3)] == [64 << 10, 1 << 20, 8 << 20]


@pytest.mark.parametrize("size", ["", "K", "48", "48Q", "many"])
def test_what_cannot_be_read_is_as_if_not_stated(folder, size):
    state(folder, 0, type="Data", level=1, size=size)
    state(folder, 1, type="Data", level=1)
    state(folder, 2, type="Unified", level="two", size="1M")
    assert cache_bytes(1) == 32 << 10
    assert cache_bytes(2) == 512 << 10


APPLE = {
    "hw.perflevel0.l1dcachesize": 128 << 10, "hw.perflevel0.l2cachesize": 12 << 20,
    "hw.l1dcachesize": 64 << 10, "hw.l2cachesize": 4 << 20,
}  # fmt: skip
INTEL = {"hw.l1dcachesize": 2**35, "hw.l2cachesize": 256 << 10, "hw.l3cachesize": 6 << 20}


@pytest.mark.parametrize(("known", "expected"), [
    (APPLE, [128 << 10, 12 << 20, 8 << 20]),  # those of a performance core
    (INTEL, [2**35, 256 << 10, 6 << 20]),  # 8 bytes each, or 4
    ({"hw.l3cachesize": 0}, [32 << 10, 512 << 10, 8 << 20]),
], ids=["Apple", "Intel", "none"])  # fmt: skip
def test_caches_of_a_mac(on, folder, known, expected):
    on("darwin", Mac(known))
    assert [cache_bytes(level) for level in (1, 2, 3)] == expected
    told = [size for size in expected if size in known.values()]
    assert caches.caches() == [Cache(level, size, "") for level, size in enumerate(told, 1)]


CORE, CACHE = 0, 2
UNIFIED, INSTRUCTION, DATA = 0, 1, 2


def test_caches_of_windows(on, folder):
    rows = [
        (0b0011, CORE, 1, 0, 0),
        (0b0011, CACHE, 1, 64 << 10, INSTRUCTION),
        (0b0011, CACHE, 1, 48 << 10, DATA),
        (0b0011, CACHE, 2, 2 << 20, UNIFIED),
        (0b1100, CACHE, 1, 32 << 10, DATA),  # of another core
        (0b1000_1011, CACHE, 3, 30 << 20, UNIFIED),
    ]
    on("win32", Windows(caches=rows))
    assert [cache_bytes(level) for level in (1, 2, 3)] == [48 << 10, 2 << 20, 30 << 20]
    assert caches.caches() == [
        Cache(1, 48 << 10, "0-1"), Cache(2, 2 << 20, "0-1"), Cache(3, 30 << 20, "0-1,3,7"),
    ]  # fmt: skip


def test_a_windows_that_tells_nothing(on, folder):
    on("win32", Windows())
    assert caches.caches() == []
    assert cache_bytes(2) == 512 << 10
