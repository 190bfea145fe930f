from benchmarks.harness import page
from benchmarks.harness.page import Chapter

ROWS = [["x|y\nz", 1], ["**no**", "<script>alert(1)</script>"]]
TEXT = f"""A line,
and **bold** `code` <b>no bold</b>.

### Head & shoulders

{page.table(["a <th>", "n"], ROWS)}
"""


def test_everything_is_escaped_and_nothing_is_lost():
    made = page.page([Chapter("<title> & 'more'", TEXT, {'"drawn" <b>': b"<svg/>"})])
    assert "<script>" not in made
    assert '<td>x|y z</td><td class="number">1</td>' in made
    assert '<td><strong>no</strong></td><td class="number">&lt;script&gt;alert(1)' in made
    assert "<th>a &lt;th&gt;</th>" in made
    assert "<h3>Head &amp; shoulders</h3>" in made
    assert "<h2>&lt;title&gt; &amp; &#x27;more&#x27;</h2>" in made
    assert "<p>A line, and <strong>bold</strong> <code>code</code> &lt;b&gt;no" in made
    assert 'alt="&quot;drawn&quot; &lt;b&gt;" src="data:image/svg+xml;base64,PHN2Zy8+"' in made
    assert "http" not in made.lower()


def test_a_row_with_too_many_cells_does_not_end_the_page():
    made = page.page([Chapter("t", "| a | b |\n|---|---|\n| 1 | 2 | 3 |", {})])
    assert "<td>1</td><td>2</td>" in made


def test_both_pages_are_written(tmp_path):
    paths = page.write(tmp_path / "new", [Chapter("one", TEXT, {})])
    assert [path.name for path in paths] == ["report.md", "report.html"]
    assert "## one\n\nA line," in paths[0].read_text()
