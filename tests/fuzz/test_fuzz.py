"""A few examples of every target, the same each time, and a check that the fuzzer finds bugs."""

import itertools
import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from . import loaders, runs
from .__main__ import Fuzzer
from .limits import bounded
from .targets import TARGETS, Target

_EXAMPLES = {
    "uci": 30, "csv": 50, "npz": 50, "npy": 50, "checkpoint": 20, "result": 30, "train": 30,
    "train, l_p alone": 25,
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    # Each loss compiles a pass of its own.
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "train")) for name in TARGETS]
    + ["train, l_p alone"],
)
def test_a_slice(name, tmp_path):
    target = TARGETS[name.partition(",")[0]]
    if "," in name:
        target = target._replace(strategy=runs.cases(losses=False))

    @hypothesis.settings(
        max_examples=_EXAMPLES[name], derandomize=True, deadline=None, database=None,
        suppress_health_check=list(hypothesis.HealthCheck), phases=target.phases,
    )  # fmt: skip
    @hypothesis.given(target.strategy)
    def run(case):
        target.check(case, tmp_path)

    run()


def _fuzzer(check, folder):
    strategy = st.integers(0, 10**6)
    return Fuzzer(Target(strategy, check, (hypothesis.Phase.generate,)), folder, np.inf)


def test_each_kind_of_failure_is_found_once_and_kept(tmp_path, capsys):
    def check(case, folder):
        (folder / "input.bin").write_text(str(case))
        if case % 2:
            raise AssertionError(f"odd: {case}")
        if case % 3:
            raise OSError("not a multiple")

    fuzzer = _fuzzer(check, tmp_path)
    for seed in range(4):
        fuzzer.batch(seed)
    assert sorted(kind.partition(" ")[0] for kind in fuzzer.bugs) == ["AssertionError", "OSError"]
    assert min(fuzzer.bugs.values()) > 10
    assert fuzzer.examples > 400
    for number in (1, 2):
        case = int((tmp_path / f"found-{number}.bin").read_text())
        assert (tmp_path / f"found-{number}.txt").read_text().startswith(f"{case}\n")
        assert f"found {number}: {case}" in capsys.readouterr().out or number == 2


def test_a_hang_is_found():
    with pytest.raises(AssertionError, match=r"not done after 0\.1 s"), bounded(seconds=0.1):
        all(True for _ in itertools.repeat(0))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_is_bounded():
    with pytest.raises(MemoryError), bounded(megabytes=100):
        np.empty(2**28)
    np.empty(2**28)  # not any more


@pytest.mark.parametrize(
    "outcome",
    [
        ValueError("no path"), ValueError("{path}: two\nlines"), KeyError("{path}"),
        ValueError("{path}" + "x" * 1000), np.array([np.nan, 1.0]),
    ],
)  # fmt: skip
def test_a_reader_that_does_wrong_is_found(outcome, tmp_path):
    def load(path):
        if isinstance(outcome, Exception):
            raise type(outcome)(str(outcome.args[0]).format(path=path))
        return loaders.Dataset(np.ones((2, 1)), outcome, "", ("x0",), "", "")

    with pytest.raises((AssertionError, KeyError)):
        loaders._load(tmp_path / "input.csv", b"", None, load)


def test_two_runs_that_differ_are_found():
    near = [np.array([1.0, 1.0 + 1e-15])] * 3
    runs._assert_near("loss", [np.array([1.0, 1.0 + 1e-14]), *near], 2e-16)
    with pytest.raises(AssertionError, match=r"loss\[1\] is"):
        runs._assert_near("loss", [np.array([1.0, 1.0 + 1e-11]), *near], 2e-16)


def test_what_cancels_is_no_difference():
    small = [np.array([1.0, 6.03482947614253e-07])] * 3
    runs._assert_near("weight_norm", [np.array([1.0, 6.03482947654264e-07]), *small], 2e-16)
