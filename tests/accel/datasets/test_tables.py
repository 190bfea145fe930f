"""Text tables: compressed ones, what stands above the numbers, and what is said of text."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pytest

from accel._files import npy, texts
from accel._support import memory
from accel.datasets import load_file
from accel.datasets.samples import Wanted as Samples
from accel.datasets.samples import read_samples

TEXT = "a,b,c\n1,2.5,-3\n4,5,6e-7\n"


def zipped(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._t.csv", b"\0")
        archive.writestr("t.csv", content)


def packed(how):
    def write(path, content):
        with how(path, "wb") as stream:
            stream.write(content)

    return write


PACKED = {
    ".gz": packed(gzip.open),
    ".bz2": packed(bz2.open),
    ".xz": packed(lzma.open),
    ".zip": zipped,
    "": packed(open),
}


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".TSV"])
@pytest.mark.parametrize("compressed", PACKED)
def test_the_same_table_in_every_file(tmp_path, ending, compressed):
    text = TEXT if ending == ".csv" else TEXT.replace(",", "\t").replace("a", "a,x;")
    path = tmp_path / f"my.table{ending}{compressed.upper() if ending == '.TSV' else compressed}"
    PACKED[compressed](path, b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    data = load_file(path)
    np.testing.assert_array_equal(data.X, [[1, 2.5], [4, 5]])
    np.testing.assert_array_equal(data.y, [-3, 6e-7])
    assert data.feature_names == ("a" if ending == ".csv" else "a,x;", "b")
    assert data.name == "my.table"
    PACKED[compressed](path, text.replace("5", "five").encode())
    with pytest.raises(ValueError, match=r"line 2, column 'b': could not convert string '2\.five'"):
        load_file(path)


@pytest.mark.parametrize("compressed", [".gz", ".bz2", ".xz", ".zip"])
def test_a_file_that_is_not_compressed_as_it_says(tmp_path, compressed):
    path = tmp_path / f"t.csv{compressed}"
    path.write_text(TEXT)
    with pytest.raises(ValueError, match="not readable"):
        load_file(path)
    PACKED[compressed](path, TEXT.encode() * 500)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="not readable"):
        load_file(path)


@pytest.mark.parametrize("compressed", [".gz", ".bz2", ".xz", ".zip"])
def test_a_bomb(tmp_path, compressed, monkeypatch):
    path = tmp_path / f"t.csv{compressed}"
    PACKED[compressed](path, b"1,2\n" * 500_000)
    monkeypatch.setattr(npy, "_FREE", 1000)
    monkeypatch.setattr(npy, "_RATIO", 10)
    with pytest.raises(ValueError, match=r"not readable: it unpacks to over .* bytes, out of"):
        load_file(path)


def test_memory_is_asked_for_while_a_file_unpacks(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(texts, "_FIRST", 2**17)
    monkeypatch.setattr(memory, "require", lambda what, needs: asked.append(needs))
    PACKED[".gz"](tmp_path / "t.csv.gz", b"1,2\n" * 100_000)
    assert load_file(tmp_path / "t.csv.gz").X.shape == (100_000, 1)
    first, *later = asked  # of the file as it is
    assert first == 2 * (tmp_path / "t.csv.gz").stat().st_size
    assert len(later) == 2
    assert 2**18 < later[0] < later[1] < 2 * 400_000


def test_a_zip_of_several_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, TEXT)
    with pytest.raises(ValueError, match="must hold one file, this one holds 2"):
        load_file(tmp_path / "t.csv.zip")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(TEXT.encode(), mtime=0), "it is compressed by gzip: end its name in .gz"),
        (TEXT.encode("utf-16"), "it is UTF-16: save it as UTF-8"),
        ("größe,b\n1,2\n".encode("latin-1"), "save it as UTF-8"),
        (b"PK\x03\x04\xff\xfe\n1", r"it is .* a workbook \(.xlsx\): save the sheet"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, content, told):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"not readable: .*utf-8.*; {told}"):
        load_file(tmp_path / "t.csv")


def test_a_workbook(tmp_path):
    with pytest.raises(ValueError, match=r"t\.xlsx: expected .*\.parquet; .*: save the sheet as"):
        load_file(tmp_path / "t.xlsx")


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("# a b c\n# a, b ,c\n1,2.5,-3\n4,5,6e-7\n", ("a", "b")),  # as numpy.savetxt writes it
        ("#a,b,c\n\n1,2.5,-3\n4,5,6e-7\n", ("a", "b")),
        ("# made by us, in May, by hand\na,b,c\n1,2.5,-3\n4,5,6e-7\n", ("a", "b")),
        ("# 2 rows\n1,2.5,-3\n4,5,6e-7\n", ("x0", "x1")),
        ("#1,2,3\n1,2.5,-3\n4,5,6e-7\n", ("x0", "x1")),
        ('"a\r\nlong",b,c\r\n1,2.5,-3\r\n4,5,6e-7\r\n', ("a long", "b")),
        ('"a, b; c, d",b,c\n1,2.5,-3\n4,5,6e-7\n', ("a, b; c, d", "b")),
        ('"a; b; c; d; e",b,c\n1,2.5,-3\n4,5,6e-7\n', ("a; b; c; d; e", "b")),
    ],
)
def test_what_stands_above_the_numbers(tmp_path, text, names):
    data = load_file(write(tmp_path / "t.csv", text))
    np.testing.assert_array_equal(data.X, [[1, 2.5], [4, 5]])
    np.testing.assert_array_equal(data.y, [-3, 6e-7])
    assert data.feature_names == names


def test_what_numpy_writes_is_read(tmp_path):
    table = np.random.default_rng(0).standard_normal((5, 3))
    np.savetxt(tmp_path / "t.csv", table, delimiter=",", header="a,b,c")
    data = load_file(tmp_path / "t.csv")
    assert (data.feature_names, data.target_names) == (("a", "b"), ("c",))
    np.testing.assert_array_equal(data.X, table[:, :2])


def test_a_row_that_is_taken_for_a_header_is_told(tmp_path, caplog):
    path = write(tmp_path / "t.csv", "country,1990,1991\n1,2,3\n")
    assert load_file(path).feature_names == ("country", "1990")
    assert "t.csv: line 1, where some cells are numbers, is taken for the header" in caplog.text
    caplog.clear()
    assert load_file(write(path, "5,-,7\n6,2,8\n"), 2, [0]).X.tolist() == [[6]]
    assert "t.csv: line 1, where some cells are numbers, is taken for the header" in caplog.text
    caplog.clear()
    load_file(write(path, "country,income,year\n1,2,3\n"))
    assert not caplog.records


@pytest.mark.parametrize(
    "text",
    ["5.1,3.5,setosa,1\n4.9,3.0,setosa,1\n", "39,50,State-gov,77516\n28,51,Private,338409\n"],
)
def test_a_row_of_numbers_and_text_is_no_header(tmp_path, text):
    """Without the check its numbers would be lost."""
    with pytest.raises(ValueError, match=r"t\.csv: line 1 has numbers and text .* no header\?"):
        load_file(write(tmp_path / "t.csv", text), 3, [0, 1])


def test_years_over_rows_with_a_word_are_a_header_by_name(tmp_path):
    path = write(tmp_path / "t.csv", "country,1990,1991\nOslo,2,3\nRome,5,6\n")
    assert load_file(path, "1991", "1990").X.tolist() == [[2], [5]]
    with pytest.raises(ValueError, match=r"no header\?"):
        load_file(path, 2, [1])


def test_a_comment_is_no_header_above_one(tmp_path):
    path = write(tmp_path / "t.csv", "# from X, Y, 2020\nid,2019,2020\n7,1,2\n8,3,4\n")
    data = load_file(path, 2, [1])
    assert (data.feature_names, data.target_names) == (("2019",), ("2020",))
    assert data.X.tolist() == [[1], [3]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["7,8,c", '7,8,9"'])
def test_an_inch_in_a_header_is_no_quote(tmp_path, delimiter, end):
    text = f'size 5",y,note\n1,2,a\n3,4,6"\n5,6,b\n{end}\n'.replace(",", delimiter)
    data = load_file(write(tmp_path / "t.csv", text), 1, [0])
    assert data.feature_names == ('size 5"',)
    assert data.X.ravel().tolist() == [1, 3, 5, 7]
    assert data.y.tolist() == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('1,2,x\n3,4,"unclosed\n5,6,y\n7,8,z\n', "line 3 opens a quote that is not closed"),
        ('1,2,x\n\n3,4,"unclosed\n5,6,y\n7,8,"z\n', "line 4 has a quote with whole rows in it"),
        ('1,2,x\n3,4,"unclosed\n5,6,y"\n7,8,z\n', "line 3 has a quote with whole rows in it"),
        ('1,2,x\n3,4,"', "line 3 opens a quote that is not closed"),
    ],
)
def test_a_quote_that_swallows_rows(tmp_path, text, told):
    path = write(tmp_path / "t.csv", f"a,b,note\n{text}")
    for read in (
        lambda: load_file(path, "b", ["a"]),
        lambda: read_samples(path, Samples(["a"], ["b"])),
    ):
        with pytest.raises(ValueError, match=r"t\.csv: not readable: ") as caught:
            read()
        assert told in str(caught.value)


def test_text_of_several_lines_is_told(tmp_path, caplog):
    path = write(tmp_path / "t.csv", 'a,b,note\n1,2,"first\nsecond, third"\n3,4,"x" \n5,6,"y\n"\n')
    assert load_file(path, "b", ["a"]).y.tolist() == [2, 4, 6]
    assert len(caplog.records) == 1
    assert "t.csv: line 2 has a cell in quotes that goes on in the next line" in caplog.text
    assert read_samples(path, Samples(["a"], ["b"])).X.tolist() == [[1], [3], [5]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,city,day,b\n1,Oslo,2020-01-31,\n2,Rome,2020-02-01,3\n",
         ["line 2, column 'city': could not convert string 'Oslo' to a number",
          "text in column 'city', column 'day': choose columns of numbers by features (--features)",
          "pandas.get_dummies", "a date can be a number of days",
          "missing values: 1 in column 'b'"]),
        ("a,b\n1,2\n5x,3\n2,y\n1,z\n",
         ["line 3, column 'a'", "cells that are no numbers: 1 in column 'a', 2 in column 'b'"]),
        ("a;b\n1;1,5\n2;2,5\n", ["line 2, column 'b'", "'1,5'", "decimals with a point"]),
        ("1,5;2,5\n2,5;3,5\n", ["line 1, column 1", "'1,5'", "decimals with a point"]),
        ('a,b\n1,"1,234"\n', ["'1,234'", "thousands without a comma"]),
        ("a b\n1 2\n3 4\n", ["there is one column: cells must be separated by commas"]),
        ("a,b\n1,2\n# the end\n", ["line 3 begins with #: comments may stand"]),
        ("a,b\n" + "1,2\n" * 3 + "x" * 5000 + ",1\n", ["line 5, column 'a'", "..."]),
        (",".join(f"{'n' * 300}{j}" for j in range(99)) + "\n" + "x," * 98 + "\n",
         ["and 93 more"]),
    ],
)  # fmt: skip
def test_what_is_said_of_text(tmp_path, text, told):
    with pytest.raises(ValueError, match=r"t\.csv: not readable: ") as caught:
        load_file(write(tmp_path / "t.csv", text))
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < len(str(tmp_path)) + 500
    for words in told:
        assert words in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b,c\n1,2,x\n3,4,y\n", None),
        ("a,b,c\n1,oops,x\n3,4,y\n", "line 2, column 'b': could not convert string 'oops'"),
        ("a,b,c\n1,2,x\n\n3,4\n", "line 4 has 2 columns, the rows before it have 3"),
        ("a,b,c\n1,2\n3,4\n", "the header has 3 columns, the rows have 2"),
        ("a,b,c\n1,,x\n3,4,y\n", "line 2, column 'b': no value; missing values: 1 in column 'b'"),
        ('a,b,c\n1,"2\n",x\n3,"4,4",y\n', "line 4, column 'b': could not convert string '4,4'"),
        ('a,b,c\n1,"2,2",x\n3,"4,4",y\n', "line 2, column 'b': could not convert string '2,2'"),
        ("a,b,c\n1,nan,x\n3,4,y\n", "line 2, column 'b': no value|line 2, column 'b' must be fin"),
    ],
)
def test_other_columns_are_not_looked_at(tmp_path, text, told):
    path = write(tmp_path / "t.csv", text)
    if told is None:
        assert load_file(path, "b", ["a"]).y.tolist() == [2, 4]
    else:
        with pytest.raises(ValueError, match=told):
            load_file(path, "b", ["a"])


def test_truth_values_are_numbers(tmp_path):
    """As pandas writes them, which reads them as truth values, too."""
    path = tmp_path / "t.csv"
    path.write_text("size,garden,sold\n70,True,FALSE\n95,false,TRUE\n48,true,FALSE\n")
    for chosen in ({}, {"target": "sold"}, {"target": "sold", "features": ["size", "garden"]}):
        data = load_file(path, **chosen)
        assert data.feature_names == ("size", "garden")
        np.testing.assert_array_equal(data.X, [[70, 1], [95, 0], [48, 1]])
        np.testing.assert_array_equal(data.y, [0, 1, 0])


def test_truth_values_that_lack_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("size,garden\n70,True\n95,\n48,False\n")
    with pytest.raises(ValueError, match=r"line 3, column 'garden': no value; missing values: 1"):
        load_file(path)
    np.testing.assert_array_equal(load_file(path, drop_missing=True).y, [1, 0])


@pytest.mark.parametrize(("cells", "line"), [(("True", "2"), 2), (("2", "False"), 3)])
def test_truth_values_among_numbers_are_text(tmp_path, cells, line):
    path = tmp_path / "t.csv"
    path.write_text("garden,sold,y\n{},True,1\n{},False,2\n".format(*cells))
    told = rf"line {line}, column 'garden': could not .* no numbers: 1 in column 'garden'$"
    with pytest.raises(ValueError, match=told):
        load_file(path)


def test_text_beside_truth_values_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("garden,city,y\nTrue,Oslo,1\nFalse,Bonn,2\n")
    with pytest.raises(ValueError, match=r"column 'city': .*; text in column 'city': choose"):
        load_file(path)
    assert load_file(path, features=["garden"]).X.tolist() == [[1], [0]]
