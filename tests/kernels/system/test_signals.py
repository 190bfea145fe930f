"""Who hears a Ctrl-C."""

import signal
import threading

import pytest

from accel.kernels.system import signals


@pytest.fixture(autouse=True)
def handler_stays():
    before = signal.getsignal(signal.SIGINT)
    yield
    after = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert after is before


def test_the_handler_of_the_main_thread():
    assert signals.interrupt_handler() is signal.getsignal(signal.SIGINT)
    found = []
    thread = threading.Thread(target=lambda: found.append(signals.interrupt_handler()))
    thread.start()
    thread.join()
    assert found == [None]


@pytest.mark.parametrize("other", [signal.SIG_IGN, signal.SIG_DFL])
def test_none_of_python_s_is_called(other):
    before = signal.signal(signal.SIGINT, other)
    try:
        assert signals.interrupt_handler() is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_hears_it_in_the_block():
    heard = []

    def fail():
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), signals.interrupts_to(lambda *call: heard.append(call)):
        fail()
    assert [number for number, _ in heard] == [signal.SIGINT]


def test_nobody_hears_it():
    before = signal.getsignal(signal.SIGINT)
    try:
        signals.ignore_interrupts()
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
