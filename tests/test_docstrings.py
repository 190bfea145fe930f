"""The examples in docstrings do what they say."""

import doctest
import importlib
import inspect
import json

import pytest

from . import children
from .test_public_names import MODULES
from .test_rooms import needs_an_extra

#: Runs the examples of public rooms, by NumPy alone, and prints of how many each name has.
RUNNER = """
import doctest, importlib, inspect, json, sys
from matplotlib import pyplot

finder, counts, failed = doctest.DocTestFinder(), {}, []
options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
for room in sys.argv[1:]:
    module = importlib.import_module(room)
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        for example in finder.find(thing, f"{room}.{name}", module=False, globs={}):
            lines = []
            runner = doctest.DocTestRunner(optionflags=options, verbose=False)
            counts[example.name] = len(example.examples)
            if runner.run(example, out=lines.append).failed:
                failed.append("".join(lines))
print(json.dumps([counts, failed]))
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """``outcome(room)``: how many examples each public name of it has, and which went wrong."""
    for name in ("scipy", "sklearn", "matplotlib", "pandas"):
        pytest.importorskip(name)
    told = {"NUMBA_DISABLE_JIT": "1", "MPLBACKEND": "agg", "ACCEL_NUM_THREADS": "1"}

    def run(*rooms):
        done = children.python(
            "-W", "ignore:NUMBA_DISABLE_JIT", "-c", RUNNER, *rooms, limit=300,
            cwd=tmp_path_factory.mktemp("docstrings"), **told,
        )  # fmt: skip
        return json.loads(done.stdout.splitlines()[-1])

    return run


EXTRAS = ("accel.torch", "accel.distributed", "accel.experiments.mnist")


def without(room):
    """Public functions of a room that have no example."""
    module = importlib.import_module(room)
    things = {name: getattr(module, name) for name in module.__all__}
    return {
        name
        for name, thing in things.items()
        if inspect.isfunction(thing)
        and not any(test.examples for test in doctest.DocTestFinder().find(thing, module=False))
    }


def test_the_examples(outcome):
    counts, failed = outcome(*(room for room in MODULES if room not in EXTRAS))
    assert not failed, "\n".join(failed)
    assert sum(counts.values()) > 100


@pytest.mark.slow
@pytest.mark.parametrize("room", EXTRAS)
def test_the_examples_of_an_extra(outcome, room):
    needs_an_extra(room)
    pytest.importorskip("torch" if room == "accel.experiments.mnist" else "numpy")
    assert not outcome(room)[1]


@pytest.mark.parametrize("room", MODULES)
def test_every_function_has_an_example(room):
    needs_an_extra(room)
    assert not without(room)
