"""The memory that each system says is available."""

import math
import mmap
import os
import sys
from types import SimpleNamespace

import pytest

from accel.kernels.system import memory

from .conftest import Mac, Windows

GIB = 2**30


@pytest.fixture
def limit(monkeypatch):
    """Set the limit of the process; without a call, and on this system, there is none."""

    def limit(size):
        limits = SimpleNamespace(RLIMIT_AS=9, RLIM_INFINITY=-1, getrlimit=lambda kind: (size, size))
        monkeypatch.setitem(sys.modules, "resource", limits)

    limit(-1)
    sizes = {"SC_PHYS_PAGES": 2**19, "SC_PAGE_SIZE": 2**14}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    return limit


@pytest.fixture
def system(on, limit, tmp_path, monkeypatch):
    """Write Linux's files about memory: 4 GiB are available of 8, and there is no other limit."""
    on("linux")
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")

    def tell(path, text):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    tell("proc/meminfo", f"MemTotal: {2**23} kB\nMemAvailable: {3 * 2**20} kB\nHugePages: 0\n"
         f"SwapFree: {2**20} kB\n")  # fmt: skip
    return tell


def test_of_the_machine(system):
    assert memory.available() == 4 * GIB
    system("proc/meminfo", "nonsense\n")
    assert memory.available() == 8 * GIB


@pytest.mark.parametrize("own", ["", "pod/job"])
def test_of_a_container(system, own):
    """In version 2 the group of the process, or one around it, has the limit."""
    system("proc/self/cgroup", "1:name=systemd:/x\n0::/pod/job\n")
    if own:
        system("groups/pod/job/memory.max", "max\n")
    system("groups/memory.max", f"{2 * GIB}\n")
    system("groups/memory.current", f"{3 * GIB // 2}\n")
    system("groups/memory.stat", f"anon {GIB}\nactive_file {GIB // 8}\ninactive_file {GIB // 8}\n")
    assert memory.available() == 3 * GIB // 4
    system("groups/memory.current", f"{3 * GIB}\n")
    assert memory.available() == 0


def test_of_a_container_of_version_1(system):
    system("proc/self/cgroup", "4:memory:/outside/the/container\n3:cpu:/\n0::/\n")
    system("groups/memory/memory.limit_in_bytes", f"{GIB}\n")
    system("groups/memory/memory.usage_in_bytes", f"{GIB // 2}\n")
    system("groups/memory/memory.stat", f"active_file 1\ntotal_active_file {GIB // 4}\n")
    assert memory.available() == 3 * GIB // 4


@pytest.mark.parametrize("page", [2**12, 2**14])
def test_of_a_limit_of_the_process(system, limit, monkeypatch, page):
    system("proc/self/statm", "100 50 10\n")
    limit(GIB)
    monkeypatch.setattr(mmap, "PAGESIZE", page)
    assert memory.page_bytes() == page
    assert memory.available() == GIB - 100 * page


def test_of_this_system():
    assert memory.available() > 2**20


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="only POSIX tells")
def test_of_this_posix():
    page = os.sysconf("SC_PAGE_SIZE")
    assert memory.page_bytes() == page
    physical = os.sysconf("SC_PHYS_PAGES") * page
    assert memory.available() <= 2 * physical or math.isinf(memory.available())


@pytest.mark.parametrize(("known", "expected"), [
    ({"hw.memsize": 16 * GIB, "kern.memorystatus_level": 25}, 4 * GIB),
    ({"hw.memsize": 16 * GIB}, 16 * GIB),
    ({"kern.memorystatus_level": 50}, 4 * GIB),
    ({}, 8 * GIB),
], ids=["both", "size", "level", "none"])  # fmt: skip
def test_of_a_mac(on, limit, tmp_path, monkeypatch, known, expected):
    """Where it tells no size, POSIX does."""
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    on("darwin", Mac(known))
    assert memory.available() == expected


@pytest.mark.parametrize(("told", "expected"), [
    ((GIB, 6 * GIB, 100 * GIB), 6 * GIB),  # more than is free: pages go to the file for that
    ((GIB, 6 * GIB, 2 * GIB), 2 * GIB),
    (None, math.inf),
], ids=["committed", "virtual", "none"])  # fmt: skip
def test_of_windows(on, told, expected):
    on("win32", Windows(memory=told))
    assert memory.available() == expected
