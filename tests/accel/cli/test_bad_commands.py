"""Bad command lines: one line on stderr, nothing on stdout, exit code 2, nothing written."""

import os
import re
from pathlib import Path

import pytest

from accel._files import npy
from accel._support import compiling
from accel.cli import train

from ..datasets.test_bad_files import zipped
from ..shell import run

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

TABLE = ["table.csv", "--threads", "1"]
LONG = "9" * 5000

ROWS = [
    # Words
    ("No such command 'trian'. Did you mean 'train'", "trian"),
    ("No such option: --stepz ", "train", "--stepz", "3"),
    ("'balancd' is not one of .*; did you mean 'balanced'", "train", "--init", "balancd"),
    ("'cdua' is not one of .*; did you mean 'cuda'", "compare", "--backend", "cdua"),
    ("'flaot32' is not one of .*; did you mean 'float32'", "train", "--dtype", "flaot32"),
    ("did you mean 'adam'", "train", *TABLE, "--optimizer", "adma"),
    ("did you mean 'momentum'", "compare", *TABLE, "--optimizers", "gd,momentun"),
    ("data must be one of .*; did you mean 'diabetes'", "compare", "diabets"),
    ("data must be one of .*; did you mean 'two-points'", "train", "two-point"),
    ("data must be one of .*got ''", "train", ""),
    ("figures must be one of .*got '3x'", "reproduce", "--figures", "3x"),
    ("figures must not be empty", "reproduce", "--figures", ","),
    ("data must be one of", "reproduce", "--figures", "3l", "--quick", "--data", "nosuch"),
    ("'gpu' is not one of", "reproduce", "--backend", "gpu"),
    ("unexpected extra argument", "info", "more"),
    ("Missing|requires an argument", "train", "--steps"),
    # Numbers
    ("p must be finite and >= 1, got inf", "train", *TABLE, "--p", "1e400"),
    ("p must be finite and >= 1, got nan", "compare", *TABLE, "--p", "nan"),
    ("p must be finite and >= 1, got -4.0", "train", *TABLE, "--p", "-4"),
    ("'four' is not a valid float|valid number", "train", *TABLE, "--p", "four"),
    ("the loss at W = 0 overflows for p = 1e.300", "train", *TABLE, "--p", "1e300"),
    ("the loss at W = 0 overflows for p = 1e.300", "compare", *TABLE, "--p", "1e300"),
    ("the loss at W = 0 overflows", "train", "two-points:y1=1e300", "--no-optimum"),
    ("steps must be >= 1 and <= 9007199254740992, got 0", "train", *TABLE, "--steps", "0"),
    ("steps must be >= 1 and <= .*, got 1000", "compare", *TABLE, "--steps", "1e30"),
    ("steps must be .*, got 9007199254740993", "train", *TABLE, "--steps", "9007199254740993"),
    ("'nan' is not an integer", "train", *TABLE, "--steps", "nan"),
    ("'999.* is not an integer", "train", *TABLE, "--steps", LONG),
    ("depth must be >= 1 and <= 10000, got 10001", "train", *TABLE, "--depth", "10001"),
    ("depth must be >= 1 and <= 10000, got -1", "train", *TABLE, "--depth", "-1"),
    ("'--depth'", "train", *TABLE, "--depth", LONG),
    ("--depths must be integers", "compare", *TABLE, "--depths", LONG),
    ("--depths must be integers", "compare", *TABLE, "--depths", "1.5"),
    ("depth must be >= 1 and <= 10000, got 99999", "compare", *TABLE, "--depths", "99999"),
    ("the depth of gd must be integers", "compare", *TABLE, "--optimizers", "gd@deep"),
    ("width must be >= 1, got 0", "train", *TABLE, "--width", "0"),
    ("seed must be >= 0, got -7", "train", *TABLE, "--seed", "-7"),
    ("seed must be >= 0, got -1", "reproduce", "--seed", "-1"),
    ("batch_size must be >= 1 and <= 3, got 4", "train", *TABLE, "--batch-size", "4"),
    ("batch_seed must be >= 0 and <= .*, got -1", "train", *TABLE, "--batch-seed", "-1"),
    ("label_noise must be .*got -0.5", "train", *TABLE, "--label-noise", "-0.5"),
    ("'epoc' is not one of .*; did you mean 'epoch'", "train", *TABLE, "--shuffle", "epoc"),
    ("threads must be >= 1 and <= 1024, got 1000000", "train", "--threads", "1000000"),
    ("threads must be >= 1 and <= 1024, got 0", "reproduce", "--threads", "0"),
    ("threads must be >= 1 and <= 1024, got 0", "atlas", "--threads", "0"),
    ("seeds must be >= 1 and <= 1000, got 0", "atlas", "--quick", "--seeds", "0"),
    ("jobs must be >= 1, got 0", "warm", *TABLE, "--jobs", "0"),
    ("steps must be >= 1 and .*got 0", "warm", *TABLE, "--steps", "0"),
    ("data must be one of", "warm", "nosuch"),
    ("learning_rate must be .*got nan", "train", *TABLE, "--learning-rate", "nan"),
    ("learning_rate must be .*got inf", "train", *TABLE, "--learning-rate", "1e309"),
    ("weight_decay must be .*got -1", "train", *TABLE, "--weight-decay", "-1"),
    ("tol must be .*got nan", "train", *TABLE, "--tol", "nan"),
    ("target_distance must be finite, got inf", "train", *TABLE, "--target-distance", "inf"),
    ("target_distance must be finite and > 0, got nan", "compare", *TABLE, "--target-distance",
     "nan"),
    ("record_every must be >= 1", "train", *TABLE, "--record-every", "0"),
    (r"record_every\[1\] must be >= 0", "train", *TABLE, "--record-every", "3,-1"),
    ("'1,log' is neither an integer", "train", *TABLE, "--record-every", "1,log"),
    ("'lag' is neither an integer", "train", *TABLE, "--record-every", "lag"),
    ("scale must be .*got inf", "train", *TABLE, "--scale", "inf"),
    ("points must be >= 1 and <= 10000, got 1000000000", "compare", *TABLE, "--grid", "1000000000"),
    ("low must be finite and > 0, got nan", "compare", *TABLE, "--grid", "nan:1"),
    ("the grid has no rate from", "compare", *TABLE, "--grid", "5e-324:1e-323:2"),
    ("--grid must be POINTS", "compare", *TABLE, "--grid", LONG),
    # Settings of data
    ("n must be >= 5, got 2", "compare", "ill-conditioned:n=2,d=5"),
    ("n must be an integer, got 'many'", "compare", "ill-conditioned:n=many"),
    ("ill-conditioned has no setting 'm'", "compare", "ill-conditioned:m=3"),
    ("noise must be finite and >= 0, got -1.0", "compare", "ill-conditioned:noise=-1"),
    ("y1 must be finite, got nan", "train", "two-points:y1=nan"),
    ("y1 must be a number, got ''", "train", "two-points:y1"),
    ("diabetes has no setting 'n', it has none", "train", "diabetes:n=3"),
    # Files
    ("nosuch.csv: no such file", "train", "nosuch.csv"),
    ("folder.csv: a folder", "train", "folder.csv"),
    ("pipe.csv: no regular file", "train", "pipe.csv"),
    ("loop.csv: .*symbolic links", "train", "loop.csv"),
    ("data must be in a folder that is there, got ~nobody-of-this-name/a.csv", "train",
     "~nobody-of-this-name/a.csv"),
    ("[Nn]ame too long", "train", "a" * 300 + ".csv"),
    ("got 'two.nlines'", "train", "two\nlines"),
    (r"'.x1b\[31m.csv': no such file", "train", "\x1b[31m.csv"),
    ("/dev/zero: expected a file that ends in", "train", "/dev/zero"),
    ("table.csv: target must be >= -2 and < 2, got 9", "train", *TABLE, "--target-column", "9"),
    ("target must be one of price, size, got 'prize'; did you mean 'price'", "train", *TABLE,
     "--target-column", "prize"),
    ("a target column can be chosen for files only", "train", "diabetes", "--target-column", "a"),
    ("for files only, not for two-points; --target-distance is", "train", "two-points", "--target",
     "1"),
    ("'1e-6' is no column: --target names .*; --target-distance is the distance", "train", *TABLE,
     "--target", "1e-6"),
    ("--features and --drop-missing are for files only, not for gas", "compare", "gas",
     "--features", "a"),
    ("--features and --drop-missing are for files only", "train", "diabetes", "--drop-missing"),
    ("--features must be names or numbers of columns such as a,b,c, got 'a,,b'", "train", *TABLE,
     "--features", "a,,b"),
    ("--target must be names .*, got ''", "train", *TABLE, "--target", ""),
    ("features must be one of price, size, got 'rooms'", "train", *TABLE, "--features", "rooms"),
    ("'size' is among the features, and is the target; the target is the last column", "train",
     *TABLE, "--features", "price,size"),
    ("gaps.csv: not readable: line 3, column 'b': no value; missing values: 1 in column 'b'; "
     ".*--drop-missing", "train", "gaps.csv"),
    ("words.csv: not readable: line 2, column 'a': could not convert string 'some'",
     "compare", "words.csv"),
    ("empty.csv: not readable: it has no rows", "train", "empty.csv"),
    ("short.npz: not readable", "train", "short.npz"),
    ("bomb.npz: not readable: 'X.npy' would unpack to", "train", "bomb.npz"),
    ("huge.npy: not readable: its header promises the shape", "train", "huge.npy"),
    ("bad.csv: line 2, column 'b' must be finite, got nan", "train", "bad.csv"),
    (r"colours.csv: target must be one of '.x1b\[31m', b", "train", "colours.csv",
     "--target-column", "c"),
    # Output
    ("--out would overwrite the data", "train", *TABLE, "--out", "table.csv"),
    ("--out would overwrite the data", "train", *TABLE, "--out", "link.csv"),
    ("--out pipe.png: pipe.png cannot be written: no regular file", "train", *TABLE, "--out",
     "pipe.png"),
    ("--out other.csv: other.png cannot be written: a folder", "train", *TABLE, "--out",
     "other.csv"),
    ("--out loop: .*symbolic links", "train", *TABLE, "--out", "loop"),
    ("--out .*[Nn]ame too long", "compare", *TABLE, "--out", "a" * 300),
    ("--out.* null (byte|character)", "compare", *TABLE, "--out", "a\0b"),
    ("--out must be in a folder that is there", "train", *TABLE, "--out", "~nobody-of-this-name/a"),
    ("--out table.csv/x: .* cannot be written|no folder", "train", *TABLE, "--out", "table.csv/x"),
    ("--out must be a folder or end in .html", "reproduce", "--out", "table.csv"),
    ("--out must be a folder", "atlas", "--out", "new.csv"),
    ("--out must be a folder", "atlas", "--out", "new.json"),
]  # fmt: skip


@pytest.fixture
def files():
    Path("table.csv").write_text("price,size\n1,2\n3,4\n5,7\n")
    Path("words.csv").write_text("a,b\nsome,words\n")
    Path("bad.csv").write_text("a,b\n1,nan\n")
    Path("gaps.csv").write_text("a,b\n1,2\n3,NA\n")
    Path("colours.csv").write_text("\x1b[31m,b\n1,2\n3,4\n")
    Path("empty.csv").write_text("")
    Path("short.npz").write_bytes(b"PK\x03\x04")
    Path("huge.npy").write_bytes(
        b"\x93NUMPY\x01\0\x41\0{'descr': '<f8', 'fortran_order': False, 'shape': (999999999, 9)}\n"
    )
    for folder in ("folder.csv", "other.png"):
        Path(folder).mkdir()
    for pipe in ("pipe.csv", "pipe.png"):
        os.mkfifo(pipe)
    for loop in ("loop", "loop.csv"):
        Path(loop).symlink_to(loop)
    Path("link.csv").symlink_to("table.csv")


@pytest.mark.parametrize("row", ROWS, ids=[" ".join(row[1:])[:60] for row in ROWS])
def test_refused(files, monkeypatch, row):
    monkeypatch.setenv("COLUMNS", "80")
    match, *arguments = row
    if "bomb.npz" in arguments:
        monkeypatch.setattr(npy, "_FREE", 1000)
        zipped("bomb.npz", {"X.npy": bytes(10**6), "y.npy": b""}, 8)
    before = sorted(Path().rglob("*"))
    with compiling.silenced():  # kernels may have to be compiled for what is refused later
        ended = run(*arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("accel: ")
    assert line.isprintable()
    assert len(line) < 700
    assert re.search(match, line)
    assert sorted(Path().rglob("*")) == before


def test_control_characters_are_escaped_in_messages(files, monkeypatch):
    def fail(*arguments, **how):
        raise ValueError("\x1b[31m\nred \udcff")

    monkeypatch.setattr(train, "train", fail)
    ended = run("train", *TABLE, "--quiet")
    assert ended.stderr == "accel: \\x1b[31m red \\udcff\n"


def test_what_is_quiet_says_nothing_of_compilation(files, monkeypatch):
    def fail(*arguments, **how):
        compiling._say("compiling")
        raise ValueError("refused")

    monkeypatch.setattr(train, "train", fail)
    lines = [
        run("train", *TABLE, *quiet).stderr.splitlines() for quiet in (["-q"], [], ["--quiet"])
    ]
    assert lines[0] == lines[2] == ["accel: refused"]
    assert lines[1][-2:] == ["accel: compiling", "accel: refused"]  # and it may be said afterwards
