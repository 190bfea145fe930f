"""A Ctrl-C while kernels are compiled."""

import signal
import sys
import threading

import pytest
from numba.core.event import Listener, install_listener
from numba.core.registry import cpu_target

from accel.kernels.cpu.interrupts import held_within_passes

from .test_jit import make

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def handler_stays():
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def handler():
    """Set another handler for the test."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda new: signal.signal(signal.SIGINT, new)
    signal.signal(signal.SIGINT, before)


class Interrupting(Listener):
    """Sends a Ctrl-C within one of the passes."""

    def __init__(self, number):
        self.left = number
        self.began = 0

    def on_start(self, event):
        self.began += 1

    def on_end(self, event):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [1, 2, 5, 10, 20])
def test_ends_it_at_the_next_pass(number, monkeypatch):
    monkeypatch.setenv("ACCEL_CACHE", "0")
    successor, listener = make(), Interrupting(number)
    with install_listener("numba:run_pass", listener), pytest.raises(KeyboardInterrupt):
        successor(1)
    assert listener.began in (number, number + 1)  # the order of listeners is not specified
    assert not successor.signatures
    assert successor(1) == 2


def test_in_a_callback_of_llvm(monkeypatch):
    """Where an exception would be lost."""
    monkeypatch.setenv("ACCEL_CACHE", "0")
    engine = cpu_target.target_context.codegen()._engine._ee
    notify, called = engine._object_cache_notify, []

    def interrupt(*arguments):
        called.append(arguments)
        signal.raise_signal(signal.SIGINT)
        return notify(*arguments)

    monkeypatch.setattr(engine, "_object_cache_notify", interrupt)
    successor = make()
    with pytest.raises(KeyboardInterrupt):
        successor(1)
    monkeypatch.undo()
    assert called
    assert successor(1) == 2


@held_within_passes()
def interrupted_block(done, error=None):
    for _ in range(3):
        signal.raise_signal(signal.SIGINT)
        done.append(True)
    if error is not None:
        raise error


def test_within_a_pass_nothing_is_raised():
    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupted_block(done)
    assert len(done) == 3


def test_an_error_of_the_block_comes_with_it():
    error = ValueError("in the block")
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted_block([], error)
    assert caught.value.__context__ is error


def test_a_handler_of_ones_own_is_called_once(handler):
    heard = []
    handler(lambda number, frame: heard.append(number))
    with held_within_passes():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert not heard
    assert heard == [signal.SIGINT]


def test_an_ignored_signal_stays_ignored(handler):
    handler(signal.SIG_IGN)
    with held_within_passes():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_touches_no_handler():
    before, handlers = signal.getsignal(signal.SIGINT), []

    def enter():
        with held_within_passes():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [before]
