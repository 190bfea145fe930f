"""The scan of shapes, with a stand-in for the table and for the measurement."""

import sys
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from accel.kernels.cpu.shapes import choose_here
from benchmarks import shapes
from benchmarks.harness.cases import CASES


class Shapes(NamedTuple):
    tile_bytes: int = 16384
    many_rows: int = 4
    ahead_bytes: int = 0


CANDIDATES = {"tile_bytes": (8192, 32768), "many_rows": (2, 4, 8), "ahead_bytes": (0, 4096)}


def made_up(case, choice):
    """Seconds: 32 KiB are best, and with them 8 rows; what prefetching saves is too little."""
    tile, rows = choice["tile_bytes"], choice["many_rows"]
    best_rows = 8 if tile == 32768 else 2
    return 1 + (tile != 32768) + 0.1 * abs(rows - best_rows) - 1e-3 * (choice["ahead_bytes"] > 0)


@pytest.fixture
def asked(monkeypatch):
    """What was measured: the case and the choices, by field."""
    calls = []

    def measured(case, choices, rounds, seconds, quick):
        calls.append((case, choices, rounds, seconds, quick))
        return [[made_up(case, choice)] * rounds for choice in choices]

    table = SimpleNamespace(CANDIDATES=CANDIDATES, shapes=Shapes, Shapes=Shapes)
    monkeypatch.setattr(shapes, "measured", measured)
    monkeypatch.setattr("benchmarks.__main__.pin", lambda threads: None)
    monkeypatch.setitem(sys.modules, "accel.kernels.cpu.shapes", table)
    monkeypatch.setattr(sys.modules["accel.kernels.cpu"], "shapes", table, raising=False)
    return calls


def test_each_field_is_scanned_with_the_best_of_those_before_it(asked, capsys):
    assert shapes.main([]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(
        "The row for this machine:\n\n    Shapes(tile_bytes=32768, many_rows=8, ahead_bytes=0)\n"
    )
    assert [case for case, *_ in asked] == [
        *shapes.CASES["tile_bytes"],
        *shapes.CASES["many_rows"],
        "tall-f32",
    ]
    tried = [[choice["tile_bytes"] for choice in choices] for _, choices, *_ in asked]
    assert tried[0] == [8192, 16384, 32768]
    assert tried[-1] == [32768, 32768]
    assert "| 16384 | 2.2e+06 (1.000) | 2.2e+06 (1.000) | present |" in printed
    assert "| 32768 | 1.4e+06 (0.636) | 1.4e+06 (0.636) | best |" in printed
    assert "| 0 | 1e+06 (1.000) | present, best |" in printed  # 0.1 % is no reason to change


def test_one_field_quickly(asked, capsys):
    assert shapes.main(["--quick", "--field", "many_rows"]) == 0
    assert {call[2:] for call in asked} == {(shapes.QUICK_ROUNDS, shapes.QUICK_SECONDS, True)}
    assert "Shapes(tile_bytes=16384, many_rows=2, ahead_bytes=0)" in capsys.readouterr().out


def test_an_unknown_field(asked, capsys):
    assert shapes.main(["--field", "colour"]) == 2
    assert (
        "unknown field colour; known: tile_bytes, many_rows, ahead_bytes" in capsys.readouterr().err
    )


def test_a_field_that_no_case_is_named_for_is_scanned_on_all():
    found = next(shapes.scans({"new": 1}, {"new": (2,)}, lambda case, choices: [[1.0], [2.0]]))
    assert set(found.seconds) == {case for cases in shapes.CASES.values() for case in cases}
    assert found.best == 1


def test_the_cases_are_there():
    named = {case for cases in shapes.CASES.values() for case in cases}
    assert named <= {case.name for case in CASES}


@pytest.mark.slow  # a process compiles the loop; that with the shapes of this machine may load it
def test_samplers_answer_in_turn():
    present = choose_here().many_rows
    choices = [{"many_rows": rows} for rows in (present, 32 if present == 16 else 16)]
    samples = shapes.measured("two-points-f64", choices, rounds=3, seconds=0.001, quick=True)
    assert [len(values) for values in samples] == [3, 3]
    assert all(0 < value < 1 for values in samples for value in values)


@pytest.mark.slow
def test_a_sampler_that_fails(capfd):
    with pytest.raises(RuntimeError, match="no-such-case with rows=4: ended with code 1"):
        shapes.measured("no-such-case", [{"rows": 4}], rounds=1, seconds=0.001, quick=True)
    assert "StopIteration" in capfd.readouterr().err
