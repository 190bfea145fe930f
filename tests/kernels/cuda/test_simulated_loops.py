"""Whole runs in the simulator, on the chip and streamed, against the run written out in NumPy."""

import numpy as np
import pytest

import accel
from accel.kernels.cuda import all_reduce, launch
from accel.kernels.cuda import loop as cuda_loop
from accel.kernels.specs import (
    ADAM,
    CONVERGED,
    DIVERGED,
    GRADIENT_DESCENT,
    RUNNING,
    TARGET,
    Loss,
    ModelSpec,
    Rule,
)
from benchmarks import peers

from ..runs import DTYPES, PLAIN, RULES, Single, assert_same_run, for_rule, problem, written_out
from ..simulator import options

SMALL = {"n": 21, "d": 9}


class Plain:
    """The reference's files, as ``runs`` wants them."""

    from accel.kernels.reference import factor_chain, lp_loss, precondition, updates


def run(way, case, rule, steps):
    with Single(way, *case, rule) as loop:
        assert_same_run(Plain, loop, case, rule, steps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RULES)
def test_every_rule(way, name, dtype):
    run(way, for_rule(name, **SMALL, hidden=(4,), dtype=dtype), RULES[name], 3)


@pytest.mark.parametrize("hidden", [(), (70,), (5, 4), (1, 1, 3)], ids=len)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", ["group rmsprop", "group rmsprop, factors"])
def test_groups_at_every_depth(way, name, hidden, k):
    run(way, problem(**SMALL, hidden=hidden, k=k), RULES[name], 2)


@pytest.mark.parametrize("hidden", [(), (1, 1), (5, 4), (70,), (2,) * 9])
@pytest.mark.parametrize("k", [1, 3])
def test_every_depth(way, hidden, k):
    run(way, problem(**SMALL, hidden=hidden, k=k), PLAIN, 2)


@pytest.mark.parametrize(
    ("n", "d", "k"),
    [(1, 1, 1), (2, 33, 1), (64, 32, 1), (170, 5, 1), (9, 70, 2), (20, 3, 4)],
)
def test_every_shape(any_way, n, d, k):
    """Fewer rows than blocks, d no multiple of a warp, rows that spill out of the registers."""
    run(any_way, problem(n=n, d=d, k=k, hidden=(3,)), PLAIN, 2)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_every_power(way, p):
    run(way, problem(**SMALL, p=p, factor=1 / p, hidden=(4, 6)), PLAIN, 2)


@pytest.mark.parametrize("k", [1, 3])
def test_gram(way, k):
    run(way, problem(**SMALL, p=2.0, form="gram", k=k, factor=0.5), PLAIN, 4)


@pytest.mark.parametrize(
    "name", ["end-to-end 3", "adam", "gradient descent", "group rmsprop, factors"]
)
def test_many_outputs_and_weight_decay(streaming, name):
    kind, (rate, _, *rest), _ = RULES[name]
    run(streaming, for_rule(name, **SMALL, k=6, hidden=(3,)), Rule(kind, (rate, 0.1, *rest)), 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_in_shared_memory(on_the_chip, dtype):
    """So many rows that registers hold only some."""
    case = problem(n=260, d=40, hidden=(), dtype=dtype)
    assert launch._resident_layout(
        cuda_loop.pack(case.X, case.Y), case.loss,
        cuda_loop.Models([ModelSpec(case.widths, case.params, PLAIN)], np.dtype(dtype)), 2,
    )[0].spills  # fmt: skip
    run(on_the_chip, case, PLAIN, 2)


def test_a_network_too_large_for_shared_memory(on_the_chip):
    case = problem(n=4, d=60, hidden=(150,))
    with options(races=False):
        run(on_the_chip, case, RULES["adam"], 1)
    models = cuda_loop.Models([ModelSpec(case.widths, case.params, RULES["adam"])], case.X.dtype)
    data = cuda_loop.pack(case.X, case.Y)
    layout, _ = launch._resident_layout(data, case.loss, models, 2)
    assert not layout.inside


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_order_of_blocks_and_warps(seed):
    """The same bits from every interleaving, and none of them a race or a deadlock."""
    case = problem(n=13, d=5, hidden=(3,))
    ends = []
    for schedule in (None, seed):
        with (
            options(seed=schedule),
            Single(cuda_loop, *case, RULES["adam"]) as loop,
        ):
            loop.advance(3, record_every=1)
            ends.append((loop.params, loop.take_history()))
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


# Stopping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "rule", "status"), [(1, "target", TARGET), (2, "tol", CONVERGED)], ids=["1", "2"]
)
def test_stops_at_the_first_iterate_that_fulfils(way, column, rule, status):
    case = problem(**SMALL, p=2.0, hidden=())
    rows, _ = written_out(Plain, case, PLAIN, 8)
    bound = (rows[4, column] + rows[5, column]) / 2
    _, params = written_out(Plain, case, PLAIN, 5)
    with Single(way, *case, PLAIN) as loop:
        assert loop.advance(50, record_every=1, **{rule: bound}) == status
        assert loop.step == 5
        np.testing.assert_allclose(loop.params, params, rtol=1e-11, atol=1e-12)
        np.testing.assert_array_equal(loop.take_history()[:, 0], np.arange(6))
        assert loop.advance(50, **{rule: bound}) == status
        assert loop.step == 5


@pytest.mark.parametrize("dtype", DTYPES)
def test_divergence_and_the_way_back(way, dtype):
    case = problem(n=20, d=5, hidden=(3,), dtype=dtype)
    rule = Rule(GRADIENT_DESCENT, (300.0, 0.0, 0.0, 0.0, 0.0))
    with Single(way, *case, rule) as loop:
        start = loop.snapshot()
        assert loop.advance(100, record_every=1) == DIVERGED
        at, history = loop.step, loop.take_history()
        assert at > 1
        np.testing.assert_array_equal(history[:, 0], np.arange(at))
        assert np.isfinite(history).all()
        assert loop.advance(10) == DIVERGED
        loop.restore(start)
        assert loop.advance(at - 1) == RUNNING
        np.testing.assert_allclose(loop.evaluate(), history[-1], rtol=1e-5)
        assert loop.advance(1) == RUNNING
        assert loop.advance(1) == DIVERGED


@pytest.mark.parametrize("name", ["momentum", "end-to-end 3"])
def test_a_rate_may_change_on_the_way(way, name):
    case, rule = for_rule(name, **SMALL, hidden=(4,)), RULES[name]
    rate, *rest = rule.hyper
    with (
        Single(way, *case, rule) as loop,
        Single(way, *case, rule._replace(hyper=(2 * rate, *rest))) as other,
    ):
        loop.advance(2)
        other.restore(loop.snapshot())
        loop.set_rate(0, 2 * rate)
        loop.advance(2)
        other.advance(2)
        np.testing.assert_array_equal(loop.params, other.params)


@pytest.mark.parametrize("name", ["adam", "end-to-end 3", "group rmsprop"])
def test_chunks_do_not_show_and_a_snapshot_brings_the_bits_back(way, name):
    case, rule = for_rule(name, **SMALL), RULES[name]
    with Single(way, *case, rule) as whole, Single(way, *case, rule) as parts:
        whole.advance(7, record_every=2)
        history = whole.take_history()
        for steps in (1, 0, 3):
            parts.advance(steps, record_every=2)
        snapshot, pieces = parts.snapshot(), [parts.take_history()]
        for _ in range(2):
            parts.restore(snapshot)
            assert parts.step == 4
            parts.advance(3, record_every=2)
            np.testing.assert_array_equal(parts.params, whole.params)
            np.testing.assert_array_equal(np.concatenate([*pieces, parts.take_history()]), history)


def test_history_of_many_records_comes_in_pieces(way, monkeypatch):
    monkeypatch.setattr(cuda_loop, "_HISTORY", 9)
    with Single(way, *problem(n=9, d=3), PLAIN) as loop:
        loop.advance(11, record_every=2)
        np.testing.assert_array_equal(loop.take_history()[:, 0], np.arange(0, 11, 2))


def test_a_request_to_stop_is_good_for_one_stop(way, monkeypatch):
    monkeypatch.setattr(cuda_loop, "_FIRST", 2)
    with Single(way, *problem(n=9, d=3), PLAIN) as loop:
        loop.stop()
        loop.advance(10)
        assert loop.step == 2
        loop.advance(3)
        assert loop.step == 5


# Many models ------------------------------------------------------------------------------------


def mixed(**shape):
    """Data, and a model of every rule and some depths on them; one diverges."""
    models = []
    for seed, (name, rule) in enumerate(RULES.items()):
        hidden = () if name.startswith("end-to-end") else [(), (1,), (5, 4)][seed % 3]
        case = problem(seed, hidden=hidden, **shape)
        models.append(ModelSpec(case.widths, case.params, rule))
    models.insert(3, models[0]._replace(rule=Rule(GRADIENT_DESCENT, (1e4, 0.0, 0.0, 0.0, 0.0))))
    X, Y, loss, *_ = problem(**shape)
    return X, Y, loss, models


@pytest.mark.parametrize("k", [1, 2])
def test_each_model_runs_as_if_alone(way, k, monkeypatch):
    if way.blocks and k > 1:
        pytest.skip("the end-to-end rule with several outputs is streamed")
    monkeypatch.setattr(cuda_loop, "_FIRST", 3)
    X, Y, loss, models = mixed(n=11, d=5, k=k)
    with way.TrainingLoop(X, Y, loss, models) as together:
        together.advance(5, record_every=2)
        steps, rows = together.take_history()
        np.testing.assert_array_equal(steps, [0, 2, 4])
        assert together.statuses[3] == DIVERGED
        assert 3 not in together.active
        ends = together.evaluate()
        for m, model in enumerate(models):
            case = problem(n=11, d=5, k=k)._replace(widths=model.widths, params=model.params)
            if m == 3:
                assert np.isnan(rows[-1, m]).all()
                continue
            written, params = written_out(Plain, case, model.rule, 5)
            np.testing.assert_allclose(together.params(m), params, rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(rows[:, m], written[[0, 2, 4], 1:], rtol=1e-9)
            np.testing.assert_allclose(ends[m], written[5], rtol=1e-9)


def test_teams_take_turns(processors):
    """More models than teams, more teams than one."""
    processors(4)
    case = problem(**SMALL, hidden=())
    rules = [Rule(GRADIENT_DESCENT, (rate, 0.0, 0.0, 0.0, 0.0)) for rate in (1e-3, 1e-2, 2e-2)]
    models = [ModelSpec(case.widths, case.params, rule) for rule in rules]
    loop = cuda_loop.TrainingLoop(case.X, case.Y, case.loss, models, blocks=2)
    assert loop._launcher.teams == 2
    loop.advance(4)
    for m, rule in enumerate(rules):
        np.testing.assert_allclose(loop.params(m), written_out(Plain, case, rule, 4)[1], rtol=1e-12)


def test_some_go_back_and_the_others_stay(way):
    X, Y, loss, models = mixed(n=11, d=5)
    with way.TrainingLoop(X, Y, loss, models) as loop:
        loop.advance(2)
        then = loop.snapshot()
        loop.advance(3)
        at_5, others = loop.params(5), [loop.params(m) for m in (0, 4)]
        now = loop.snapshot()
        loop.restore(then, [5])
        assert loop.step == 2
        loop.advance(3)
        np.testing.assert_array_equal(loop.params(5), at_5)
        loop.restore(now, [0, 4])
        for m, params in zip((0, 4), others, strict=True):
            np.testing.assert_array_equal(loop.params(m), params)
        loop.advance(1)
        assert loop.steps[[0, 4, 5]].tolist() == [6, 6, 5]


# What can go wrong ------------------------------------------------------------------------------


def test_waiting_in_vain_ends(on_the_chip, monkeypatch):
    """Blocks that never receive a message give up, and the run raises an error."""
    with Single(on_the_chip, *problem(**SMALL), PLAIN) as loop:
        monkeypatch.setattr(all_reduce, "_PATIENCE", 3)
        monkeypatch.setattr(all_reduce, "arrived", lambda pair, tag: False)
        # Several threads that give up set one flag: the only race that is allowed.
        told = pytest.raises(RuntimeError, match="waited for each other in vain")
        with options(races=False), told:
            loop.advance(1)


def test_tags_come_round(on_the_chip):
    case = problem(**SMALL, hidden=())
    with Single(on_the_chip, *case, PLAIN) as loop:
        loop.loop._launcher._tag = 2**32 - 3
        assert_same_run(Plain, loop, case, PLAIN, 5)
        assert loop.loop._launcher._tag < 100


def test_blocks_must_hold_the_data():
    case = problem(n=4000, d=60, hidden=())
    with pytest.raises(ValueError, match=r"blocks .*1"):
        cuda_loop.TrainingLoop(
            case.X, case.Y, case.loss, [ModelSpec(case.widths, case.params, PLAIN)], blocks=1
        )


def test_a_benchmark_tells_the_layout_of_a_run():
    case = problem(**SMALL, hidden=())
    run = peers.Descent(case.X, case.Y, 4.0, case.widths, case.params, 1e-3)
    assert peers.ours(run, "cuda", blocks=2).layout == (2, 1)
    assert peers.ours(run, "reference").layout is None


def test_the_plan_depends_on_the_size(processors):
    """Small data on the chip, large data streamed, several outputs of the end-to-end rule too."""
    processors(132)

    def chosen(n, d, rule=PLAIN, k=1, count=1):
        case = problem(n=8, d=d, hidden=(), k=k)
        models = [ModelSpec(case.widths, case.params, rule)] * count
        data = cuda_loop.pack(case.X, case.Y)._replace(n=n)
        return launch.plan(data, Loss(4.0), cuda_loop.Models(models, case.X.dtype))

    gas = chosen(2565, 128)
    assert 64 <= gas.blocks <= 132
    assert gas.teams == 1
    many = chosen(2565, 128, count=64)
    assert many.teams * many.blocks <= 132
    assert many.teams > 1
    assert many.blocks < gas.blocks
    assert chosen(8_000_000, 128) is None
    assert chosen(2565, 128, RULES["end-to-end 3"], k=3) is None
    assert chosen(50, 3000) is None


@pytest.mark.parametrize("name", ["train", "sweep"])
def test_by_the_public_functions(name):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6))
    problem = accel.LpProblem(X, X @ rng.standard_normal(6), p=4)
    network = accel.LinearNetwork.for_problem(problem, depth=2, width=2)
    rates = (0.01, 0.05, 1e6)
    results = []
    for backend in ("cuda", "reference"):
        if name == "train":
            optimizer = accel.Adam(0.01)
            results.append([accel.train(problem, network, optimizer, 6, backend=backend)])
        else:
            models = [(network, accel.GradientDescent(rate)) for rate in rates]
            results.append(list(accel.sweep(problem, models, 6, backend=backend)))
    for ours, plain in zip(*results, strict=True):
        assert (ours.status, ours.steps) == (plain.status, plain.steps)
        assert ours.backend == "cuda"
        np.testing.assert_allclose(ours.network.params, plain.network.params, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.history.loss, plain.history.loss, rtol=1e-9)


def test_adam_is_specialised_alike(way):
    """One kind of rule in a run, and several: kernels of their own, the same numbers."""
    case = problem(**SMALL, hidden=(3,))
    adam = Rule(ADAM, (0.01, 0.0, 0.9, 0.999, 1e-8))
    alone = way.TrainingLoop(case.X, case.Y, case.loss, [ModelSpec(case.widths, case.params, adam)])
    mixed = way.TrainingLoop(
        case.X, case.Y, case.loss,
        [ModelSpec(case.widths, case.params, rule) for rule in (adam, PLAIN)],
    )  # fmt: skip
    for loop in (alone, mixed):
        loop.advance(5)
    np.testing.assert_allclose(alone.params(0), mixed.params(0), rtol=1e-13)
