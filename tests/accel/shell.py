"""Calls of the command, in this process or in one of its own."""

import json
import sys

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

from accel.cli import app

from ..children import started

RUNNER = CliRunner()
SMALL = ["ill-conditioned:n=40,d=3,condition=10", "--threads", "1"]
QUICK = [*SMALL, "--steps", "30", "--grid", "4"]
COMMAND = [sys.executable, "-m", "accel"]


def run(*arguments):
    return RUNNER.invoke(app.app, [str(argument) for argument in arguments])


def run_json(*arguments):
    ended = run(*arguments, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def spawn(*arguments, **options):
    return started(*COMMAND, *arguments, **{"ACCEL_NUM_THREADS": "1", **options})
