"""What runs take of the host's memory: estimates of each backend, as they have always been."""

import importlib

import numpy as np
import pytest

from accel.kernels.needs import Shape
from accel.kernels.specs import ADADELTA, ADAM, GRADIENT_DESCENT, MOMENTUM, ModelSpec, Rule

#: Shapes of problems; widths and rules of models; threads.
CASES = {
    "deep": (Shape(1000, 10, 1, np.dtype("f8"), False), [((10, 3, 1), ADAM)], 2),
    "float32": (
        Shape(500, 33, 3, np.dtype("f4"), False), [((33, 7, 5, 3), GRADIENT_DESCENT)] * 3, 4,
    ),
    "Gram": (
        Shape(2000, 16, 2, np.dtype("f8"), True), [((16, 2), MOMENTUM), ((16, 2), ADADELTA)], 8,
    ),
    "many threads": (
        Shape(200_000, 100, 1, np.dtype("f4"), False), [((100, 1), GRADIENT_DESCENT)], 64,
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
    assert list(bytes_of.items()) == list(zip(NAMES, EXPECTED[backend, case], strict=False))


@pytest.mark.parametrize("case", CASES)
def test_of_the_data(case):
    from accel.kernels.cpu.jit import row_length

    shape, *_ = CASES[case]
    n, d, k, dtype, gram = shape
    targets, row = n * k * dtype.itemsize, row_length(d, dtype)
    copy = 0 if gram or row == d else n * row * dtype.itemsize
    assert needs("reference").data_bytes(shape) == {"residuals": 4 * targets}
    assert needs("cuda").data_bytes(shape) == {}
    assert needs("cpu").data_bytes(shape) == {
        "a padded copy of X": copy, "a transposed copy of Y": targets,
    }  # fmt: skip


def test_where_data_may_lie():
    takes = {name: needs(name).TAKES_DEVICE_ARRAYS for name in ("reference", "cpu", "cuda")}
    assert takes == {"reference": False, "cpu": False, "cuda": True}
