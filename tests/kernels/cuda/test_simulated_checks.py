"""The checks for a GPU that nobody has seen, on smaller problems: they run, and they can fail."""

from itertools import count

import pytest

from accel.kernels.cuda import factor_chain, loop, lp_loss, updates

from .checks import CHECKS, run


@pytest.mark.parametrize("name", CHECKS)
def test_the_check_is_right(name):
    right, line = run(name)
    assert right, line
    assert line.startswith(f"ok   {name}: ")


@pytest.fixture
def a_thousandth_off(monkeypatch):
    """Falsify arrays on their way to the device, later ones more, or results on their way back."""
    bring, end_to_end, update = lp_loss.on_device, factor_chain.end_to_end, updates.update
    pack_entries, times = loop.pack_entries, count(1)

    def brought(*arguments):
        array = bring(*arguments)
        return array * array.dtype.type(1 + 1e-3 * next(times))

    def updated(kind, params, *others):
        update(kind, params, *others)
        params[-1] *= 1.001

    def packed(*arguments):
        data = pack_entries(*arguments)
        return data._replace(Y=1.001 * data.Y)

    monkeypatch.setattr(lp_loss, "on_device", brought)
    monkeypatch.setattr(loop, "pack_entries", packed)
    monkeypatch.setattr(factor_chain, "end_to_end", lambda *a: 1.001 * end_to_end(*a))
    monkeypatch.setattr(updates, "update", updated)


@pytest.mark.usefixtures("a_thousandth_off")
@pytest.mark.parametrize("name", CHECKS)
def test_it_notices_a_thousandth(name):
    right, line = run(name)
    assert not right
    assert line.startswith(f"FAIL {name}: off by "), line
