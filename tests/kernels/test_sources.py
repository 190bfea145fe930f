"""The key of compiled kernels, from wherever Python has the modules: a folder, a zip, bytecode."""

import importlib
import os
import shutil
import sys
from types import SimpleNamespace
from zipfile import PyZipFile, ZipFile

import pytest

import accel.kernels
from accel.kernels.sources import sources

from ..children import python

FILES = {
    "__init__.py": "",
    "specs.py": "RULES = 3\n",
    "system/__init__.py": "",
    "system/caches.py": "ASSUMED = 32\n",
    "system/waiting.py": "SLEEP = 'usleep'\n",
    "cpu/__init__.py": "",
    "cpu/pass_.py": "def add(a, b):\n    return a + b if a in {'x', 'y', 'z'} else lambda: 1.5\n",
}


def folder(place, files):
    for name, text in files.items():
        path = place / "kernels_of_a_test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def zipped(place, files):
    with ZipFile(place / "all.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(f"kernels_of_a_test/{name}", text)
    return place / "all.zip"


def frozen(place, files):
    """As a freezer leaves them: no sources."""
    with PyZipFile(place / "frozen.zip", "w") as archive:
        archive.writepy(folder(place / "unfrozen", files) / "kernels_of_a_test")
    return place / "frozen.zip"


@pytest.fixture
def key_of(monkeypatch, tmp_path):
    def key_of(make, files):
        place = tmp_path / str(len(os.listdir(tmp_path)))
        place.mkdir()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(make(place, files))
            try:
                sources.cache_clear()
                return sources("kernels_of_a_test.cpu")
            finally:
                sources.cache_clear()
                for name in [name for name in sys.modules if name.startswith("kernels_of_a_test")]:
                    del sys.modules[name]
                importlib.invalidate_caches()

    return key_of


@pytest.mark.parametrize("make", [folder, zipped, frozen])
def test_whatever_is_edited_makes_another_key(key_of, make):
    key = key_of(make, FILES)
    assert key is not None
    assert key == key_of(make, FILES)
    for name, old, new in [
        ("specs.py", "3", "4"),
        ("system/caches.py", "32", "64"),
        ("system/waiting.py", "usleep", "Sleep"),
        ("cpu/pass_.py", "a + b", "a - b"),
        ("cpu/pass_.py", "a + b", "b + a"),
        ("cpu/pass_.py", "'y'", "'w'"),
        ("cpu/pass_.py", "1.5", "2.5"),
    ]:
        assert key_of(make, FILES | {name: FILES[name].replace(old, new)}) != key, (name, new)
    assert key_of(make, FILES | {"cpu/more.py": "x = 1\n"}) != key


@pytest.mark.parametrize("make", [folder, zipped, frozen])
def test_figures_are_no_part_of_the_key(key_of, make):
    """New figures for what steps cost leave kernels valid."""
    key = key_of(make, FILES)
    assert key_of(make, FILES | {"cpu/costs.py": "COSTS = {}\n"}) == key
    assert key_of(make, FILES | {"cpu/costs.py": "COSTS = {1: 2}\n"}) == key


def test_a_zip_has_the_key_of_its_files(key_of):
    assert key_of(zipped, FILES) == key_of(folder, FILES)


def test_a_loader_that_tells_nothing_gives_no_key(key_of, monkeypatch):
    """Kernels are compiled in every process then, rather than taken for those of other sources."""
    opaque = SimpleNamespace(loader=SimpleNamespace(), submodule_search_locations=[])
    monkeypatch.setattr("accel.kernels.sources.find_spec", lambda name: opaque)
    assert key_of(folder, FILES) is None


def test_no_modules_give_no_key(key_of, monkeypatch):
    monkeypatch.setattr("pkgutil.iter_modules", lambda path: iter([]))
    assert key_of(folder, FILES) is None


SUCCESSOR = """
from accel.kernels.cpu.jit import entry

@entry("successor")
def successor(x):
    return x + 1
"""

# Numba keeps code from a zip with sources; where it finds no place at all, it must not matter.
CHILD = """
import sys
import accel
from accel._reports import machine
from accel.kernels.cpu.successor import successor
from accel.kernels.cuda import jit

problem = accel.LpProblem([[1.0], [2.0]], [1.0, 3.0])
network = accel.LinearNetwork.for_problem(problem)
if len(sys.argv) > 1:
    accel.train(problem, network, accel.Adam(), 5, backend=sys.argv[1])
assert successor(1) == 2
assert jit._sources()
print(accel.__file__)
print(sum(successor.stats.cache_hits.values()))
print(jit._folder())
print(machine.facts()["kernels"]["cache"])
"""


def archive(place, kind):
    """Accel in a zip, as sources or as bytecode, with a small kernel of its own."""
    tree, path = place / "tree" / "accel", place / "application.zip"
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(accel.__path__[0], tree, ignore=leave)
    # Of an installed wheel they have been copied already.
    shutil.copytree(accel.kernels.__path__[0], tree / "kernels", ignore=leave, dirs_exist_ok=True)
    (tree / "kernels" / "cpu" / "successor.py").write_text(SUCCESSOR)
    with PyZipFile(path, "w") as made:
        if kind == "bytecode":
            made.writepy(tree)
        else:
            for file in tree.rglob("*.py"):
                made.write(file, file.relative_to(tree.parent))
    shutil.rmtree(tree.parent)
    return path


def outcome(place, path, *arguments, limit=60):
    told = {"XDG_CACHE_HOME": str(place / "cache"), "NUMBA_CACHE_DIR": ""}
    told |= {"PYTHONPATH": str(path), "NUMBA_ENABLE_CUDASIM": "1"}  # its jit.py needs no CuPy then
    lines = python("-c", CHILD, *arguments, limit=limit, cwd=place, **told).stdout
    lines = lines.splitlines()
    assert lines[0].startswith(str(path))
    return lines[1:]


def test_accel_runs_from_a_zip_and_keeps_its_kernels(tmp_path):
    path = archive(tmp_path, "sources")
    for known in ("0", "1"):
        hits, *folders = outcome(tmp_path, path, "reference")
        assert hits == known
        assert all(place.startswith(str(tmp_path / "cache")) for place in folders)


def test_accel_runs_from_bytecode_in_a_zip(tmp_path):
    path = archive(tmp_path, "bytecode")
    hits, folder, told = outcome(tmp_path, path, "reference")
    assert (hits, folder) == ("0", "None")
    assert told == f"none: Numba has no place for kernels from {path}/accel/kernels/cpu"


@pytest.mark.slow
def test_accel_trains_from_a_zip(tmp_path):
    outcome(tmp_path, archive(tmp_path, "bytecode"), "cpu", limit=300)
