"""Pictures of runs, sweeps and searches, and the table with a row for every record."""

import math
import sys

import numpy as np
import pytest

import accel
from accel import GradientDescent, sweep, train
from accel.schedules import ExponentialDecay

from ..problems import PROBLEM, start

matplotlib = pytest.importorskip("matplotlib")
REFERENCE = {"backend": "reference"}


@pytest.fixture(autouse=True)
def no_windows():
    matplotlib.use("Agg")
    yield
    if (plt := sys.modules.get("matplotlib.pyplot")) is not None:
        plt.close("all")


def models(rates, depth=2):
    return [(start(depth=depth), GradientDescent(rate)) for rate in rates]


@pytest.fixture(scope="module")
def few():
    """Three rates, the last of which diverges."""
    listed = models([0.001, 0.01, 10.0])
    return sweep(PROBLEM, listed, 50, record=["singular_values", "effective_rank"], **REFERENCE)


@pytest.fixture(scope="module")
def many():
    """64 models of several kinds."""
    rules = [accel.Adam, accel.Momentum, GradientDescent, accel.Nesterov]
    rates = (1e-4, 1e-3, 1e-2, 1.0)
    listed = [(start(depth=n), rule(rate)) for n in range(1, 5) for rule in rules for rate in rates]
    return sweep(PROBLEM, listed, 20, **REFERENCE)


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def drawn(ax):
    """Check that no text of a picture lies over the curves or beyond its edge; the figure."""
    figure = ax.figure
    figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    assert not box.overlaps(ax.get_window_extent())
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= 0
    assert ax.get_window_extent().width > 300
    return figure


def test_a_long_run_has_a_logarithmic_axis():
    for every, scale in (("log", "symlog"), (1, "linear"), ([1, 10, 100, 700], "symlog")):
        result = train(
            PROBLEM, start(), GradientDescent(0.01), 700, record_every=every, **REFERENCE
        )
        ax = result.plot()
        assert ax.get_xscale() == scale
        assert ax.get_xlabel() == "iteration"
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), result.history.step)
        left, right = ax.get_xlim()
        assert left < 0 < 700 <= right
        assert scale == "linear" or (left > -1 and right < 2000)


def test_a_sweep(few):
    ax = few.plot(optimum=1e-4)
    assert legend(ax) == ["rate 0.001", "rate 0.01", "rate 10", "diverged"]
    assert ax.get_legend().get_title().get_text() == "gd, depth 2, width 3"
    drawn(ax)
    for line, result in zip(ax.lines, few, strict=False):
        np.testing.assert_array_equal(line.get_xdata(), result.history.step)
        np.testing.assert_allclose(line.get_ydata(), result.history.loss - 1e-4)
    (cross,) = ax.lines[3:]
    assert cross.get_color() == ax.lines[2].get_color()
    bottom, top = ax.get_ylim()
    assert cross.get_ydata()[0] == top
    assert top == pytest.approx(10 * (few[0].history.loss[0] - 1e-4))
    assert bottom < few[1].loss
    assert ax.get_ylabel() == "distance from the optimum"


def test_axes_and_style_of_the_caller(few):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert few.plot(ax, color="red", label="mine") is ax
    assert {line.get_color() for line in ax.lines} == {"red"}
    assert legend(ax) == ["mine", "diverged"]
    ax = few.plot(what="effective_rank")
    assert (ax.get_yscale(), ax.get_ylabel()) == ("linear", "effective rank")
    assert len(few.plot(what="singular_values").lines) == 4


def test_rates_have_a_color_bar():
    rates = np.geomspace(1e-4, 10.0, 9).tolist()
    ax = sweep(PROBLEM, models(rates), 30, record_every="log", **REFERENCE).plot()
    figure = ax.figure
    assert ax.get_legend() is None
    assert ax.get_title() == "gd, depth 2, width 3; a cross: diverged"
    (bar,) = [other for other in figure.axes if other is not ax]
    assert bar.get_ylabel() == "learning rate"
    assert bar.get_ylim() == pytest.approx((1e-4, 10.0))
    assert len({matplotlib.colors.to_hex(line.get_color()) for line in ax.lines[:9]}) == 9
    same = sweep(PROBLEM, models([0.01] * 8), 3, **REFERENCE).plot()
    assert legend(same) == [str(i) for i in range(8)]


def test_64_models_can_be_told_apart(many):
    ax = many.plot()
    named = legend(ax)
    assert named[:2] == ["adam, depth 1, rate 0.0001", "adam, depth 1, rate 0.001"]
    assert len(named) == len(set(named)) == 65
    looks = {(str(line.get_color()), line.get_linestyle()) for line in ax.lines[:64]}
    assert len(looks) == 64
    drawn(ax)


def test_what_only_some_recorded_and_what_none_did():
    falling = GradientDescent(ExponentialDecay(0.01, 10, 0.5))
    swept = sweep(PROBLEM, [*models([0.01]), (start(), falling)], 20, **REFERENCE)
    ax = swept.plot(what="rate")
    assert len(ax.lines) == 1
    np.testing.assert_allclose(ax.lines[0].get_ydata(), swept[1].history["rate"])
    with pytest.raises(ValueError, match="what cannot be drawn: 'sharpness' was not recorded"):
        swept.plot(what="sharpness")
    with pytest.raises(TypeError, match="what must be a name, got 3"):
        swept.plot(what=3)


def test_pictures_with_next_to_nothing_in_them(recwarn):
    one = sweep(PROBLEM, models([0.01]), 5, **REFERENCE)
    assert legend(one.plot()) == ["gd, depth 2, width 3, rate 0.01"]
    for ax in (one.plot(optimum=1e9), search().plot(optimum=1e9)):
        ax.figure.canvas.draw()
    assert not recwarn.list


def test_a_sweep_of_which_all_diverge(recwarn):
    ax = sweep(PROBLEM, models([10.0, 1e200]), 50, **REFERENCE).plot()
    assert legend(ax)[-1] == "diverged"
    ax.figure.canvas.draw()
    assert not recwarn.list


def search(**more):
    arguments = {"learning_rates": [1e-4, 1e-3, 1e-2, 10.0], "refine": 0, **REFERENCE, **more}
    return accel.grid_search(PROBLEM, start(), GradientDescent(1.0), 60, **arguments)


def test_a_search():
    found = search()
    ax = found.plot()
    rates, losses = found.learning_rates, found.losses[:, 0]
    assert rates.tolist() == [r.optimizer.learning_rate for r in found.results]
    survived = np.isfinite(losses)
    assert not survived.all()
    line, star, crosses = (ax.lines[i] for i in (0, 2, 3))
    np.testing.assert_array_equal(line.get_xdata(), rates)
    np.testing.assert_allclose(line.get_ydata()[survived], losses[survived])
    assert np.isnan(line.get_ydata()[~survived]).all()
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (found.learning_rate, found.best.loss)
    np.testing.assert_array_equal(crosses.get_xdata(), rates[~survived])
    drawn(ax)
    assert legend(ax) == [f"best: {found.learning_rate:.4g}", "diverged"]
    low, high = ax.get_ylim()
    assert low < losses.min() < losses[survived].max() < low * (high / low) ** 0.95
    least = losses.min()
    assert np.nanmin(found.plot(optimum=least).lines[0].get_ydata()) > 0


def test_a_search_with_seeds_and_one_that_drops():
    ax = search(batch_size=5, seeds=3).plot(color="green")
    assert legend(ax)[0] == "one seed"
    assert len(ax.lines[1].get_xdata()) == 3 * len(ax.lines[0].get_xdata()) - 3
    assert "dropped" in legend(search(halving=2).plot())


def test_the_table_of_all_records(few):
    pandas = pytest.importorskip("pandas")
    frame = few.to_pandas(long=True)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame) == [
        "number", "optimizer", "learning_rate", "depth", "widths",
        *few[0].history.columns(),
    ]  # fmt: skip
    assert len(frame) == sum(len(result.history) for result in few)
    assert frame.index.is_unique
    for number, result in enumerate(few):
        rows = frame[frame.number == number]
        np.testing.assert_array_equal(rows["step"], result.history.step)
        np.testing.assert_array_equal(rows["loss"], result.history.loss)
        assert set(rows["learning_rate"]) == {result.optimizer.learning_rate}
        assert set(rows["widths"]) == {result.network.widths}
    assert few.to_pandas().equals(few.to_pandas(long=False))
    assert len(few.to_pandas()) == 3
    with pytest.raises(TypeError, match="long must be True or False, got 'yes'"):
        few.to_pandas(long="yes")


def test_a_record_that_is_called_like_a_column_of_the_model():
    pytest.importorskip("pandas")

    def depth(step, network):
        return math.pi

    listed = [(start(), GradientDescent(ExponentialDecay(0.01, 10, 0.5))), *models([0.01])]
    frame = sweep(PROBLEM, listed, 3, record=[depth], **REFERENCE).to_pandas(long=True)
    assert set(frame["depth"]) == {2}
    assert set(frame["depth_"]) == {math.pi}
    assert frame["rate"].isna().tolist() == [False] * 4 + [True] * 4


def test_without_pandas_and_matplotlib(few, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for call, package in ((lambda: few.to_pandas(long=True), "pandas"), (few.plot, "matplotlib")):
        with pytest.raises(ImportError, match=rf"needs {package}: pip install"):
            call()
