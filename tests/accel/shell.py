"""The command, called in this process or as one of its own."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

from accel import commands

RUNNER = CliRunner()
SMALL = ["ill-conditioned:n=40,d=3,condition=10", "--threads", "1"]
QUICK = [*SMALL, "--steps", "30", "--grid", "4"]
COMMAND = [sys.executable, "-m", "accel"]


def run(*arguments):
    return RUNNER.invoke(commands.app, [str(argument) for argument in arguments])


def run_json(*arguments):
    ended = run(*arguments, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def spawn(*arguments, **environment):
    env = {**os.environ, "ACCEL_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
