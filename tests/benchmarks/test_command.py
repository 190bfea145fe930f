"""The one command in front: ``python -m benchmarks``."""

import pytest

from benchmarks import __main__ as command

from ..children import ROOT, python


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_has_its_help(name, capsys):
    with pytest.raises(SystemExit) as exit:
        command.main([*name.split(), "--help"])
    assert exit.value.code == 0
    assert f"usage: python -m benchmarks {name} " in capsys.readouterr().out


def test_the_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    told = capsys.readouterr().out
    for name in {name.split()[0] for name in command.COMMANDS} | {"pytest"}:
        assert f"python -m benchmarks {name} " in told
    for name in command.COMMANDS:
        assert name.split()[-1] in told


def test_probes_are_named_where_none_is_asked_for(capsys):
    assert command.main(["probes"]) == 2
    told = capsys.readouterr().err
    assert all(name in told for name in command.COMMANDS if name.startswith("probes "))


def test_no_library_is_loaded_before_the_cpus_are_pinned():
    code = "import sys; from benchmarks.__main__ import parse; parse(['step']); print(*sys.modules)"
    done = python("-c", code, cwd=ROOT)
    assert not {"numpy", "accel", "torch"} & set(done.stdout.split())
