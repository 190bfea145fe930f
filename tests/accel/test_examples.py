"""The scripts in ``examples/`` run as they are; those of an extra are run by its own tests."""

from pathlib import Path

from ..children import python

FOLDER = Path(__file__).resolve().parents[2] / "examples"


def test_each_is_run_by_a_test():
    here = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    scripts = [path.name for path in FOLDER.glob("*.py")]
    assert len(scripts) >= 4
    assert all(f'"{name}"' in here for name in scripts)


def test_the_sweep(tmp_path):
    picture = tmp_path / "picture.png"
    done = python(FOLDER / "sweep.py", picture, PATH="", MPLBACKEND="agg", HOME=str(tmp_path))
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "depth 1", "depth 2", "depth 3"
    ]  # fmt: skip
    assert picture.read_bytes().startswith(b"\x89PNG")
