"""The facts about the machine that ``accel info`` shows."""

import io
import json
import os

import pytest
from rich.console import Console

from accel._reports import machine
from accel._support import gpu, toolkit
from accel.cli import tables

from ..device import GPU


@pytest.fixture
def facts():
    return machine.facts()


def test_the_facts_are_text_in_sections(facts):
    assert list(facts) == ["versions", "machine", "CUDA", "kernels", "extras"]
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


def test_performance_cores(monkeypatch):
    for name in ("ACCEL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "cpu_threads", lambda: 4)
    for name, value in [("present", 8), ("allowed", 4), ("cpus", 4)]:
        monkeypatch.setattr(machine.cpus, name, lambda value=value: value)
    monkeypatch.setattr(machine.cpus, "allowed_in_words", lambda: "the performance cores")
    assert machine.facts()["machine"]["threads"].startswith("4 (the performance cores, of 8; set")


def test_a_share_of_the_cpus(monkeypatch):
    monkeypatch.delenv("ACCEL_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine.cpus, "cpus", lambda: 8)
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
    (tmp_path / "index9").mkdir()  # as on a system that hides some caches
    monkeypatch.setattr(machine.caches, "_CACHES", tmp_path)
    expected = "L1 48KiB (of CPUs 0-1), L3 32MiB (of CPUs 0-1)"
    assert machine.facts()["machine"]["caches"] == expected
    (tmp_path / "index2" / "shared_cpu_list").unlink()  # as other systems than Linux tell them
    expected = "L1 48KiB (of CPUs 0-1), L3 32MiB"
    assert machine.facts()["machine"]["caches"] == expected


def test_a_system_that_tells_nothing(monkeypatch, tmp_path):
    for name in ("caches._CACHES", "cpus._CPUINFO", "nvidia._NVIDIA"):
        monkeypatch.setattr(f"accel.kernels.system.{name}", tmp_path / "absent")
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "_device_or_reason", lambda: "no driver")
    facts = machine.facts()["machine"]
    assert facts["caches"].startswith("unknown")
    assert facts["CPU"]
    assert facts["GPU"] == "none used: no driver"


def test_the_cpu_has_a_name(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Fast One @ 9 GHz\n\nmodel name\t: other\n")
    monkeypatch.setattr(machine.cpus, "_CPUINFO", path)
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
    monkeypatch.setattr(machine.nvidia, "_NVIDIA", tmp_path)
    monkeypatch.setattr(gpu, "_device_or_reason", lambda: found)
    assert machine.facts()["machine"]["GPU"] == expected
    assert ("cuda" in machine.facts()["kernels"]["backends"]) == (found is GPU)
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert machine.facts()["machine"]["GPU"].endswith("simulated)")
    assert "cuda" in machine.facts()["kernels"]["backends"]


def cuda(monkeypatch, numba_cuda="0.30.4", cupy=None, **different):
    """The section CUDA, with these packages and libraries; others are there."""

    def find(name):
        return different.get(name, toolkit.Library(name, f"/cuda/{name}", "13.0.2"))

    version = machine.version
    versions = {"numba-cuda": numba_cuda}
    versions |= {f"cupy-cuda{major}x": "not installed" for major in (12, 13)}
    monkeypatch.setattr(machine, "version", lambda name: versions.get(name) or version(name))
    monkeypatch.setattr(toolkit, "cupy", lambda: cupy)
    monkeypatch.setattr(toolkit, "find", find)
    return machine.facts()["CUDA"]


def test_where_the_compilers_are(monkeypatch):
    told = cuda(monkeypatch, cupy=toolkit.CuPy({"cupy-cuda13x": "14.2.0"}, 13))
    assert told == {
        "numba-cuda": "0.30.4",
        "CuPy": "cupy-cuda13x 14.2.0 (for CUDA 13)",
        **{name: f"13.0.2, /cuda/{name}" for name in toolkit.LIBRARIES},
    }


LACKS_13, LACKS_12 = "lacks cupy-cuda13x", "lacks cupy-cuda12x"


@pytest.mark.parametrize(
    ("cupy", "expected", "newest", "older"),
    [
        (None, "not installed", LACKS_13, LACKS_12),
        (toolkit.CuPy({"cupy": "14.2"}, 12), "cupy 14.2 (for CUDA 12)", LACKS_13, "installed"),
        (toolkit.CuPy({"cupy": "14.2"}, None),
         "cupy 14.2 (built here, for a CUDA that only it can tell)", "installed", LACKS_12),
        (toolkit.CuPy({}, 13), "of unknown version (for CUDA 13)", "installed", LACKS_12),
        (toolkit.CuPy({"cupy-cuda12x": "13.6.0", "cupy-cuda13x": "14.2.0"}, 13),
         "cupy-cuda12x 13.6.0, cupy-cuda13x 14.2.0: they overwrite each other, uninstall all, then "
         "pip install 'implicit-accel[cuda]'", "installed", LACKS_12),
    ],
)  # fmt: skip
def test_which_cupy(monkeypatch, cupy, expected, newest, older):
    assert cuda(monkeypatch, cupy=cupy)["CuPy"] == expected
    extras = machine.facts()["extras"]
    assert (extras["cuda"], extras["cuda12"]) == (newest, older)


def test_what_is_missing_of_cuda(monkeypatch):
    told = cuda(
        monkeypatch,
        libnvvm=toolkit.Library("libnvvm", "/usr/lib/libnvvm.so.4"),
        libdevice=toolkit.Library("libdevice"),
        NVRTC=toolkit.Library("NVRTC", problem="file too short"),
        nvJitLink=toolkit.Library("nvJitLink"),
        cuBLAS=None,
    )
    assert told["libnvvm"] == "of unknown version, /usr/lib/libnvvm.so.4"
    assert told["libdevice"] == "not found, so no kernel can be compiled"
    assert told["NVRTC"] == (
        "cannot be loaded, so neither CuPy nor numba-cuda can compile: file too short"
    )
    assert told["nvJitLink"] == (
        "not found, so the driver compiles in its place, in every process anew"
    )
    assert told["cuBLAS"] == "not looked for: the package cuda-pathfinder is not installed"
    assert told["missing"] == toolkit.absence(["libdevice", "nvJitLink"])


def test_a_machine_without_cuda_is_not_searched(monkeypatch):
    told = cuda(monkeypatch, numba_cuda="not installed", libnvvm=1 / 3)
    assert told == {"numba-cuda": "not installed", "CuPy": "not installed"}


def test_paths_are_shown_whole():
    path = "/a/long/way" * 20
    console = Console(width=60, file=io.StringIO())
    console.print(tables.facts_table({"CUDA": {"libnvvm": path}}))
    shown = "".join(line.strip() for line in console.file.getvalue().splitlines())
    assert shown.endswith(path)


def test_the_kernel_cache_may_be_off(monkeypatch):
    monkeypatch.setenv("ACCEL_CACHE", "0")
    assert machine.facts()["kernels"]["cache"].startswith("off")


def test_the_kernel_cache_is_where_numba_writes(monkeypatch, tmp_path):
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert machine.facts()["kernels"]["cache"].startswith(str(tmp_path))
