"""The rooms of the house: imports lead downwards only, and public rooms show public names."""

import ast
import importlib
import inspect
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import accel
from accel import kernels

from .children import python
from .test_public_names import MODULES

#: Every room, from the ground floor up. A room may import from the floors below its own.
FLOORS = [
    {"kernels"},
    {"_support"},
    {"_core", "_files"},
    {"_optimum", "_runs", "datasets", "distributed", "torch"},
    {"_reports", "sklearn", "theory", "tuning"},
    {"experiments"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in sorted(rooms)}
FOLDERS = {"accel": Path(accel.__file__).parent, "accel.kernels": Path(kernels.__file__).parent}
#: By name, every module of the package.
FILES = {
    ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"):
        path
    for package, folder in FOLDERS.items()
    for path in folder.rglob("*.py")
}  # fmt: skip


def imported(name):
    """The modules of the package that a module imports, at its top or within functions."""
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            above = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
            source = resolve_name("." * node.level + (node.module or ""), above)
            whole = (f"{source}.{alias.name}" for alias in node.names)
            yield from ({each if each in FILES else source for each in whole} & FILES.keys())


def room(name):
    """The folder under ``accel`` that a module lies in; none for those beside the folders."""
    parts = name.split(".")
    is_room = len(parts) > 2 or FILES[name].name == "__init__.py"
    return parts[1] if is_room and len(parts) > 1 else None


def test_every_folder_is_a_room_with_a_floor():
    assert {room(name) for name in FILES} - {None} == FLOOR.keys()
    beside = {name for name in FILES if room(name) is None}
    assert beside == {"accel", "accel.__main__"}


@pytest.mark.parametrize("name", sorted(FLOOR))
def test_imports_lead_downwards(name):
    arrows = [
        (module, other)
        for module in FILES
        if room(module) == name
        for other in imported(module)
        if room(other) != name and FLOOR.get(room(other), len(FLOORS)) >= FLOOR[name]
    ]
    assert arrows == [("accel.cli.app", "accel")] * (name == "cli")  # for its version


def test_no_circles():
    """Of files; what ``import accel`` itself does comes last."""
    graph = {name: set(imported(name)) - {"accel"} for name in FILES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(FILES)


@pytest.mark.parametrize("name", MODULES)
def test_public_names(name):
    """They say where they are public, and none takes the place of a module of its name."""
    needed = {"sklearn": "sklearn", "torch": "torch", "distributed": "distributed"}
    pytest.importorskip(needed.get(name.removeprefix("accel."), "numpy"))
    public = importlib.import_module(name)
    for key in public.__all__:
        value = getattr(public, key)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__ in MODULES
            assert getattr(importlib.import_module(value.__module__), key) is value
            assert f"{name}.{key}" not in FILES


def test_to_import_accel_is_light():
    """NumPy and nothing heavier; no room that the library itself does not need."""
    heavy = {"numba", "cupy", "scipy", "pandas", "matplotlib", "sklearn", "torch", "dask", "typer"}
    heavy |= {f"accel.{name}" for name in ("cli", "experiments", "datasets", "sklearn", "torch")}
    done = python("-c", f"import sys, accel; print(sorted({heavy} & {{*sys.modules}}))")
    assert done.stdout == "[]\n"
