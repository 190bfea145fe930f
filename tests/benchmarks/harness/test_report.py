import copy
import json

import pytest

from benchmarks.__main__ import main
from benchmarks.harness import records, report
from benchmarks.harness.cases import LEFT_OUT, OURS, OURS_DEPTH_1, PLAIN_SUM, Target


def contender(name, median, peer=True, ratio=None):
    row = {"contender": name, "peer": peer, "median_us": median, "iqr_us": 0.5, "steps": 10}
    if ratio:
        row |= {"ratio": ratio[0], "ratio_quartiles": list(ratio[1:])}
    return row


def target(against, speedup, measured, strive=False):
    met = None if measured is None else measured >= speedup
    return {
        "against": against,
        "speedup": speedup,
        "strive": strive,
        "measured": measured,
        "met": met,
    }


def case(title, contenders, targets, strive_us=None):
    return {
        "name": title,
        "title": title,
        "data": "made up",
        "megabytes": 1.0,
        "contenders": contenders,
        "targets": targets,
        "strive_us": strive_us,
    }


CONTENT = {
    "group": "targets",
    "commit": {},
    "benchmarks": [],
    "machine": {
        "cpu": "A CPU",
        "cpus_in_use": 2,
        "versions": {"python": "3.12.0", "torch": "not installed"},
        "blas": [{"internal_api": "openblas", "version": "0.3", "architecture": "Zen"}],
    },
    "date": "2025-01-31",
    "rounds": 15,
    "quick": False,
    "cases": [
        case(
            "shallow",
            [
                contender(OURS, 24.25, peer=False),
                contender("NumPy by hand", 160.0, ratio=(6.6, 6.5, 6.7)),
                contender("JAX by hand", 143.0, ratio=(5.9, 5.8, 10.25)),
                contender("NumPy Gram", 1.0, peer=False, ratio=(0.04, 0.04, 0.05)),
                {"contender": "PyTorch by hand", "peer": True, "gap": "torch is not installed"},
            ],
            [target("best peer", 4.0, 5.9), target("PyTorch by hand", 80.0, None)],
            strive_us=24.0,
        ),
        case(
            "deep",
            [
                contender(OURS, 25.0, peer=False),
                contender(OURS_DEPTH_1, 20.0, peer=False, ratio=(0.8, 0.5, 1.0)),
            ],
            [target(OURS_DEPTH_1, 1 / 1.15, 0.8)],
        ),
        case(
            "tall",
            [
                contender(OURS, 5000.0, peer=False),
                contender("JAX by hand", 9000.0, ratio=(1.8, 1.7, 1.9)),
                contender(PLAIN_SUM, 4500.0, peer=False, ratio=(0.9, 0.88, 1.01)),
            ],
            [target("best peer", 1.5, 1.8), target(PLAIN_SUM, 0.85, 0.9, strive=True)],
        ),
    ],
    "startup": [
        {"name": "import accel", "seconds": 0.12, "must": 0.5, "note": ""},
        {"name": "first train", "seconds": 31.0, "must": 30.0, "note": ""},
    ],
}

TABLE = """\
A CPU, 2 threads each, 2025-01-31; python 3.12.0, torch not installed; BLAS: openblas 0.3 \
(Zen kernels); medians of 15 interleaved rounds.

| case | ours | best peer | best peer / ours | target | measured | met |
|---|---:|---:|---:|---|---:|---|
| shallow | 24.2 us | JAX by hand, 143 us | 5.90 (5.80 to 10.25) | must: 4x faster than best peer \
| 5.90x | yes |
|  |  |  |  | must: 80x faster than PyTorch by hand | none | not measured |
|  |  |  |  | strive: 24 us | 24.2 us | **no** |
| deep | 25 us | none |  | must: at most 1.15x the time of accel, depth 1 \
| 1.25x (1.00x to 2.00x) | **no** |
| tall | 5000 us | JAX by hand, 9000 us | 1.80 (1.70 to 1.90) | must: 1.5x faster than best peer \
| 1.80x | yes |
|  |  |  |  | strive: 85% of the bandwidth of a plain sum over X | 90% (88% to 101%) | yes |
| import accel | 0.12 s |  |  | must: under 0.5 s | 0.12 s | yes |
| first train | 31.00 s |  |  | must: under 30 s | 31.00 s | **no** |
"""


def test_table_of_a_result(tmp_path, capsys):
    path = records.write(CONTENT, tmp_path / "result.json")
    assert main(["table", str(path)]) == 0
    assert capsys.readouterr().out == TABLE


def test_the_brief_form(tmp_path, capsys):
    """Of the cases that are named, also where a peer was not timed; of one group only."""
    assert report.brief_table(CONTENT, ["shallow", "deep"]).splitlines()[2:] == [
        "| shallow | 24.2 us | JAX by hand, 143 us | 5.90 (5.80 to 10.25) |",
        "| deep | 25 us | none |  |",
    ]
    path = records.write(CONTENT | {"group": "losses"}, tmp_path / "result.json")
    assert main(["table", "--brief", str(path)]) == 2
    assert "'losses' has no brief form" in capsys.readouterr().err


def test_the_quick_form_says_so():
    assert "quick form" in report.header({**CONTENT, "quick": True})


def test_without_our_own_figures():
    content = copy.deepcopy(CONTENT)
    rows = content["cases"][0]["contenders"]
    rows[0] = {"contender": OURS, "peer": False, "gap": "why ever"}
    del rows[2]["ratio"], rows[2]["ratio_quartiles"]
    content["cases"][0]["targets"] = [target("best peer", 4.0, None)]
    line = report.summary_table(content).splitlines()[2]
    asked = "must: 4x faster than best peer | none | not measured"
    assert line == f"| shallow | none | JAX by hand, 143 us |  | {asked} |"


def test_a_time_that_must_be_reached():
    content = copy.deepcopy(CONTENT)
    content["cases"] = content["cases"][:1]
    content["cases"][0]["must_us"] = 30.0
    lines = report.summary_table(content).splitlines()
    assert lines[4] == "|  |  |  |  | must: 30 us | 24.2 us | yes |"
    assert lines[5] == "|  |  |  |  | strive: 24 us | 24.2 us | **no** |"
    content["cases"][0]["must_us"] = 12.0
    assert report.furthest(content) == ["shallow (must: 12 us; measured: 24.2 us)"]


@pytest.mark.parametrize("text", [None, "{", json.dumps({"machine_info": {}}), "[]"])
def test_a_file_that_is_no_result(text, tmp_path, capsys):
    path = tmp_path / "result.json"
    if text is not None:
        path.write_text(text)
    assert main(["table", str(path)]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("ratio", "gap", "met", "words"),
    [
        (5.0, None, True, "yes"),
        (5.0, "torch is not installed", True, "yes"),
        (5.0, LEFT_OUT, None, "open: a peer is left out"),
        (3.0, LEFT_OUT, False, "**no**"),
    ],
)
def test_without_a_peer_that_is_left_out_no_target_is_met(ratio, gap, met, words):
    """It may have been the best one; a target that is missed without it is missed with it."""
    rows = [
        contender(OURS, 10.0, peer=False),
        contender("JAX by hand", 10.0 * ratio, ratio=(ratio, ratio, ratio)),
    ]
    if gap:
        rows.append({"contender": "PyTorch by hand", "peer": True, "gap": gap})
    record = report.target_record(Target("best peer", 4.0), rows)
    assert (record["measured"], record["met"]) == (ratio, met)
    assert report.target_record(Target("JAX by hand", 4.0), rows)["met"] is (ratio >= 4.0)
    line = report.summary_table({"cases": [case("one", rows, [record])]}).splitlines()[-1]
    assert line.endswith(f"| {words} |")
