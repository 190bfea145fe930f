import json
import os

import pytest

from accel import gpu, machine

from .device import GPU


@pytest.fixture
def facts():
    return machine.facts()


def test_the_facts_are_text_in_sections(facts):
    assert list(facts) == ["versions", "machine", "kernels", "extras"]
    assert json.loads(json.dumps(facts)) == facts
    assert all(
        value and "\n" not in value for values in facts.values() for value in values.values()
    )


def test_threads_and_why(monkeypatch):
    monkeypatch.setenv("ACCEL_NUM_THREADS", "3")
    assert machine.facts()["machine"]["threads"] == "3 (ACCEL_NUM_THREADS=3)"
    monkeypatch.delenv("ACCEL_NUM_THREADS")
    assert "ACCEL_NUM_THREADS" in machine.facts()["machine"]["threads"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity masks here")
@pytest.mark.parametrize(
    ("count", "allowed", "total", "why"),
    [(1, 4, 8, "quota"), (4, 4, 8, "of 8"), (8, 8, 8, "all CPUs")],
)
def test_why_so_many_threads(monkeypatch, count, allowed, total, why):
    for name in ("ACCEL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "cpu_threads", lambda: count)
    monkeypatch.setattr(os, "cpu_count", lambda: total)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)))
    assert why in machine.facts()["machine"]["threads"]


def test_a_share_of_the_cpus(monkeypatch):
    monkeypatch.delenv("ACCEL_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine, "cpus", lambda: 8)
    monkeypatch.setattr(machine, "cpu_threads", lambda: 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    expected = "3 (OMP_NUM_THREADS=3; the process may use 8 CPUs; set ACCEL_NUM_THREADS"
    assert machine.facts()["machine"]["threads"].startswith(expected)


def test_caches(monkeypatch, tmp_path):
    rows = [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("3", "Unified", "32768K")]
    for number, row in enumerate(rows):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, value in zip(("level", "type", "size"), row, strict=True):
            (folder / name).write_text(f"{value}\n")
        (folder / "shared_cpu_list").write_text("0-1\n")
    (tmp_path / "index9").mkdir()  # of a system that hides some of it
    monkeypatch.setattr(machine, "_CACHES", tmp_path)
    expected = "L1 48KiB (of CPUs 0-1), L3 32MiB (of CPUs 0-1)"
    assert machine.facts()["machine"]["caches"] == expected


def test_a_system_that_tells_nothing(monkeypatch, tmp_path):
    for name in ("_CACHES", "_CPUINFO", "_NVIDIA"):
        monkeypatch.setattr(machine, name, tmp_path / "absent")
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "_found", lambda: "no driver")
    facts = machine.facts()["machine"]
    assert facts["caches"].startswith("unknown")
    assert facts["CPU"]
    assert facts["GPU"] == "none used: no driver"


def test_the_cpu_has_a_name(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Fast One @ 9 GHz\n\nmodel name\t: other\n")
    monkeypatch.setattr(machine, "_CPUINFO", path)
    assert machine.facts()["machine"]["CPU"] == "Fast One @ 9 GHz"


SHOWN = "Fast One, compute capability 9.0, 80.0 GiB, 132 multiprocessors, driver "


@pytest.mark.parametrize(
    ("found", "version", "expected"),
    [
        ("no driver", None, "none used: no driver (NVIDIA H100)"),
        (GPU, None, f"{SHOWN}of unknown version for CUDA 13.0"),
        (
            GPU,
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n",
            f"{SHOWN}580.65.06 for CUDA 13.0",
        ),
    ],
)
def test_a_gpu(monkeypatch, tmp_path, found, version, expected):
    folder = tmp_path / "gpus" / "0000:01"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t NVIDIA H100\nIRQ: 7\n")
    if version is not None:
        (tmp_path / "version").write_text(version)
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(machine, "_NVIDIA", tmp_path)
    monkeypatch.setattr(gpu, "_found", lambda: found)
    assert machine.facts()["machine"]["GPU"] == expected
    assert ("cuda" in machine.facts()["kernels"]["backends"]) == (found is GPU)
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert machine.facts()["machine"]["GPU"].endswith("simulated)")
    assert "cuda" in machine.facts()["kernels"]["backends"]


def test_the_kernel_cache_may_be_off(monkeypatch):
    monkeypatch.setenv("ACCEL_CACHE", "0")
    assert machine.facts()["kernels"]["cache"].startswith("off")


def test_the_kernel_cache_is_where_numba_writes(monkeypatch, tmp_path):
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert machine.facts()["kernels"]["cache"].startswith(str(tmp_path))
