"""The whole reproduction on a problem so small that a figure takes a moment."""

import csv
import json
import math
import os
import signal
import threading

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

import accel
from accel.cli import app
from accel.cli import reproduce as command
from accel.experiments import convnet, digits_runs, reproduce, runner
from accel.experiments.bands import PLACES
from accel.experiments.figures import LINEAR
from accel.experiments.reproduce import KEYS

from ..killing import killed

SMALL = ["--data", "ill-conditioned:n=30,d=3,condition=10", "--threads", "1"]


@pytest.fixture(autouse=True)
def much_shorter(monkeypatch):
    """200 steps in place of a million, and no run is a quick one."""
    monkeypatch.setattr(reproduce.Settings, "divisor", 5000)


def run(*arguments):
    return CliRunner().invoke(app.app, ["reproduce", *SMALL, *map(str, arguments)])


def read(folder):
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All figures, run once: the folder and the result of the command."""
    out = tmp_path_factory.mktemp("all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce.Settings, "divisor", 5000)
        patch.setattr(convnet, "import_torch", no_torch)
        patch.setattr(digits_runs, "load", no_digits)
        return out, run("--out", out)


def no_torch():
    raise ImportError("the MNIST experiment needs PyTorch")


def no_digits():
    raise ImportError("no digits")


@pytest.mark.slow
def test_every_file_is_there(everything):
    out, ended = everything
    assert ended.exit_code == 0, ended.output
    for key in LINEAR:
        assert (out / f"figure{key}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (out / f"figure{key}.svg").read_text()
    curves = {line["curve"] for figure in read(out)["figures"] for line in figure["lines"]}
    assert len(curves) == 37  # figures 3, 4 left and that of momentum share some
    written = {path.name for path in (out / "curves").iterdir()}
    assert written == {f"{curve}{end}" for curve in curves for end in (".csv", ".npz")}


@pytest.mark.slow
def test_the_report_tells_what_the_curves_tell(everything):
    out, _ = everything
    report = read(out)
    assert [figure["key"] for figure in report["figures"]] == list(KEYS)
    assert report["settings"] == {
        "plan": runner.PLAN, "quick": False, "seed": 0,
        "data": "ill-conditioned:n=30,d=3,condition=10",
    }  # fmt: skip
    for figure in report["figures"]:
        for line in figure["lines"]:
            result = accel.Result.load(out / "curves" / f"{line['curve']}.npz")
            with (out / "curves" / f"{line['curve']}.csv").open() as stream:
                rows = list(csv.DictReader(stream))
            assert float(rows[-1]["distance"]) == line["ours"]
            assert int(rows[-1]["step"]) == line["steps"] == result.steps
            assert line["learning_rate"] == result.optimizer.learning_rate
            if line["published"] is not None:
                assert line["ratio"] == line["ours"] / line["published"]
            best = report["data"]["optimum"][f"l{line['p']:g}"]["loss"]
            assert line["ours"] == max(result.loss - best, 0.0)
            trials = {trial["rate"]: trial["distance"] for trial in line["trials"]}
            assert trials[line["learning_rate"]] == line["ours"]
    assert report["seconds"]["training"] > 0
    assert report["facts"]["versions"]["accel"] == accel.__version__


@pytest.mark.slow
def test_models_are_what_the_figures_say(everything):
    for figure in read(everything[0])["figures"]:
        if figure["skipped"]:
            continue
        for line, meant in zip(figure["lines"], LINEAR[figure["key"]].lines, strict=True):
            curve = meant.curve
            assert (line["optimizer"], line["depth"]) == (curve.model.optimizer, curve.model.depth)
            assert (line["init"], line["width"]) == (curve.start.init, curve.start.width)
            assert line["steps"] == curve.steps // 5000


@pytest.mark.slow
def test_the_checks_are_the_claims_about_the_ends(everything):
    for figure in read(everything[0])["figures"]:
        claims = LINEAR[figure["key"]].claims if not figure["skipped"] else ()
        ends = {line["label"]: line["ours"] for line in figure["lines"]}
        bands = {line["label"]: line.get("band") for line in figure["lines"]}
        for check, claim in zip(figure["checks"], claims, strict=True):
            assert check["reading"] == claim.reading
            if not claim.banded:
                assert (check["holds"], check["held"]) == (claim(ends), None)
                continue
            at_places = [
                {label: band[place]["distance"] for label, band in bands.items() if band}
                for place in range(len(PLACES))
            ]
            held = [claim({k: math.inf if v is None else v for k, v in e.items()})
                    for e in at_places]  # fmt: skip
            assert check["held"] == [sum(held), len(PLACES)]
            assert check["holds"] == all(held)


@pytest.mark.slow
def test_bands_are_shares_of_the_largest_rate_that_survived(everything):
    seen = 0
    for figure in read(everything[0])["figures"]:
        for line in figure["lines"]:
            if not line.get("band"):
                continue
            survived = [
                trial["rate"]
                for trial in line["trials"]
                if trial["distance"] is not None and trial["steps"] == line["steps"]
            ]
            adaptive = line["optimizer"].startswith("ada")
            limits = []
            for place, told in zip(PLACES, line["band"], strict=True):
                if adaptive:
                    assert told["learning_rate"] == pytest.approx(line["learning_rate"])
                    assert told["distance"] == line["ours"]
                    continue
                limits.append(told["learning_rate"] / place.share)
                assert told["seed"] == (place.seed if line["depth"] > 1 else 0)
                seen += 1
            if limits:
                assert limits == pytest.approx([line["limit"]] * len(PLACES), rel=0.033)
                assert line["limit_lowered"] == (line["limit"] < 0.99 * max(survived))
                assert line["limit"] <= 1.01 * max(survived)
    assert seen >= 3 * 8


@pytest.mark.slow
def test_figure_2_is_told_at_common_rates_as_well(everything):
    figure = read(everything[0])["figures"][0]
    rates = {line["label"]: line["learning_rate"] for line in figure["lines"]}
    ends = {line["label"]: line["ours"] for line in figure["lines"]}
    assert len(figure["common_rates"]) == 4
    for family in figure["common_rates"]:
        own = {label: rates[label] for label in family["distances"]}
        assert family["learning_rate"] == min(own.values())
        slowest = min(own, key=own.get)
        assert family["distances"][slowest] == ends[slowest]


@pytest.mark.slow
def test_a_figure_that_cannot_run_is_a_named_gap(everything):
    out, ended = everything
    assert read(out)["figures"][-1]["skipped"] == "the MNIST experiment needs PyTorch"
    assert read(out)["figures"][-2]["skipped"] == "no digits"
    assert "figure 5r was not run: the MNIST experiment needs PyTorch" in ended.stdout
    assert "Not run: the MNIST experiment needs PyTorch" in (out / "report.html").read_text()


def test_figure_5_right_alone_loads_no_other_data(tmp_path, monkeypatch):
    monkeypatch.setattr(convnet, "import_torch", no_torch)
    ended = run("--figures", "5r", "--out", tmp_path, "--data", "no-such-file.npz")
    assert ended.exit_code == 0, ended.output
    assert [figure["key"] for figure in read(tmp_path)["figures"]] == ["5r"]


@pytest.mark.slow
def test_the_page_holds_every_figure(everything):
    page = (everything[0] / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == len(LINEAR)
    assert page.count("<h2>Figure") + page.count("<h2>Momentum") == len(KEYS)


@pytest.mark.slow
def test_a_check_reads_a_complete_report(everything, monkeypatch):
    out, _ = everything
    monkeypatch.setattr(runner, "sweep", None)  # would fail if it were called
    original = (out / "report.json").read_text()
    report = json.loads(original)
    checks = [check for figure in report["figures"] for check in figure["checks"]]
    for held, code in ((True, 0), (False, 1)):
        for check in checks:
            check["holds"] = True
        checks[0]["holds"] = held
        (out / "report.json").write_text(json.dumps(report))
        ended = run("--out", out, "--check")
        assert ended.exit_code == code, ended.output
        assert ("FAILS" in ended.stdout) == (not held)
        # The failing claim is one of figure 2's.
        assert run("--out", out, "--check", "--figures", "3r,4l").exit_code == 0
        told = run("--out", out, "--check", "--figures", "2", "--json")
        assert [figure["key"] for figure in json.loads(told.stdout)["figures"]] == ["2"]
    (out / "report.json").write_text(original)


@pytest.mark.slow
@pytest.mark.parametrize(
    "other",
    [
        ["--seed", "1"],
        ["--data", "ill-conditioned:n=31,d=3,condition=10"],
        ["--backend", "reference"],
    ],
    ids=["seed", "data", "backend"],
)
def test_a_report_of_other_settings_is_none(everything, monkeypatch, other):
    def called(*arguments, **keywords):
        raise ValueError("a sweep")

    monkeypatch.setattr(runner, "sweep", called)
    ended = run("--out", everything[0], "--check", "--figures", "5l", "--force", *other)
    assert ended.exit_code == 2
    assert "a sweep" in ended.stderr


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"settings": 1, "figures": [3]}', "\xff"])
def test_a_damaged_report_is_none(tmp_path, content):
    (tmp_path / "report.json").write_text(content, encoding="latin-1")
    assert reproduce.finished_report(tmp_path, reproduce.Settings(), None) is None


def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_been(tmp_path, monkeypatch):
    sweep, calls = runner.sweep, []

    def interrupted(*arguments, **keywords):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(sweep(*arguments, **keywords))
        return calls[-1]

    monkeypatch.setattr(runner, "sweep", interrupted)
    ended = run("--figures", "5l", "--out", tmp_path / "a")
    assert ended.exit_code == 130
    assert "the same command goes on" in ended.stderr
    assert not (tmp_path / "a" / "report.json").exists()

    monkeypatch.setattr(runner, "sweep", sweep)
    assert run("--figures", "5l", "--out", tmp_path / "a").exit_code == 0
    # To the last digit: these stages were not trained again.
    spent = [stage["seconds"] for stage in read(tmp_path / "a")["seconds"]["stages"]]
    assert spent[:3] == [swept.seconds for swept in calls]
    assert run("--figures", "5l", "--out", tmp_path / "b").exit_code == 0
    first, second = (read(tmp_path / name)["figures"] for name in "ab")
    assert first == second


def test_a_quick_run_judges_nothing(tmp_path):
    ended = run("--figures", "3r,5l", "--out", tmp_path, "--quick", "--check")
    assert ended.exit_code == 0, ended.output
    report = read(tmp_path)
    assert report["settings"]["plan"] != runner.PLAN
    for figure in report["figures"]:
        assert {check["holds"] for check in figure["checks"]} == {None}
        assert {(line["ratio"], line["off"]) for line in figure["lines"]} == {(None, False)}
        assert not any(line["band"] for line in figure["lines"])
    assert not [stage for stage in report["seconds"]["stages"] if "refine" in stage["stage"]]
    for words in ("not judged: figure 3r", "a quick run", "--check: nothing was judged"):
        assert words in ended.stdout
    for word in ("FAILS", "published  "):
        assert word not in ended.stdout
    assert "published" not in (tmp_path / "figure3r.svg").read_text()
    # What a quick run answers, another one does not ask again; a full run does.
    assert (
        reproduce.finished_report(tmp_path, reproduce.Settings(("3r",), quick=True), None) is None
    )
    there = reproduce.Settings(("3r",), True, 0, SMALL[1])
    assert reproduce.finished_report(tmp_path, there, None)["figures"] == report["figures"][:1]


def test_a_quick_run_leaves_out_what_is_slow(tmp_path, monkeypatch):
    asked = []

    def stopped(settings, *arguments, **keywords):
        asked.append(settings.figures)
        raise ValueError("far enough")

    monkeypatch.setattr(command, "reproduce", stopped)
    for options in ([], ["--quick"], ["--quick", "--figures", "5r"]):
        assert run("--out", tmp_path, *options).exit_code == 2
    assert asked == [KEYS, tuple(key for key in KEYS if key != "5r"), ("5r",)]


def test_the_time_at_which_a_report_was_finished_is_that_of_its_last_figure(tmp_path, monkeypatch):
    clock = iter(["early", "late"])
    monkeypatch.setattr(reproduce.time, "strftime", lambda form: next(clock))
    monkeypatch.setattr(convnet, "import_torch", no_torch)
    assert run("--figures", "3l,5r", "--out", tmp_path).exit_code == 0
    assert read(tmp_path)["finished"] == "late"
    assert "finished late" in (tmp_path / "report.html").read_text()
    assert read(tmp_path)["seconds"]["this_sitting"] > 0


def test_the_page_of_a_report_is_made_again(tmp_path):
    assert run("--figures", "3l", "--out", tmp_path).exit_code == 0
    page = (tmp_path / "report.html").read_text()
    (tmp_path / "report.html").write_text("")
    told = run("--report", tmp_path / "report.json")
    assert told.exit_code == 0, told.output
    assert (tmp_path / "report.html").read_text() == page
    assert "depth 3" in told.stdout
    assert f"written: {tmp_path / 'report.html'}" in told.stdout
    report = read(tmp_path)
    report["figures"][0]["checks"][0]["holds"] = False
    (tmp_path / "other.json").write_text(json.dumps(report))
    assert run("--report", tmp_path / "other.json", "--check").exit_code == 1
    assert "does not hold here" in (tmp_path / "other.html").read_text()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.json", None, "none.json: not readable: no such file"),
        ("bad.json", "{}", "bad.json is no report.json of accel reproduce"),
        ("bad.html", "{}", "--report must be a .json"),
    ],
)
def test_no_page_is_made_of_what_is_no_report(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    ended = run("--report", tmp_path / name)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name] * (content is not None)


def test_every_backend_has_sweeps_of_its_own(tmp_path, gpu_stand_in):
    def swept(*arguments):
        assert run("--figures", "3l", "--out", tmp_path, *arguments).exit_code == 0
        report = read(tmp_path)
        backends = {stage["backend"] for stage in report["seconds"]["stages"]}
        return backends, report["settings"].get("backend"), set((tmp_path / "state").iterdir())

    *_, of_the_cpu = cpu = swept("--backend", "cpu")
    assert cpu[:2] == ({"cpu"}, "cpu")
    assert swept() == ({"cpu"}, None, of_the_cpu)
    *_, of_both = cuda = swept("--backend", "cuda")
    assert cuda[:2] == ({"cuda"}, "cuda")
    assert len(of_both) > len(of_the_cpu)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_and_resumed(tmp_path):
    """The same report, whatever the moments; nothing is left of the saves that were cut off."""
    outcome = killed("reproduce_a_figure", tmp_path, 4)
    assert outcome["codes"] == [-signal.SIGKILL] * 4
    assert outcome["last"] == 0
    assert outcome["resumed"] == outcome["whole"]
    assert read(tmp_path / "killed")["figures"] == outcome["whole"]
    states = [sorted(os.listdir(tmp_path / name / "state")) for name in ("killed", "whole")]
    assert states[0] == states[1]


def test_ctrl_c_in_a_sweep(tmp_path, monkeypatch):
    """A sweep that a real Ctrl-C ends says so in its status."""
    sweep = runner.sweep

    def struck(*arguments, **keywords):
        timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
        timer.start()
        try:
            return sweep(*arguments, **keywords)
        finally:
            timer.cancel()

    monkeypatch.setattr(runner, "sweep", struck)
    monkeypatch.setattr(reproduce.Settings, "divisor", 1)  # a million steps
    ended = run("--figures", "3r", "--out", tmp_path)
    assert ended.exit_code == 130
    assert "interrupted" in ended.stderr


def test_quiet_is_the_table_alone(tmp_path):
    ended = run("--figures", "3l", "--out", tmp_path, "--quiet")
    assert ended.exit_code == 0
    assert ended.stderr == ""
    assert "depth 1" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--figures", "6"], "figures must be one of 2, 3l"),
        (["--figures", ","], "figures must not be empty"),
        (["--seed", "-1"], "seed must be"),
        (["--data", "nosuch"], "data must be one of"),
        (["--threads", "0"], "threads must be"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_errors_are_one_line(tmp_path, arguments, message):
    ended = run("--out", tmp_path / "new", *arguments)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "new" / "report.json").exists()


def test_out_is_no_file(tmp_path):
    (tmp_path / "file").write_text("")
    ended = run("--figures", "5l", "--out", tmp_path / "file")
    assert ended.exit_code == 2
    assert "is no folder that can be written to" in ended.stderr


def test_a_full_report_is_replaced_only_with_force(tmp_path):
    held = {"settings": reproduce.Settings(("2",), data=SMALL[1]).key()}
    (tmp_path / "report.json").write_text(json.dumps(held))
    refused = run("--quick", "--figures", "2", "--out", tmp_path)
    assert refused.exit_code == 2
    told = "has a report of other settings (quick: False): --force replaces it"
    assert told in " ".join(refused.stderr.split())
    assert json.loads((tmp_path / "report.json").read_text()) == held
    other = reproduce.Settings(("2",), quick=True, data=SMALL[1])
    (tmp_path / "report.json").write_text(json.dumps({"settings": other.key()}))
    full = reproduce.Settings(("2",), data=SMALL[1])
    assert reproduce.other_settings(tmp_path, full) is None  # a quick one is quickly made again
