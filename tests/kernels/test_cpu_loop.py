"""What only the compiled loop can get wrong: its team, its padding, its view of the data."""

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from accel.kernels.cpu import loop, lp_loss, team
from accel.kernels.reference import loop as plain
from accel.kernels.specs import (
    ADADELTA,
    ADAGRAD,
    ADAM,
    GRADIENT_DESCENT,
    RUNNING,
    TARGET,
    Loss,
    ModelSpec,
    Rule,
)

from .runs import Single

DESCENT = Rule(GRADIENT_DESCENT, (1e-3, 0.0, 0.0, 0.0, 0.0))


def problem(n=203, d=17, dtype=np.float64):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((n, 1)).astype(dtype)
    return X, Y, Loss(4.0), (d, 1), np.full(d, 0.01, dtype)


@pytest.fixture
def three_cpus(monkeypatch):
    """A team of three, wherever the test runs."""
    monkeypatch.setattr(loop, "cpus", lambda: 3)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_rank_frees_the_other(three_cpus, rank):
    run = Single(loop, *problem(3000, 128), DESCENT, threads=2)
    assert run.threads == 2
    kernel = run.loop._ranks.kernel

    def broken(*arguments):
        if arguments[-1] == rank:
            raise MemoryError("no more")
        return kernel(*arguments)

    run.loop._ranks.kernel = broken
    with run, pytest.raises(MemoryError, match="no more"):
        run.advance(3)


def test_a_run_goes_on_after_a_ctrl_c_while_its_team_starts(three_cpus, monkeypatch):
    """Rank 1 is on its way already, and slow; ranks 0 and 2 never start."""
    case = problem(3000, 128)
    with Single(loop, *case, DESCENT, threads=3) as run:
        assert run.threads == 3
        submit, kernel = ThreadPoolExecutor.submit, run.loop._ranks.kernel

        def interrupted(*arguments):
            submit(*arguments)
            raise KeyboardInterrupt

        def slow_to_start(*arguments):
            time.sleep(0.1 * arguments[-1])
            kernel(*arguments)

        run.loop._ranks.kernel = slow_to_start
        with monkeypatch.context() as patch:
            patch.setattr(ThreadPoolExecutor, "submit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run.advance(3)
        again = threading.Thread(target=run.advance, args=(3,), daemon=True)
        again.start()
        again.join(timeout=20)
        assert not again.is_alive(), "the interrupted call left a rank behind that others wait for"
        with Single(loop, *case, DESCENT, threads=3) as untouched:
            untouched.advance(3)
            np.testing.assert_array_equal(run.params, untouched.params)


# From Python 3.12 on, forking a process that has threads, such as BLAS's, warns.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_loop_made_before_a_fork_goes_on_in_the_child():
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork on this system")
    context = multiprocessing.get_context("fork")
    with Single(loop, *problem(3000, 128), DESCENT, threads=2) as run:
        run.advance(3)
        receiver, sender = context.Pipe(duplex=False)

        def go_on():
            run.advance(3)
            sender.send(run.params)

        child = context.Process(target=go_on)
        child.start()
        try:
            assert receiver.poll(20), "the run hangs in the child"
            from_child = receiver.recv()
        finally:
            child.kill()
            child.join()
        run.advance(3)
        np.testing.assert_array_equal(run.params, from_child)


@pytest.mark.parametrize("models", [1, 5])
@pytest.mark.parametrize(("n", "d"), [(40, 17), (40, 128), (3000, 128)])
def test_the_number_of_processors_changes_no_bits(monkeypatch, n, d, models):
    """Three parts on as many ranks as there are processors; 40 rows are not worth cutting."""
    X, Y, loss, widths, params = problem(n, d)
    rules = [DESCENT._replace(hyper=(1e-3 * (m + 1), *DESCENT.hyper[1:])) for m in range(models)]
    ends = []
    for count in (1, 2, 3, 8):
        ranks = set()
        monkeypatch.setattr(loop, "cpus", lambda count=count: count)
        run = loop.TrainingLoop(X, Y, loss, [ModelSpec(widths, params, rule) for rule in rules], 3)
        kernel = run._ranks.kernel

        def noted(*arguments, kernel=kernel, ranks=ranks):
            rank = arguments[-1]  # or the rank's memory
            ranks.add(rank if isinstance(rank, int) else id(rank))
            kernel(*arguments)

        run._ranks.kernel = noted
        run.advance(20)
        parts = 3 if n > 40 else min(3, models)
        assert (run.threads, len(ranks)) == (parts, min(parts, count))
        ends.append([run.params(m) for m in range(models)])
    for end in ends[1:]:
        np.testing.assert_array_equal(end, ends[0])


def test_nobody_waits_for_a_rank_that_has_not_begun(three_cpus):
    case = problem(3000, 128)
    run = Single(loop, *case, DESCENT, threads=2)
    kernel, over = run.loop._ranks.kernel, threading.Event()

    def late(*arguments):
        leads = arguments[-1] == 0
        assert leads or over.wait(60)
        kernel(*arguments)
        if leads:
            over.set()

    run.loop._ranks.kernel = late
    assert run.advance(20) == RUNNING
    with Single(loop, *case, DESCENT, threads=2) as punctual:
        punctual.advance(20)
        np.testing.assert_array_equal(run.params, punctual.params)


@pytest.mark.parametrize("wait", [team.await_leader, lambda flags, _: team.await_units(flags, 1)])
def test_whoever_waits_for_a_stalled_rank_sleeps(wait):
    flags = team.make_flags(2)
    team.abort(flags)
    assert not wait(flags, 0)  # compiled
    flags[-team.SPACING] = 0
    timer = threading.Timer(0.5, team.abort, (flags,))
    timer.start()
    before, began = time.thread_time(), time.perf_counter()
    assert not wait(flags, 0)
    assert time.perf_counter() - began > 0.4
    assert time.thread_time() - before < 0.1
    timer.join()


def test_a_unit_is_claimed_once_a_phase():
    flags = team.make_flags(2)
    for phase in (1, 2):
        assert team.claim(flags, 1, phase)
        assert not team.claim(flags, 1, phase)
    assert not team.claim(flags, 1, 1)
    assert not team.claim(flags, 0, 2)  # phase 1 is not over


def test_a_team_ends_with_its_leader():
    """Nobody releases the worker."""
    met = []

    def kernel(greeting, flags, rank):
        met.append((greeting, rank))
        while rank and not flags[-team.SPACING]:
            time.sleep(0.001)

    team.run_team(kernel, ("hello",), 3, 3)
    assert sorted(met) == [("hello", 0), ("hello", 1), ("hello", 2)]


def test_a_request_to_stop_outlives_a_call_that_ended_otherwise():
    with Single(loop, *problem(), DESCENT) as run:
        start = run.snapshot()
        run.stop()
        assert run.advance(5, target=np.inf) == TARGET
        run.restore(start)
        assert run.advance(0) == RUNNING
        assert run.advance(5) == RUNNING
        assert run.step == 1
        run.advance(5)
        assert run.step == 6


def test_read_only_data_compile_nothing_new():
    X, Y, *rest = problem(64, 16)
    with Single(loop, X, Y, *rest, DESCENT) as run:
        before = len(run.loop._ranks.kernel.signatures)
    for array in (X, Y):
        array.flags.writeable = False
    with Single(loop, X, Y, *rest, DESCENT) as run:
        assert len(run.loop._ranks.kernel.signatures) == before
        assert run.advance(3) == RUNNING


def test_an_integer_p_compiles_nothing_new():
    X, Y, _, _, w = problem(64, 16)
    lanes = lp_loss.lanes_for(16, X.dtype)
    kernels = lp_loss.make_pass(X.dtype, lanes, "one", "lp"), lp_loss._make_hessian(lanes, "lp")
    compiled = []
    for p in (4.0, 4):
        lp_loss.loss_and_gradient(X, Y, w[None], Loss(p))
        lp_loss.hessian(X, Y[:, 0], w, Loss(p))
        compiled.append([len(kernel.signatures) for kernel in kernels])
    assert compiled[0] == compiled[1]


@pytest.mark.parametrize("kind", [ADAGRAD, ADADELTA])
def test_padding_stays_zero_where_eps_underflows(kind):
    """17 columns are padded; 1e-50 is 0 in float32."""
    rule = Rule(kind, (0.01, 0.0, 0.9, 0.0, 1e-50))
    with Single(loop, *problem(dtype=np.float32), rule) as run:
        assert run.advance(5) == RUNNING
        assert np.isfinite(run.evaluate()).all()


def test_adam_with_a_beta_that_rounds_to_one():
    """1 - 0.99999999 is 0 in float32 if it is rounded before it is subtracted."""
    rule = Rule(ADAM, (1e-3, 0.0, 0.9, 0.99999999, 1e-8))
    ends = []
    for module in (loop, plain):
        with Single(module, *problem(dtype=np.float32), rule) as run:
            assert run.advance(20) == RUNNING
            ends.append(run.params)
    np.testing.assert_allclose(*ends, rtol=1e-3)
