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
    {"kernels.system"},
    {"kernels"},
    {"kernels.reference"},
    {"kernels.cpu"},
    {"kernels.cuda"},  # its batches are chosen by the CPU's kernel
    {"_support"},
    {"losses", "schedules"},
    {"_core", "_files"},
    {"recording"},
    {"_optimum", "_runs", "datasets", "distributed", "torch"},
    {"_live", "_reports", "sklearn", "theory", "tuning"},
    {"experiments"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in sorted(rooms)}
#: All else of a compiled backend is reached by name, through ``accel._support.backends.Backend``.
FROM_COMPILED = {
    ("accel._support.compiling", "accel.kernels.cpu.processor"),
    ("accel._support.toolkit", "accel.kernels.cuda"),  # for the name that it makes in NumPy
    ("accel._reports.machine", "accel.kernels.cpu.jit"),  # for the place of its cache
    ("accel._reports.machine", "accel.kernels.cpu.shapes"),
}
FOLDERS = {"accel": Path(accel.__file__).parent, "accel.kernels": Path(kernels.__file__).parent}
#: By name, every module of the package.
FILES = {
    ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"):
        path
    for package, folder in FOLDERS.items()
    for path in folder.rglob("*.py")
}  # fmt: skip
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
PACKAGES = {name for name in FILES if FILES[name].name == "__init__.py"}


def imported(name):
    """The modules of the package that a module imports, anywhere in it, or names in a string."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            above = name if name in PACKAGES else name.rpartition(".")[0]
            source = resolve_name("." * node.level + (node.module or ""), above)
            whole = (f"{source}.{alias.name}" for alias in node.names)
            yield from ({each if each in FILES else source for each in whole} & FILES.keys())
        elif isinstance(node, ast.Constant) and node.value in FILES.keys() - {"accel"}:
            yield node.value


def room(name):
    """The folder under ``accel`` that a module lies in; none for those beside the folders."""
    folders = name.split(".")[1:] if name in PACKAGES else name.split(".")[1:-1]
    return ".".join(folders[: 2 if folders[:1] == ["kernels"] else 1]) or None


def needs_an_extra(name):
    """Skip where a room's library is not installed."""
    library = name.split(".")[1] if "." in name else ""
    pytest.importorskip(library if library in ("sklearn", "torch", "distributed") else "numpy")


def test_every_folder_is_a_room_with_a_floor():
    assert {room(name) for name in FILES} - {None} == FLOOR.keys()
    assert {name for name in FILES if room(name) is None} == {"accel", "accel.__main__"}


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


def test_compiled_backends_are_reached_by_their_contract():
    others = [name for name in FILES if not name.startswith("accel.kernels")]
    arrows = {(name, other) for name in others for other in imported(name)}
    assert {pair for pair in arrows if room(pair[1]) in ("kernels.cpu", "kernels.cuda")} == (
        FROM_COMPILED
    )


def test_names_of_modules_are_put_together_in_two_places():
    """Where ``imported`` cannot see them: what users ask ``accel`` for, and a backend's files."""
    texts = {(name, ast.unparse(node)) for name in FILES for node in ast.walk(TREES[name])
             if isinstance(node, ast.JoinedStr)}  # fmt: skip
    assert {(name, text) for name, text in texts if text[2:].startswith("accel.")} == {
        ("accel", "f'accel.{name}'"),
        ("accel._support.backends", "f'accel.kernels.{self.name}.{name}'"),
    }


def test_no_circles():
    """The graph of files has none, apart from ``accel`` itself, which imports what it exports."""
    graph = {name: set(imported(name)) - {"accel"} for name in FILES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(FILES)


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_nothing_takes_the_place_of_a_module(name):
    needs_an_extra(name)
    package = importlib.import_module(name)
    beside = [each.rpartition(".")[2] for each in FILES if each.rpartition(".")[0] == name]
    assert all(inspect.ismodule(vars(package).get(each, package)) for each in beside)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_say_where_they_are_public(name):
    needs_an_extra(name)
    public = importlib.import_module(name)
    for key in public.__all__:
        value = getattr(public, key)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__ in MODULES
            assert getattr(importlib.import_module(value.__module__), key) is value


@pytest.mark.parametrize("name", MODULES)
def test_a_public_room_shows_its_public_names(name):
    needs_an_extra(name)
    room = importlib.import_module(name)
    shown = {key for key in dir(room) if not (key.startswith("__") and key.endswith("__"))}
    assert shown == {*room.__all__}
    assert {"__all__", "__doc__", "__file__"} <= {*dir(room)}
    assert ("__version__" in dir(room)) == (name == "accel")


def test_all_public_rooms_are_listed():
    """``accel.cli`` is a command, ``figures`` the data that it reproduces."""
    listed = {name for name in PACKAGES if "__all__" in FILES[name].read_text()}
    assert listed == {*MODULES, "accel.cli", "accel.experiments.figures"}


def test_to_import_accel_is_light():
    """NumPy and no other library; no room and no backend that the library itself does not need."""
    code = """if True:
        import sys, numpy.random
        before = {*sys.modules}
        import accel
        new = {*sys.modules} - before
        tops = {name.partition(".")[0] for name in new} | {"numpy"}
        print(sorted(tops - {*sys.stdlib_module_names}))
        print(sorted({name.split(".")[1] for name in new if name.startswith("accel.")}))
        print(sorted(name for name in new if name.startswith("accel.kernels.cpu.")))
        """
    libraries, rooms, cpu = python("-c", code).stdout.splitlines()
    assert libraries == "['accel', 'numpy']"
    private = ["_core", "_files", "_optimum", "_runs", "_support"]
    assert rooms == str([*private, "kernels", "losses", "recording", "schedules", "tuning"])
    assert cpu == "[]"
