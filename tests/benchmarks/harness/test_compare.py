import pytest

from benchmarks.__main__ import main
from benchmarks.harness import records
from benchmarks.harness.compare import compare


def document(**samples):
    kinds = {"peer": "peer"}
    return {
        "benchmarks": [
            records.entry("g", name, seconds, kind=kinds.get(name, "ours"))
            for name, seconds in samples.items()
        ]
    }


@pytest.mark.parametrize(
    ("old", "new", "beyond"),
    [
        ([1.0] * 5, [1.04] * 5, False),  # no spread at all, but less than 5 %
        ([1.0] * 5, [1.06] * 5, True),
        ([1.0] * 5, [0.9] * 5, True),
        ([0.8, 0.9, 1.0, 1.1, 1.2], [1.2] * 5, False),  # no more than the spread of the old one
        ([0.8, 0.9, 1.0, 1.1, 1.2], [1.21] * 5, True),
        ([0.8, 0.9, 1.0, 1.1, 1.2], [1.01, 1.11, 1.21, 1.31, 1.41], False),  # both spread
        ([0.8, 0.9, 1.0, 1.1, 1.2], [1.1, 1.2, 1.3, 1.4, 1.5], True),
    ],
)
def test_what_is_beyond_the_noise(old, new, beyond):
    (change,) = compare(document(a=old), document(a=new)).changes
    assert change.beyond == beyond
    assert change.ratio == pytest.approx(sorted(new)[2] / sorted(old)[2])


def test_what_cannot_be_compared():
    comparison = compare(document(a=[1.0] * 3, b=[1.0] * 2), document(b=[9.0] * 5, c=[1.0] * 3))
    assert not comparison.changes
    assert (comparison.gone, comparison.added, comparison.unjudged) == (
        ["g: a"],
        ["g: c"],
        ["g: b"],
    )


def write(folder, name, **samples):
    content = records.record("step", quick=False)
    content["benchmarks"] = document(**samples)["benchmarks"]
    return str(records.write(content, folder / name))


@pytest.mark.parametrize(
    ("new", "code"),
    [
        ({"a": [2.0] * 5, "peer": [1.0] * 5}, 1),
        ({"a": [0.5] * 5, "peer": [1.0] * 5}, 0),
        ({"a": [1.0] * 5, "peer": [2.0] * 5}, 0),  # the machine's or the peer's affair
    ],
)
def test_the_command(new, code, tmp_path, capsys):
    old = write(tmp_path, "old.json", a=[1.0] * 5, peer=[1.0] * 5)
    assert main(["compare", old, write(tmp_path, "new.json", **new)]) == code
    printed = capsys.readouterr().out
    assert ("SLOWER 2.00 times (noise 0%): g: a" in printed) == (code == 1)
    assert "ours: 1 compared" in printed
    assert "peers and ceilings: 1 compared" in printed


def test_the_command_without_benchmarks(tmp_path, capsys):
    (tmp_path / "old.json").write_text("{}")
    path = str(tmp_path / "old.json")
    assert main(["compare", path, path]) == 2
    assert "no benchmarks" in capsys.readouterr().err
