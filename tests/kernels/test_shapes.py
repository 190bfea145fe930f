"""The table of shapes: what is chosen for which processor, and how it is set by hand."""

import os

import numpy as np
import pytest

from accel.kernels.cpu import shapes
from accel.kernels.cpu.shapes import CANDIDATES, VARIABLE, Shapes, choose, choose_here

from .. import children

ZEN_3 = 32, 16, 32 << 10, 32 << 20
GOLDEN_COVE = 64, 32, 48 << 10, 260 << 20
SSE = 16, 16, 32 << 10, 2 << 20
NEON = 16, 32, 64 << 10, 8 << 20


@pytest.mark.parametrize("processor", [ZEN_3, GOLDEN_COVE, SSE, NEON])
def test_a_tile_of_registers_fits(processor):
    vector, registers, l1, l3 = processor
    chosen = choose(*processor)
    sums = chosen.tile_height * chosen.tile_vectors
    assert sums + chosen.tile_vectors + 1 <= registers
    # Two multiply-adds a cycle, four cycles each.
    assert sums >= 8
    assert chosen.depth * chosen.tile_vectors * vector <= l1 // 2
    assert chosen.tile_bytes < l1
    assert chosen.stream_bytes < l3


def test_only_registers_and_caches_count():
    assert choose(*ZEN_3) == choose(*ZEN_3)
    assert choose(*ZEN_3) != choose(*GOLDEN_COVE)
    assert choose_here() == shapes.shapes() or VARIABLE in os.environ


def test_candidates_are_values_of_fields():
    assert set(CANDIDATES) <= set(Shapes._fields)
    for name in ("many_rows", "tile_height", "tile_vectors", "ahead_bytes"):
        assert getattr(choose(*GOLDEN_COVE), name) in CANDIDATES[name]


@pytest.mark.parametrize(
    "text", ["tile_bytes", "tile_bytes=", "tile_bytes=-1", "tile_bytes=0", "rows=8", "depth=1.5"]
)
def test_settings_that_say_nothing(text):
    with pytest.raises(ValueError, match=f"{VARIABLE} must be NAME=NUMBER"):
        shapes.settings(text)


def test_settings():
    assert shapes.settings("") == {}
    assert shapes.settings(" tile_bytes=4096, stream_bytes=0,") == {
        "tile_bytes": 4096,
        "stream_bytes": 0,
    }


# Every field away from what this machine would choose; results stay within rounding.
ODD = "tile_bytes=4096,many_rows=7,tile_height=3,tile_vectors=1,depth=5,stream_bytes=0"
PROGRAM = """
import numpy as np
from accel.kernels.cpu import lp_loss
from accel.kernels.cpu.shapes import shapes
from accel.kernels.specs import Loss

rng = np.random.default_rng(0)
numbers = [shapes().many_rows]
for k in (1, 3, 40):
    X, Y = rng.standard_normal((150, 37)), rng.standard_normal((150, k))
    value, G = lp_loss.loss_and_gradient(X, Y, rng.standard_normal((k, 37)), Loss(3.0))
    numbers += [value, *G.ravel()]
print(*map(float, numbers))
"""


def test_any_shapes_give_the_same_numbers():
    usual, odd = (
        np.array(children.python("-c", PROGRAM, **{VARIABLE: text}).stdout.split(), float)
        for text in ("", ODD)
    )
    assert odd[0] == 7
    np.testing.assert_allclose(odd[1:], usual[1:], rtol=1e-11)
