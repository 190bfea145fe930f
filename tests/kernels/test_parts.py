"""How kernels are compiled: parts linked into a whole, pieces called by their address."""

import json
import os
import pickle
import signal
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import types

from accel.kernels.cpu import epilogue, jit, noise, pieces, together, updates, wide_pieces
from accel.kernels.cpu.pieces import FLOAT, FLOATS, INTEGER, caller, from_stack, on_stack, piece
from accel.kernels.cpu.pointers import pointer

from ..children import python, started

F8 = np.dtype(np.float64)


def doubled_and_added():
    """A kernel, a part that it calls, and a part that this one calls."""

    @jit.inner
    def twice(x):
        return x + x

    @jit.inner
    def more(x, count):
        return twice(x) + count

    @jit.whole
    def kernel(x):
        return more(x, 1) + more(x, 2) + twice(x)

    return twice, more, kernel


def test_a_whole_has_the_code_of_its_parts_and_these_have_none():
    twice, more, kernel = doubled_and_added()
    assert kernel(10) == 63
    for part in (twice, more):
        (compiled,) = part.overloads.values()
        assert compiled.library.get_pointer_to_function(compiled.fndesc.mangled_name) == 0
    (code,) = kernel.inspect_llvm().values()
    assert "declare i32 @_ZN5tests" not in code


def test_a_constant_makes_no_version_of_its_own():
    _, more, kernel = doubled_and_added()
    kernel(10)
    assert list(more.overloads) == [(types.int64, types.int64)]


def test_a_part_that_python_calls_is_compiled_by_itself():
    twice, more, _ = doubled_and_added()
    assert more(1.5, 2) == 5.0
    assert twice(np.float32(0.5)) == 1.0


class Pair(NamedTuple):
    values: Any
    count: int


def scaled_sums():
    """A piece, and a kernel that calls it by its address."""
    kind = types.NamedTuple((FLOATS, INTEGER), Pair)
    put, place = on_stack(lambda _: kind), from_stack(kind)
    arguments = (INTEGER, FLOAT, FLOATS)
    call = caller(*arguments)

    @piece("scaled sums", arguments=arguments)
    def sums(pair, scale, out):
        values, count = place(pair)
        for i in range(count):
            out[0] += scale * values[i]
        return count

    @jit.whole
    def kernel(address, values, scale, out):
        pair = put(Pair(pointer(values), values.size))
        return call(address, (pair, scale, pointer(out)))

    return sums, kernel


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCEL_CACHE", "1")
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    return tmp_path


def test_a_piece_is_called_by_its_address(folder):
    """Compiled, and then from the disk; numbers are cast, and what is on the stack is found."""
    values = np.array([1.0, 2.0, 4.0])
    for _ in range(2):
        sums, kernel = scaled_sums()
        for scale in (0.5, 3):
            out = np.zeros(1)
            assert kernel(sums.address, values, scale, out) == 3
            assert out[0] == scale * 7.0
    assert sum(sums.dispatcher.stats.cache_hits.values()) == 1


def test_what_a_piece_would_misread_is_refused():
    put = on_stack(lambda _: types.NamedTuple((FLOATS, types.int32), Pair))

    @jit.whole
    def kernel(values):
        return put(Pair(pointer(values), values.size))

    with pytest.raises(Exception, match="for which pieces take it"):
        kernel(np.zeros(3))


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_what_has_lost_a_file_is_not_on_the_disk(folder, suffix):
    assert scaled_sums()[0].address != 0
    (path,) = folder.rglob(f"*.{suffix}")
    path.unlink()
    assert not scaled_sums()[0].is_kept()


def test_what_is_on_the_disk_is_known_without_being_loaded(folder):
    sums, _ = scaled_sums()
    assert not sums.is_kept()
    assert sums.address != 0
    again, _ = scaled_sums()
    assert again.is_kept()
    assert not again.dispatcher.overloads


PIECES = {
    "settle": lambda: epilogue.make_settle(F8, 4, "product", batches=False),
    "end to end": lambda: epilogue._make_step_end_to_end(F8),
    "noise": lambda: noise.make_noise(F8),
    "schedules": updates.make_follow,
    "products": lambda: wide_pieces.make_products(F8, 4),
    "layers": lambda: wide_pieces.make_layers_piece(F8, 4),
}


@pytest.mark.parametrize("name", PIECES)
def test_another_process_can_make_every_piece(name):
    """Its recipe is pickled, and makes the same one."""
    made = PIECES[name]()
    make, arguments, options = pickle.loads(pickle.dumps(made.recipe))
    assert make(*arguments, **options) is made is PIECES[name]()


RUN = """
import json, sys
from pathlib import Path
import numpy as np
from numba.core.event import Listener, register
from accel.kernels.cpu import loop, together
from accel.kernels.specs import GRADIENT_DESCENT, Loss, ModelSpec, Rule

compiled = []

class Heard(Listener):
    def on_start(self, event):
        compiled.append(event.data["dispatcher"].py_func.__name__)
    def on_end(self, event):
        pass

register("numba:compile", Heard())
exec(sys.argv[1])
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((30, 3)), rng.standard_normal((30, 1))
rule = Rule(GRADIENT_DESCENT, (0.01, 0.0, 0.0, 0.0, 0.0))
model = ModelSpec((3, 2, 1), 0.1 * rng.standard_normal(8), rule)
with loop.TrainingLoop(X, Y, Loss(4.0), [model], 2) as run:
    run.advance(20)
    loss = run.evaluate()[0, 1]
print(json.dumps([loss, "settle" in compiled, "advance" in compiled]))
"""

WAYS = {
    "two processors": "together.cpus = lambda: 2",
    "one processor": "together.cpus = lambda: 1",
    "a frozen application": "together.cpus = lambda: 2; sys.frozen = True",
    "a Python that cannot be run": "together.cpus = lambda: 2; sys.executable = '/python-is-gone'",
    "a Python that does nothing": "together.cpus = lambda: 2; together._COMPILE = ''",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A loss, and whether the process compiled piece and loop: cold, and then from the disk."""
    ends = {}
    for name, way in WAYS.items():
        folder = str(tmp_path_factory.mktemp("kernels"))
        for turn in ("cold", "warm"):
            done = python("-c", RUN, way, limit=200, NUMBA_CACHE_DIR=folder, ACCEL_CACHE="1")
            ends[name, turn] = json.loads(done.stdout)
    return ends


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_a_piece_is_compiled_by_another_process_or_by_this_one(runs, name):
    alone = name != "two processors"
    loss, *compiled = runs[name, "cold"]
    assert compiled == [alone, True]
    assert runs[name, "warm"] == [loss, False, False]
    assert loss == runs["one processor", "cold"][0]


class _Refused(Exception):
    pass


def test_the_other_process_ends_with_an_error_here(folder, monkeypatch):
    """As with a Ctrl-C, that comes while this process compiles."""
    children = []

    class Child(together.subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            children.append(self)

    monkeypatch.setattr(together.subprocess, "Popen", Child)
    monkeypatch.setattr(together, "cpus", lambda: 2)
    monkeypatch.setattr(together, "_COMPILE", "import time; time.sleep(600)")
    made = pieces.Piece(scaled_sums()[0].dispatcher, (INTEGER, FLOAT, FLOATS))
    made.recipe = print, (), {}

    @jit.entry("never compiled")
    def kernel(x):
        return x

    def refuse(*_):
        raise _Refused

    monkeypatch.setattr(kernel, "compile", refuse)
    with pytest.raises(_Refused):
        together.compile_together(kernel, (1,), [made], 2)
    assert [child.returncode is not None for child in children] == [True]


BITS = """
import sys
import numba.core.codegen
if sys.argv[1] == "other":
    numba.core.codegen.JITCodeLibrary = type("Other", (), {})
import accel
from accel.kernels.cpu import parts
assert parts._LINKS == (sys.argv[1] != "other")
problem = accel.LpProblem([[1.0, 2.0], [0.5, -1.0], [3.0, 1.0]], [1.0, 2.0, 3.0], p=4)
network = accel.LinearNetwork.for_problem(problem, depth=2, seed=0)
print(accel.train(problem, network, accel.Adam(0.01), 50).history.loss[-1].hex())
"""


@pytest.mark.slow
def test_where_numba_has_other_internals(tmp_path):
    """Kernels take longer to compile, and have the same bits."""
    kept = {"ACCEL_CACHE": "0", "NUMBA_CACHE_DIR": str(tmp_path)}
    ours, plain = (python("-c", BITS, way, limit=200, **kept).stdout for way in ("ours", "other"))
    assert ours == plain != ""


BEGUN = "import sys, time; print('begun', file=sys.stderr, flush=True); time.sleep(600)"
STARTS = f"""
import subprocess, sys, time
from types import SimpleNamespace
from accel.kernels.cpu import together

class Heard(subprocess.Popen):
    def __init__(self, command, **options):
        super().__init__(command, **options | {{"stderr": sys.stderr}})

together.subprocess.Popen = Heard
with together._Process([SimpleNamespace(recipe=(exec, ({BEGUN!r},), {{}}))]):
    time.sleep(600)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_the_other_process_does_not_outlive_this_one():
    """What it writes is read to its end, which comes when nobody can write any more."""
    with started(sys.executable, "-c", STARTS, limit=60) as child:
        assert child.stderr.line() == "begun\n"
        child.send_signal(signal.SIGKILL)
        assert child.stderr.rest() == ""
        assert child.wait() == -signal.SIGKILL
