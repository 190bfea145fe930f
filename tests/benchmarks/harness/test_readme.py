import pytest

from benchmarks.harness import readme, records

from .test_report import CONTENT, TABLE

BEGIN, END = readme.markers("one")


def test_the_pages_are_current():
    assert readme.main(["--check"]) == 0


@pytest.fixture
def quoted(tmp_path, monkeypatch):
    """A README that quotes one result."""
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    path = tmp_path / "README.md"
    monkeypatch.setattr(readme, "SOURCES", {path: {"one": ("one.json",)}})
    records.write(CONTENT, tmp_path / "one.json")
    path.write_text(f"before\n\n{BEGIN}\nold figures\n{END}\n\nafter\n")
    return path


def test_it_is_renewed(quoted, capsys):
    assert readme.main(["--check"]) == 1
    assert "not current" in capsys.readouterr().err
    assert "old figures" in quoted.read_text()
    assert readme.main([]) == 0
    text = quoted.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n{TABLE}\n`python -m benchmarks table ")
    assert text.endswith(f"prints this.\n{END}\n\nafter\n")
    assert readme.main(["--check"]) == 0


@pytest.mark.parametrize("text", ["nothing", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_without_markers(text, quoted, capsys):
    quoted.write_text(text)
    assert readme.main([]) == 2
    assert "markers" in capsys.readouterr().err
    assert quoted.read_text() == text


def test_every_source_is_there():
    pages = readme.SOURCES.values()
    for source in (file for names in pages for files in names.values() for file in files):
        content = records.read(readme.RESULTS / source)
        assert content["benchmarks"]
        assert not content["quick"]
