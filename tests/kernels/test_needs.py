"""What runs take of the host's memory: estimates of each backend, as they have always been."""

import importlib

import numpy as np
import pytest

from accel.kernels.cpu import columns, diagonal, loop, lp_loss
from accel.kernels.cpu.jit import aligned_zeros, row_length
from accel.kernels.needs import Shape
from accel.kernels.specs import ADADELTA, ADAM, GRADIENT_DESCENT, MOMENTUM, ModelSpec, Rule

from .runs import RULES, for_rule

#: Shapes of problems; widths and rules of models; threads.
CASES = {
    "deep": (Shape(1000, 10, 1, np.dtype("f8"), "direct"), [((10, 3, 1), ADAM)], 2),
    "float32": (
        Shape(500, 33, 3, np.dtype("f4"), "direct"), [((33, 7, 5, 3), GRADIENT_DESCENT)] * 3, 4,
    ),
    "Gram": (
        Shape(2000, 16, 2, np.dtype("f8"), "gram"), [((16, 2), MOMENTUM), ((16, 2), ADADELTA)], 8,
    ),
    "diagonal": (
        Shape(33, 33, 3, np.dtype("f4"), "diagonal"), [((33, 7, 5, 3), GRADIENT_DESCENT)] * 3, 4,
    ),
    "many threads": (
        Shape(200_000, 100, 1, np.dtype("f4"), "direct"), [((100, 1), GRADIENT_DESCENT)], 64,
    ),
}  # fmt: skip
#: By backend and case: bytes for factors and state, products, gradients, history, Gram matrix.
EXPECTED = {
    ("reference", "deep"): [3960, 240, 440, 17220],
    ("cpu", "deep"): [4928, 464, 720, 17220],
    ("cuda", "deep"): [528, 240, 440, 17220],
    ("reference", "float32"): [30348, 3456, 15912, 51660],
    ("cpu", "float32"): [27840, 6696, 22932, 51660],
    ("cuda", "float32"): [6744, 3456, 15912, 51660],
    ("reference", "Gram"): [6912, 1088, 9248, 34440, 4352],
    ("cpu", "Gram"): [4864, 1536, 13056, 34440, 6144],
    ("cuda", "Gram"): [1024, 1088, 9248, 34440, 4352],
    ("reference", "diagonal"): [30348, 3456, 4896, 51660],
    ("cpu", "diagonal"): [27840, 6696, 7056, 51660],
    ("cuda", "diagonal"): [6744, 3456, 4896, 51660],
    ("reference", "many threads"): [3600, 808, 77972, 17220],
    ("cpu", "many threads"): [2240, 928, 89552, 17220],
    ("cuda", "many threads"): [800, 808, 77972, 17220],
}
NAMES = [
    "parameters and optimiser state", "products of factors", "gradients",
    "a history of 123 records", "the Gram matrix",
]  # fmt: skip


def needs(backend):
    return importlib.import_module(f"accel.kernels.{backend}.needs")


@pytest.mark.parametrize(("backend", "case"), EXPECTED)
def test_of_a_run(backend, case):
    shape, models, threads = CASES[case]
    rules = [ModelSpec(w, np.empty(0), Rule(kind, (0.1, 0.0, 0.0, 0.0, 0.0))) for w, kind in models]
    bytes_of = needs(backend).run_bytes(shape, rules, 123, threads)
    expected = list(zip(NAMES, EXPECTED[backend, case], strict=False))
    assert list(bytes_of.items())[: len(expected)] == expected
    extra = {"panels of maps"} if (backend, case) == ("cpu", "float32") else set()
    assert set(bytes_of) == {name for name, _ in expected} | extra


@pytest.mark.parametrize("case", CASES)
def test_of_the_data(case):
    shape, *_ = CASES[case]
    n, d, k, dtype, form, _ = shape
    assert needs("reference").data_bytes(shape) == {"residuals": 4 * n * k * dtype.itemsize}
    assert needs("cuda").data_bytes(shape) == {}
    rows = 4 * n + 4096 * 32  # those of so many steps, and what they are drawn with
    assert needs("cuda").data_bytes(shape._replace(batch=32)) == {"the rows of batches": 4 * rows}
    of_cpu = needs("cpu").data_bytes(shape)
    if k == 1 and columns.fits(n, d, dtype):
        data = columns.pack_columns(np.zeros((n, d), dtype), np.zeros((n, k), dtype))
        assert of_cpu == {"a copy of the data by columns": data.X.nbytes + data.Y.nbytes}
    elif form == "diagonal":
        data = diagonal.pack_diagonal(np.zeros(d, dtype), np.zeros((d, k), dtype), 0.0, 0)
        assert of_cpu == {"a copy of the diagonal": data.s.nbytes + data.Y.nbytes}
    else:
        row = row_length(d, dtype)
        copy = 0 if form == "gram" or row == d else n * row * dtype.itemsize
        assert of_cpu == {"a padded copy of X": copy}


@pytest.mark.parametrize(
    ("n", "d", "k", "count"),
    [(200, 40, 1, 2), (200, 40, 3, 1), (3000, 40, 1, 2), (3000, 17, 3, 20)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_several_maps(dtype, n, d, k, count):
    """What is said of the passes is what they take."""
    shape = Shape(n, d, k, np.dtype(dtype), "direct")
    rule = Rule(GRADIENT_DESCENT, (0.1, 0.0, 0.0, 0.0, 0.0))
    models = [ModelSpec((d, k), np.zeros(d * k, dtype), rule)] * count
    said = needs("cpu").run_bytes(shape, models, 1, 1)
    X, Y = aligned_zeros(n * d, dtype).reshape(n, d), aligned_zeros(n * k, dtype).reshape(n, k)
    data = lp_loss.pack(X, Y, count)
    assert np.shares_memory(data.Y, Y)
    assert said["panels of maps"] == lp_loss.work_size(data, count) * data.X.itemsize
    copy = 0 if np.shares_memory(data.X, X) else data.X.nbytes
    assert needs("cpu").data_bytes(shape) == {"a padded copy of X": copy}


def test_where_data_may_lie():
    takes = {name: needs(name).TAKES_DEVICE_ARRAYS for name in ("reference", "cpu", "cuda")}
    assert takes == {"reference": False, "cpu": False, "cuda": True}


@pytest.mark.parametrize("name", ["adam", "end-to-end 3"])
def test_of_many_outputs(name):
    """What a run holds is what was said, the padding of the outputs too."""
    X, Y, loss, widths, params = for_rule(name, n=50, d=20, k=37, hidden=(11,))
    model = ModelSpec(widths, params, RULES[name])
    shape = Shape(50, 20, 37, X.dtype, "direct")
    bytes_of = needs("cpu").run_bytes(shape, [model], 123, 1)
    held = loop.TrainingLoop(X, Y, loss, [model], 1)
    run, (scratch,) = held._run, held._ranks._scratch
    assert bytes_of["products of factors"] == run.products.nbytes
    in_use = 5 * run.params.nbytes + 3 * run.state.nbytes
    assert bytes_of["parameters and optimiser state"] == in_use
    assert scratch.sums.nbytes - 128 < bytes_of["gradients"] <= scratch.sums.nbytes
    of_rule = bytes_of.get("the end-to-end rule", 0)
    assert of_rule <= scratch.spare.nbytes + scratch.block.nbytes
    if name != "adam":
        assert of_rule > scratch.spare.nbytes
