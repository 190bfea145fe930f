"""The tests that a user runs, those not marked slow, touch everything public."""

import ast
import importlib
import inspect
import re

import pytest

from .children import ROOT

MODULES = [
    "accel",
    "accel.datasets",
    "accel.distributed",
    "accel.experiments.mnist",
    "accel.losses",
    "accel.recording",
    "accel.schedules",
    "accel.sklearn",
    "accel.theory",
    "accel.torch",
    "accel.tuning",
]


def is_slow(node):
    """Whether a definition is marked as slow by a decorator, or a module by its ``pytestmark``."""
    marks = getattr(node, "decorator_list", [])
    if isinstance(node, ast.Module):
        lines = [line for line in node.body if isinstance(line, ast.Assign)]
        marks = [line.value for line in lines if ast.unparse(line.targets[0]) == "pytestmark"]
    return any("mark.slow" in ast.unparse(mark) for mark in marks)


def used(node):
    """Names that code uses, but for what is slow; an import alone is no use."""
    if is_slow(node):
        return
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    for child in ast.iter_child_nodes(node):
        yield from used(child)


def public(module):
    """Functions, and classes that are not what those functions return, or a part of it."""
    things = {name: getattr(module, name) for name in module.__all__}
    classes = {name for name, thing in things.items() if inspect.isclass(thing)}
    functions = {name for name, thing in things.items() if inspect.isfunction(thing)}
    kinds = {inspect.signature(things[name]).return_annotation for name in functions}
    results = {getattr(kind, "__name__", kind) for kind in kinds} & classes
    parts = [str(kind) for name in results for kind in things[name].__annotations__.values()]
    results |= {name for name in classes for part in parts if name in re.findall(r"\w+", part)}
    return functions | classes - results


@pytest.fixture(scope="module")
def names():
    trees = (ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for tree in trees for name in used(tree)}


@pytest.mark.parametrize("module", MODULES)
def test_a_fast_test_uses_it(module, names):
    pytest.importorskip({"accel.torch": "torch", "accel.sklearn": "sklearn",
                         "accel.distributed": "distributed"}.get(module, "numpy"))  # fmt: skip
    needed = public(importlib.import_module(module))
    assert needed
    assert not sorted(needed - names)


@pytest.mark.parametrize(("source", "expected"), [
    ("def test_a():\n    train(accel.Adam())", {"train", "accel", "Adam"}),
    ("@pytest.mark.slow\ndef test_a():\n    train()", set()),
    ("pytestmark = pytest.mark.slow\ndef test_a():\n    train()", set()),
    ("pytestmark = [pytest.mark.slow]\ndef test_a():\n    train()", set()),
    ("from accel import train", set()),
])  # fmt: skip
def test_what_is_a_use(source, expected):
    assert set(used(ast.parse(source))) == expected
