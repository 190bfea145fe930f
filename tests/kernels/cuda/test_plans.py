"""Layouts of runs on a GPU with 132 multiprocessors, held to what was measured on one."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from accel.kernels.specs import ADAM, Loss, ModelSpec, Rule

from ..runs import PLAIN
from .modules import cuda

F4, F8 = np.dtype(np.float32), np.dtype(np.float64)
H200 = Path(benchmarks.__file__).parent / "results" / "nvidia-h200-2026-11-28.json"
DEVICE = {"MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 227 * 1024}
WIDE = (128, 100, 100, 1)


@pytest.fixture(autouse=True)
def hopper(monkeypatch):
    """A device that is asked for no more than this; models lie in NumPy's memory."""
    monkeypatch.setattr(cuda.launch, "attribute", DEVICE.__getitem__)
    monkeypatch.setattr(cuda.launch, "capability", lambda: (9, 0))
    monkeypatch.setattr(cuda.epilogue, "xp", np)


def wide(widths, form="direct", dtype=F8, count=1, n=None):
    """Whether a streamed run has many blocks a model, and the route of its passes."""
    d, k = widths[0], widths[-1]
    size = sum(a * b for a, b in itertools.pairwise(widths))
    models = cuda.epilogue.Models([ModelSpec(widths, np.zeros(size), PLAIN)] * count, dtype)
    data = cuda.launch.Data(None, None, n or 10 * d, d, k)
    return cuda.launch.wide_route(data, Loss(2.0, form=form), models)


@pytest.mark.parametrize("dtype", [F4, F8])
@pytest.mark.parametrize(("form", "route"), [
    ("direct", "blocks"), ("gram", "blocks"), ("diagonal", None),
])  # fmt: skip
def test_square_networks_have_many_blocks_a_model(form, route, dtype):
    for d, hidden in itertools.product((64, 100, 200), (1, 2, 3)):
        assert wide((d,) * (hidden + 2), form, dtype) == (True, route)
    assert wide((500, 500, 500), form, dtype)[0]


def test_small_networks_and_one_output_are_left_to_one_block():
    for widths in [(20, 20, 20), (20, 20, 20, 20), (128, 3, 2), (500, 500, 500, 1)]:
        for form in ("direct", "gram", "diagonal"):
            assert not wide(widths, form)[0]


def test_cublas_makes_the_passes_over_large_data():
    assert wide((200, 200, 200), n=2000) == (True, "blocks")
    assert wide((200, 200, 200), n=100_000) == (True, None)


def test_wide_networks_have_the_same_layout_in_any_company():
    for n in (100, 1000, 10_000, 100_000):
        assert wide((100, 100, 100), n=n, count=16) == wide((100, 100, 100), n=n)


def plan(widths=(128, 1), dtype=F4, count=1, n=2565, rule=PLAIN):
    size = sum(a * b for a, b in itertools.pairwise(widths))
    models = cuda.epilogue.Models([ModelSpec(widths, np.zeros(size), rule)] * count, dtype)
    data = cuda.launch.Data(None, None, n, widths[0], widths[-1])
    return cuda.launch.plan(data, Loss(4.0), models)


@pytest.mark.parametrize("dtype", [F4, F8])
def test_the_blocks_for_gas_are_near_the_fastest_ones_measured(dtype):
    scans = json.loads(H200.read_text())["accel"]["scan"]
    (rows,) = [scan["rows"] for scan in scans if scan["dtype"] == dtype.name]
    blocks, times = zip(
        *((row["blocks"], row["median_us"]) for row in rows if "gap" not in row), strict=True
    )
    chosen = plan(dtype=dtype)
    assert chosen.teams == 1
    assert np.interp(chosen.blocks, blocks, times) <= 1.03 * min(times)


def test_the_same_run_has_the_same_plan():
    assert plan(count=64) == plan(count=64)


def test_what_every_block_repeats_does_not_change_the_blocks_of_one_model():
    assert plan(WIDE).blocks == plan().blocks
    assert plan(WIDE, rule=Rule(ADAM, (0.01, 0.0, 0.9, 0.999, 1e-8))).blocks == plan().blocks


def rounds(chosen, count):
    return -(-count // chosen.teams)


@pytest.fixture
def dear_rows(monkeypatch):
    """Set the price of a multiply-add on factors, beside rows so dear that it matters."""
    known = cuda.launch.estimates.costs_of((9, 0))._replace(instruction=20.0)

    def set_to(price):
        costs = known._replace(chain=price)
        monkeypatch.setattr(cuda.launch.estimates, "costs_of", lambda capability: costs)

    return set_to


def test_the_dearer_the_chain_the_less_often_it_is_repeated(dear_rows):
    """With several models: smaller teams, more of them, fewer models one after the other."""
    layouts = []
    for price in (0.0, 0.1, 0.3, 1.0, 10.0):
        dear_rows(price)
        layouts.append(plan(WIDE, count=80, n=300))
    times = [rounds(chosen, 80) for chosen in layouts]
    assert times == sorted(times, reverse=True)
    assert (times[0], times[-1]) == (2, 1)
    blocks = [chosen.blocks for chosen in layouts]
    assert blocks == sorted(blocks, reverse=True)
    assert blocks[0] > blocks[-1]


def test_the_wider_the_models_the_smaller_their_teams(dear_rows):
    dear_rows(0.3)
    layouts = [plan((128, w, w, 1), count=80, n=300) for w in (1, 10, 40, 100)]
    blocks = [chosen.blocks for chosen in layouts]
    assert blocks == sorted(blocks, reverse=True)
    assert blocks[0] > blocks[-1]


def test_the_chain_of_a_streamed_model_counts_as_well():
    """Else only a resident step would pay for its factors, and wide networks be streamed."""
    assert plan(WIDE, n=20_000) is not None
    assert plan(WIDE, n=8_000_000) is None
