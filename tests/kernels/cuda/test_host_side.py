"""The host's part of a run on a GPU, with a stand-in for CuPy whose kernels compute nothing.

What the stand-in accepts is what CuPy accepts, see there; that kernels are right is for the
simulator to show. Here it is launches, streams, graphs, shared memory and the way back to NumPy.
"""

import ast
import gc
import importlib
import inspect
import warnings
import weakref
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import accel
from accel.kernels.reference.batches import rows
from accel.kernels.reference.precondition import precondition
from accel.kernels.specs import END_TO_END, LANGEVIN, RUNNING, Batches, Loss, ModelSpec, Rule

from ..runs import PLAIN, SCHEDULED, problem
from . import standin
from .modules import cuda
from .standin import Array, CuPy

MODULES = ("batches", "blocks_pass", "curvature", "entries", "epilogue", "factor_chain", "jit",
           "launch", "loop", "losses", "lp_loss", "precondition", "reduce", "streamed",
           "updates")  # fmt: skip


@pytest.fixture
def cupy(monkeypatch):
    """Put the stand-in into every module."""
    stand_in = CuPy()
    for name in MODULES:
        module = importlib.import_module(f"accel.kernels.cuda.{name}")
        if hasattr(module, "xp"):
            monkeypatch.setattr(module, "xp", stand_in)
    monkeypatch.setattr(cuda.jit.Kernel, "machine_code", lambda kernel, cc: b"machine code")
    monkeypatch.setattr(cuda.jit.Kernel, "_load_here", loaded_anew)
    cuda.jit._attributes.cache_clear()
    yield stand_in
    cuda.jit._attributes.cache_clear()


NEEDS_CUPY = pytest.mark.skipif(not standin.is_installed(), reason="CuPy is not installed")
#: The files of accel and of its CUDA kernels, wherever they are installed.
FOLDERS = [Path(module.__file__).parent for module in (accel, cuda.jit)]
HOSTS = sorted({path for folder in FOLDERS for path in folder.rglob("*.py")})


def names_and_calls(path):
    """Yield what a file takes of CuPy: dotted names, and the calls of them."""
    tree = ast.parse(path.read_text())
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            child.parent = parent
    for node in ast.walk(tree):
        root = ast.unparse(node) if isinstance(node, (ast.Name, ast.Call)) else ""
        if root not in ("xp", "cupy", "import_module('cupy')"):
            continue
        parts = []
        while isinstance(node.parent, ast.Attribute):
            node = node.parent
            parts.append(node.attr)
        if parts:
            called = isinstance(node.parent, ast.Call) and node.parent.func is node
            yield ".".join(parts), node.parent if called else None


USED = [(path, *used) for path in HOSTS for used in names_and_calls(path)]


def test_what_hosts_take_of_cupy_is_there():
    """Every name, and every call that tells its arguments, whether a test comes there or not."""
    assert len(USED) > 60
    for path, name, call in USED:
        allowed = standin.signature(name)
        if not call or not allowed:
            continue
        starred = any(isinstance(word, ast.Starred) for word in call.args)
        named = {word.arg: None for word in call.keywords}
        assert None not in named
        assert not starred, f"{path}: {name}"
        allowed.bind(*call.args, **named)


@NEEDS_CUPY
def test_the_list_is_that_of_the_installed_cupy():
    written, there = standin.written(), standin.installed()
    if written["version"] == there["version"]:
        assert written == there, "python -m tests.kernels.cuda.standin"
    else:
        assert written["names"].keys() <= there["names"].keys()


@NEEDS_CUPY
def test_launches_take_so_many_arguments():
    function = importlib.import_module("cupy.cuda").Function
    call = function.__call__.__get__(function.__new__(function))
    least, most = standin.LAUNCH_TAKES
    with pytest.raises(TypeError, match=f"at least {least} positional"):
        call()
    with pytest.raises(TypeError, match=f"at most {most} positional"):
        call(*[()] * (most + 1))
    ours = inspect.signature(standin.Function.__call__).parameters.values()
    assert len(ours) == most + 1
    assert sum(p.default is p.empty for p in ours) == least + 1


def test_the_stand_in_refuses_what_cupy_lacks(cupy):
    array, on_host = cupy.zeros(3), np.zeros(3)
    for name in ("nan_to_num_all", "cuda.streams", "linalg.svds", "cuda.driver.launch"):
        with pytest.raises(AttributeError):
            standin.signature(name)
    for wrong in (
        lambda: array.ctypes, lambda: cupy.errstate, lambda: cupy.cuda.Stream().wait,
        lambda: cupy.cuda.Device().attributes.ComputeCapabilityMajor,
    ):  # fmt: skip
        with pytest.raises(AttributeError):
            wrong()
    with pytest.raises(KeyError):
        cupy.cuda.Device().attributes["ComputeCapabilityMajor"]
    for wrong in (
        lambda: cupy.zeros(3, like=array), lambda: cupy.cuda.Stream(blocking=True),
        lambda: array.sum(where=True), lambda: array + on_host, lambda: np.concatenate([array]),
        lambda: cupy.concatenate([array, on_host]), lambda: array.__setitem__(0, on_host),
        lambda: cupy.cuda.driver.funcSetAttribute(1, 2),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            wrong()
    assert cupy.asarray(array) is array
    assert type((array + 1).get()) is np.ndarray


def test_names_are_read_as_cython_leaves_them():
    docstrings = {
        "get(self, stream=None, order='C') -> base": "(self, stream=..., order=...)",
        "set(intptr_t f, size_t size=0)": "(f, size=...)",
        "absolute(x, /, out=None, \\*, dtype=None)": "(x, /, out=..., *, dtype=...)",
        "load(self, path: 'str' = None)": "(self, path=...)",
        "Module()": "()",
        "A dictionary of attributes.": None,
    }
    assert {text: standin._of_docstring(text) for text in docstrings} == docstrings


def loaded_anew(kernel):
    """Load a kernel in every test: kernels outlive a test, its stand-in must not."""
    kernel._loaded = {}
    return LOAD(kernel)


LOAD = cuda.jit.Kernel._load_here


def training(cupy, rule=PLAIN, models=1, large=False, loss=None, batches=None, **shape):
    case = problem(**{"n": 40, "d": 8, "hidden": (), **shape})
    case = case._replace(loss=loss or case.loss)
    loop_module = cuda.loop
    listed = [ModelSpec(case.widths, case.params, rule)] * models
    with pytest.MonkeyPatch.context() as patched:
        if large:
            patched.setattr(loop_module, "plan", lambda *arguments: None)
        loop = loop_module.TrainingLoop(case.X, case.Y, case.loss, listed, batches=batches)
    advance = loop._launcher.advance

    def count_steps(active, partners, steps):  # kernels do nothing here
        advance(active, partners, steps)
        loop._run.models[active, cuda.epilogue.STEPS] += steps

    loop._launcher.advance = count_steps
    return case, loop


def test_a_resident_run(cupy):
    case, loop = training(cupy)
    assert loop.engine == "resident"
    ((name, (blocks,), block, words, cooperative),) = cupy.launches  # it has been evaluated
    assert name.startswith("resident_float64")
    assert 1 <= blocks <= 132
    assert block == (256,)
    assert words == 5 + 9 + 2 + 3
    assert cooperative
    loop.advance(1000, record_every=10)
    assert loop.step == 1000
    assert loop.statuses[0] == RUNNING
    assert type(loop.params(0)) is np.ndarray
    assert isinstance(loop.device_params(0), Array)
    np.testing.assert_array_equal(loop.params(0), case.params)
    snapshot = loop.snapshot()
    assert isinstance(snapshot.params, Array)
    loop.restore(snapshot._replace(params=snapshot.params.get() + 1, step=5))
    assert loop.step == 5
    np.testing.assert_array_equal(loop.params(0), case.params + 1)
    assert loop.evaluate().shape == (1, 4)


def test_a_run_waits_for_what_its_caller_has_queued(cupy):
    """X may still be on its way there, on a stream that no other waits for."""
    with cupy.cuda.Stream(non_blocking=True) as own:
        _, loop = training(cupy)
        loop.advance(3)
        copy = loop.device_params(0)
    (record, before, event), (wait, ours, after), *uses = cupy.notes
    assert (record, before, wait, after) == ("record", own, "wait", event)
    assert ours is not own
    assert len(uses) > 10
    assert {stream for _, stream, *_ in uses} == {ours}
    assert isinstance(copy, Array)
    assert uses[-1][0] == "synchronize"  # what is handed out is there


def test_large_shared_memory_is_asked_for(cupy):
    training(cupy, n=50, d=128)
    assert not cupy.attributes
    training(cupy, n=50, d=128, hidden=(100, 100))
    assert max(cupy.attributes.values()) > 8 * (128 * 100 + 100 * 100 + 100)


def test_an_earlier_launch_keeps_its_shared_memory(cupy, monkeypatch):
    kernel = cuda.updates._make_kernel(np.dtype(float))
    monkeypatch.setattr(kernel, "_shared", 48 * 1024)
    for shared in (150_000, 90_000):
        kernel.prepared(1, (1, 2, 3, 4, 5), shared=shared)
    assert set(cupy.attributes.values()) == {150_000}


def test_blocks_that_cannot_run_together_are_refused(cupy):
    cupy.fitting = 0
    with pytest.raises(RuntimeError, match="cannot run at the same time"):
        training(cupy)


@pytest.mark.parametrize("rule", [PLAIN, SCHEDULED["momentum"]], ids=["constant", "scheduled"])
@pytest.mark.parametrize("large", [True, False])
def test_what_kernels_have_addresses_of_stays_alive(cupy, monkeypatch, large, rule):
    """A launch that forgot an array would let CuPy give its memory to the next one."""
    held = []
    words = cuda.jit._words

    def noting(argument):
        if isinstance(argument, Array):
            held.append(weakref.ref(argument))
        return words(argument)

    monkeypatch.setattr(cuda.jit, "_words", noting)
    _, loop = training(cupy, rule, large=large, hidden=(100, 300))
    gc.collect()
    assert len(held) > 10
    assert all(array() is not None for array in held)
    del loop


def test_a_streamed_run_replays_a_graph(cupy):
    _, loop = training(cupy, large=True)
    assert loop.engine == "streaming"
    before = len(cupy.launches)
    loop.advance(40)
    assert cupy.replays == 2  # of sixteen steps each
    # One of the maps, then sixteen steps captured and eight made, two launches each.
    assert len(cupy.launches) - before == 1 + 2 * 16 + 2 * 8
    loop.advance(16)
    assert cupy.replays == 3


def test_schedules_are_followed_within_the_graph(cupy):
    _, loop = training(cupy, SCHEDULED["momentum"], large=True)
    before = len(cupy.launches)
    loop.advance(20)
    assert cupy.replays == 1
    names = [name.split("_")[0] for name, *_ in cupy.launches[before:]]
    assert names[1:] == ["rows", "follow", "epilogue"] * (16 + 4)


def test_a_resident_launch_has_its_values_before(cupy):
    _, loop = training(cupy, SCHEDULED["momentum"], models=2)
    assert loop.engine == "resident"
    before = len(cupy.launches)
    loop.advance(20)
    names = [name.split("_")[0] for name, *_ in cupy.launches[before:]]
    assert names == ["tabulate", "resident"]
    loop.set_rate(1, 0.5)
    rows = loop._run.rules.get()
    assert rows[1, cuda.updates.RATE] == 0.5
    assert rows[1, cuda.updates.RATE_PROGRAM] == 0 < rows[0, cuda.updates.RATE_PROGRAM]
    assert rows[1, cuda.updates.DECAY_PROGRAM] > 0


def test_a_scheduled_end_to_end_rule_with_several_outputs(cupy):
    """Its rates are those on the device: the host waits for nothing."""
    _, loop = training(cupy, SCHEDULED["end-to-end 3"], large=True, k=2)
    before = len(cupy.notes)
    loop._launcher._begin(loop.active, loop.active)
    loop._launcher._step_end_to_end(0)
    assert "get" not in {what for what, *_ in cupy.notes[before:]}


def test_a_run_with_batches_replays_a_graph_between_two_records(cupy):
    _, loop = training(cupy, batches=Batches(7, "epoch", 3, 0.1))
    assert loop.engine == "streaming"
    before = len(cupy.launches)
    loop.advance(40, record_every=20)
    assert cupy.replays == 2  # of sixteen steps each, one behind each record
    names = [name.split("_")[0] for name, *_ in cupy.launches[before:]]
    look, step = ["rows", "epilogue"], ["gather", "rows", "epilogue"]
    assert names == ["publish", *look, *16 * step, *4 * step, *look, *4 * step]
    steps, rows = loop.take_history()
    assert (len(steps), rows.shape[1:]) == (0, (1, 4))  # kernels do nothing here


def test_rows_of_batches_come_before_their_steps(cupy, monkeypatch):
    """No more of them than there is room for, and those that the reference takes."""
    monkeypatch.setattr(importlib.import_module("accel.kernels.cuda.needs"), "_MOST", 6)
    _, loop = training(cupy, batches=Batches(15, "epoch", 3))
    tape, seen = loop._sampled._tape, []

    def seeing():
        first = int(tape.first.get()[0])
        counts, rows = tape.counts.get(), tape.rows.get().reshape(6, 15)
        seen.append((first, [own[:count] for own, count in zip(rows, counts, strict=True)]))

    monkeypatch.setattr(loop._sampled, "_fill", both(loop._sampled._fill, seeing))
    loop.advance(8, record_every=4)
    loop.advance(7)
    assert [first for first, _ in seen] == [0, 6, 8, 14]
    for first, all_rows in seen:
        end = min(first + 6, 8 if first < 8 else 15)
        for step, own in zip(range(first, end), all_rows, strict=False):
            np.testing.assert_array_equal(own, rows(40, 15, "epoch", 3, step))


def both(function, then):
    def call(*arguments):
        function(*arguments)
        then()

    return call


def test_langevins_noise_follows_every_update(cupy):
    rule = Rule(LANGEVIN, (0.01, 0.0, 0.1, 3.0, 0.0))
    for shape, engine in ({}, "streaming"), ({"d": 100, "hidden": (100,), "k": 100}, "wide"):
        _, loop = training(cupy, rule, **shape)
        assert loop.engine == engine
        loop.advance(1)
        names = [name.split("_")[0] for name, *_ in cupy.launches]
        place = len(names) - 1 - names[::-1].index("disturb")
        before, after = {"streaming": ("epilogue", "publish"), "wide": ("update", "multiply")}[
            engine
        ]
        assert (names[place - 1], names[place + 1]) == (before, after)


@pytest.mark.parametrize(("form", "of_pass"), [("direct", 2), ("gram", 1), ("diagonal", 0)])
def test_a_wide_run_is_launches_alone_and_replays_a_graph(cupy, form, of_pass):
    """No product of CuPy's: those are ours, shared out among many blocks."""
    _, loop = training(cupy, d=100, n=100, hidden=(100, 100), k=100, p=2.0, form=form, models=2)
    assert loop.engine == "wide"
    cupy.notes.clear()
    before = len(cupy.launches)
    loop.advance(20)
    assert cupy.replays == 1
    assert "matmul" not in {what for what, *_ in cupy.notes}
    # The maps, at first; the pass, enter, verdict, two of descend, update, two of multiply.
    here = cupy.launches[before:]
    assert len(here) == 2 + (16 + 4) * (of_pass + 7)
    step = [(name.split("_")[0], grid) for name, grid, *_ in here[-(of_pass + 7) :]]
    grids = dict(step[of_pass:])
    assert grids["enter"] == (40, 2)
    assert grids["verdict"] == (2,)
    assert grids["descend"] == (2 * 16, 2)
    assert grids["multiply"] == (16, 2)
    assert grids["update"] == (118, 2)


def test_a_wide_run_of_the_cross_entropy_is_launches_alone(cupy):
    """In its passes the products, what becomes of them row by row, and the gradients."""
    loss = Loss(1.0, kind="cross-entropy")
    _, loop = training(cupy, d=100, n=300, hidden=(100, 100), k=100, models=2, loss=loss)
    assert loop.engine == "wide"
    cupy.notes.clear()
    loop.advance(20)
    assert cupy.replays == 1
    assert "matmul" not in {what for what, *_ in cupy.notes}
    of_pass = cupy.launches[-10:-7]
    assert [name for name, *_ in of_pass] == [
        "residuals_float64_coupled", "slopes_float64_coupled_0", "gradients_float64_0"
    ]  # fmt: skip
    assert of_pass[1][1:4] == ((2, 2), (256,), 5 + 3 + 3)


@pytest.mark.parametrize(("engine", "size", "after"), [("wide", 100, 5), ("streaming", 8, 1)])
def test_a_run_on_entries_is_launches_alone(cupy, engine, size, after):
    """A pass over the places that were seen, shared out among blocks, for each of the models."""
    shape = {"n": 3000, "d": size, "k": size, "hidden": (size,)}
    case, loop = training(cupy, **shape, models=2, form="entries")
    assert loop.engine == engine
    cupy.notes.clear()
    loop.advance(20)
    assert cupy.replays == 1
    assert "matmul" not in {what for what, *_ in cupy.notes}
    name, grid, *_ = cupy.launches[-1 - after]
    places = len({tuple(place) for place in case.X})
    assert (name, grid) == ("entries_float64_4", (2, -(-places // 256)))


def test_measurements_are_data_to_a_pass_and_not_to_what_follows(cupy):
    _, loop = training(cupy, n=300, d=8, k=5, hidden=(4,), form="measurements", models=2)
    assert loop.engine == "wide"
    cupy.notes.clear()
    loop.advance(2)
    assert "matmul" not in {what for what, *_ in cupy.notes}
    assert cupy.launches[-6][0].startswith("rows_float64")


def test_a_streamed_run_of_the_cross_entropy_has_passes_by_cublas(cupy):
    _, loop = training(cupy, k=3, loss=Loss(1.0, kind="cross-entropy"))
    assert loop.engine == "streaming"
    cupy.notes.clear()
    loop.advance(2)
    assert "matmul" in {what for what, *_ in cupy.notes}
    assert "slopes_float64_coupled_1" in {name for name, *_ in cupy.launches}


def test_a_wide_run_on_large_data_has_passes_by_cublas(cupy):
    _, loop = training(cupy, d=200, n=40_000, hidden=(200,), k=200, large=True)
    assert loop.engine == "wide"
    cupy.notes.clear()
    loop.advance(2)
    assert cupy.replays == 0
    assert "matmul" in {what for what, *_ in cupy.notes}


def test_products_are_prepared_once(cupy, monkeypatch):
    """A later pass converts no argument and allocates nothing; its sums are those of the tiles."""
    monkeypatch.setattr(cuda.lp_loss, "TILE_BYTES", 8 * 8 * 7)
    case = problem(n=40, d=8, k=3, hidden=())
    data = cuda.lp_loss.pack(case.X, case.Y)
    weights = cuda.lp_loss.on_device(np.arange(24.0))
    one = cuda.lp_loss.Pass(data, weights, case.loss, cupy.ones(1, int), route="products")
    one()
    first, count = one.partials.get(), len(cupy.launches)
    monkeypatch.setattr(cuda.jit.Kernel, "prepared", None)
    cupy.notes.clear()
    weights[...] = 2 * weights
    one()
    assert {what for what, *_ in cupy.notes} == {"launch", "matmul"}
    assert count == 6
    assert len(cupy.launches) == 2 * count
    # With kernels that do nothing, the residuals are W X' themselves.
    np.testing.assert_allclose(first[0], np.arange(24.0).reshape(3, 8) @ case.X.T @ case.X)
    np.testing.assert_allclose(one.partials.get(), 2 * first)
    places = [words[-3:] for words in cupy.words[-count:]]
    assert places == [(7 * i, min(7, 40 - 7 * i), i) for i in range(6)]


@pytest.mark.parametrize("form", ["gram", "direct"])
def test_products_and_gram_are_not_captured(cupy, form):
    _, loop = training(cupy, large=True, k=1 if form == "gram" else 40, p=2.0, form=form, models=2)
    loop.advance(20)
    assert cupy.replays == 0
    assert loop.step == 20


def test_the_end_to_end_rule_with_several_outputs(cupy):
    rule = Rule(END_TO_END, (0.01, 0.1, 3.0, 0.0, 0.0))
    _, loop = training(cupy, rule, k=2)
    assert loop.engine == "streaming"
    loop.advance(3)
    assert loop.step == 3


def test_functions_answer_in_kind(cupy):
    case = problem(n=30, d=6, hidden=())
    W = case.params.reshape(1, 6)
    _, gradient = cuda.lp_loss.loss_and_gradient(case.X, case.Y, W, Loss(4.0))
    assert type(gradient) is np.ndarray
    assert type(cuda.factor_chain.end_to_end(case.params, case.widths)) is np.ndarray
    state = np.zeros((0, 6))
    cuda.updates.update(0, case.params, case.params, state, PLAIN.hyper, 1)
    on_host = importlib.import_module("accel.kernels.cuda.precondition").precondition
    for w in (W, W.astype(np.float32)):
        direction = on_host(w, w, 3)  # calls no function of the device
        assert type(direction) is np.ndarray
        np.testing.assert_array_equal(direction, precondition(w, w, 3))


@pytest.mark.parametrize("module", ["accel.kernels.cuda.lp_loss", "accel._support.arrays"])
def test_a_warning_of_cupys_fails_no_test(request, module):
    """CuPy is compiled: Python blames who calls it. NumPy's warnings there are about us."""
    if request.config.getoption("pythonwarnings"):
        pytest.skip("pytest was told what to make of warnings")
    source = importlib.import_module(module).__file__
    assert "warnings" not in Path(source).read_text()
    with pytest.raises(RuntimeWarning):
        warnings.warn_explicit("overflow", RuntimeWarning, source, 1, module)
    with warnings.catch_warnings(record=True) as told:
        warnings.warn_explicit("of CuPy's", UserWarning, source, 1, module)
    assert len(told) == 1


def test_without_nvjitlink_the_driver_compiles(cupy, monkeypatch, caplog):
    def no_linker(kernel, cc):
        raise ImportError("no nvjitlink here")

    monkeypatch.setattr(cuda.jit.Kernel, "machine_code", no_linker)
    monkeypatch.setattr(cuda.jit.Kernel, "ptx", lambda kernel, cc: "machine code")
    training(cupy)
    assert "no nvjitlink here" in caplog.text


@pytest.mark.parametrize("package", ["nvidia-nvvm", "nvidia-cuda-nvcc-cu12"])
def test_machine_code_is_kept_for_one_compiler(monkeypatch, package):
    """That of CUDA 13 and that of CUDA 12 lie in different packages."""
    versions = {package: "1.0"}

    def version(name):
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(cuda.jit.metadata, "version", version)
    before = cuda.jit._sources.__wrapped__()
    assert cuda.jit._sources.__wrapped__() == before
    versions[package] = "1.1"
    assert cuda.jit._sources.__wrapped__() != before
