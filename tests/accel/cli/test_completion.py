"""What shells are told: the script that completes, and the words it offers."""

import pytest

from accel.cli import app
from accel.cli.options import completed

from ..shell import RUNNER, run, spawn


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(monkeypatch, shell):
    """With the shell as a word, as typer has it where it cannot find out which one is running."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    ended = run("--show-completion", shell)
    assert ended.exit_code == 0, ended.output
    assert f"_ACCEL_COMPLETE=complete_{shell}" in ended.stdout


@pytest.mark.parametrize(("line", "expected"), [
    ("accel pre", ["predict"]),
    ("accel train d", ["diabetes"]),
    ("accel train --optimizer mo", ["momentum"]),
    ("accel compare --optimizers gd,ada", ["gd,adagrad", "gd,adadelta", "gd,adam"]),
    ("accel train --record sharpness,alig", ["sharpness,alignment"]),
    ("accel train --loss hu", ["huber"]),
    ("accel train --backend cu", ["cuda"]),
    ("accel train --init ba", ["balanced"]),
    ("accel reproduce --figures 2,5r", ["2,5r-linear", "2,5r"]),
    ("accel train my.c", []),
])  # fmt: skip
def test_words_are_completed(line, expected):
    place = str(len(line.split()) - 1)
    asked = {"_ACCEL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": place}
    ended = RUNNER.invoke(app.app, [], env=asked, prog_name="accel")
    assert ended.exit_code == 0, ended.output
    assert sorted(ended.stdout.split()) == sorted(expected)


def test_the_command_itself_answers():
    asked = {"COMP_WORDS": "accel inf", "COMP_CWORD": "1"}
    with spawn(_ACCEL_COMPLETE="complete_bash", **asked) as process:
        assert process.stdout.rest().split() == ["info"]
        assert process.wait() == 0


def test_the_last_of_several_words():
    complete = completed("one", "two", several=True)
    assert complete("") == ["one", "two"]
    assert complete("one,t") == ["one,two"]
    assert completed("one", "two")("one,t") == []
