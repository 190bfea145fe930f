"""What is counted in a step, and which costs a device gets."""

import pytest

from accel.kernels.cuda import costs, estimates
from accel.kernels.cuda.estimates import Terms

GAS = estimates.chain((128, 1), 128)
WIDE = estimates.chain((128, 100, 100, 1), 22_900)


def test_the_counts_of_a_resident_step():
    counts = estimates.resident(2565, 128, 1, 4, 64, GAS)
    assert counts == Terms(
        rest=1,
        instruction=41 * (2 * 4 + 8),  # rows of the block with the most, four elements a lane
        exchange=1,
        block=64,
        poll=4096,
        pair=64 * 65,  # 128 float32 and a loss
        factor=0,
        chain=128,
    )
    double = estimates.resident(2565, 128, 1, 8, 64, GAS)
    assert double.instruction == 2 * counts.instruction
    assert double.pair == 64 * 129
    assert double.chain == 2 * counts.chain


def test_one_block_exchanges_nothing():
    counts = estimates.resident(100, 8, 2, 8, 1, estimates.chain((8, 3, 2), 30))
    assert counts.exchange == counts.block == counts.poll == counts.pair == 0
    assert counts.factor == 1
    assert counts.instruction == 2 * 100 * 2 * (2 + 8)


def test_the_chain_counts_products_gradients_and_the_update():
    assert GAS == (0, 128)
    assert WIDE == (2, 3 * (128 * 100 + 100 * 100) + 22_900)
    adam = estimates.chain((128, 100, 100, 1), 3 * 22_900)
    assert adam.multiply_adds - WIDE.multiply_adds == 2 * 22_900
    assert estimates.chain((7, 5, 3), 50).multiply_adds == 3 * 3 * 7 * 5 + 50


@pytest.mark.parametrize("maps", [1, 64])
def test_a_streaming_step_is_bound_by_bytes_or_by_arithmetic(maps):
    prices = Terms(launches=10, by_host=100, byte=1, multiply_add=1)
    counts = estimates.streaming(1000, 8, maps, 4, 10, maps > 4, GAS, prices)
    nbytes, work = 1000 * 8 * 4, 2 * 1000 * 8 * maps / 10
    assert (counts.byte, counts.multiply_add) == ((nbytes, 0) if nbytes > work else (0, work))
    launches = 100 if maps > 4 else 10
    assert estimates.cycles(counts, prices) == launches + max(nbytes, work)


def test_the_counts_of_a_wide_step():
    """100 x 100 at depth 3: 4 x 4 tiles of 32 x 32, fewer than multiprocessors."""
    counts = estimates.wide((100, 100, 100, 100), 30_000, 60_000, 8, 132, 1)
    assert counts.stage == 3 + 2 + 2  # enter, verdict, update; two each of descend and multiply
    assert counts.product == 4 * 2 * 32**2 * 100
    assert counts.byte == 8 * 2 * (30_000 + 60_000)
    many = estimates.wide((100, 100, 100, 100), 30_000, 60_000, 8, 132, 99)
    assert many.stage == counts.stage
    # 32 tiles of descend and 16 of multiply, of each model, all with 100 terms.
    assert many.product == pytest.approx(2 * 2 * 32**2 * 100 * (32 + 16) * 99 / 132)
    one = estimates.wide((40, 70), 2800, 2800, 4, 132, 1)
    assert (one.stage, one.product) == (4, 0)


def test_the_counts_of_a_pass_by_our_products():
    def count(form, models=1):
        return estimates.blocks_pass(form, 1000, 100, 100, 4, 132, models)

    assert count("diagonal") == Terms()
    residuals, gradients = 32**2 * 128 / 132 * 100, 32**2 * 16 / 132 * 1000
    assert count("direct").stage == 2
    assert count("direct").product == pytest.approx(max(residuals, 32**2 * 100) + gradients)
    assert count("direct", 33).product == pytest.approx(33 * (residuals + gradients))
    gram = estimates.blocks_pass("gram", 100, 100, 100, 8, 132, 1)
    assert gram == Terms(stage=1, product=2 * 32**2 * 100)


def test_a_device_gets_the_nearest_older_costs(monkeypatch):
    old, new = {"rest": 1.0, "byte": 2.0}, {"rest": 3.0, "byte": 4.0}
    monkeypatch.setattr(estimates, "COSTS", {(9, 0): old, (10, 3): new})
    for capability, of_it in [
        ((7, 5), old), ((8, 9), old), ((9, 0), old), ((10, 0), old), ((10, 3), new), ((12, 0), new),
    ]:  # fmt: skip
        assert estimates.costs_of(capability) == Terms(**of_it)


def test_the_costs_that_are_there():
    for entry in costs.COSTS.values():
        assert set(entry) == set(Terms._fields)
        assert all(value >= 0.0 for value in entry.values())
        assert entry["rest"] > 0
    assert estimates.costs_of((12, 1)).byte == estimates.costs_of((9, 0)).byte
