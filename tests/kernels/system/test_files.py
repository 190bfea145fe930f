"""Files that are flushed and that take the place of others, as each system does it."""

import errno
import os
import sys
import time
from types import SimpleNamespace

import pytest

from accel._files import archives
from accel.kernels.system import files


@pytest.fixture
def held(monkeypatch):
    """Have somebody hold the target open for some tries; returns the pauses in between."""

    def hold(tries):
        def replace(source, target):
            nonlocal tries
            tries -= 1
            if tries >= 0:
                raise PermissionError(errno.EACCES, "in use")
            original(source, target)

        original, pauses = os.replace, []
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(time, "sleep", pauses.append)
        return pauses

    return hold


@pytest.fixture
def flushed(monkeypatch):
    """Set whether macOS's call works; returns the calls, and how long the file was then."""

    def set_up(works):
        def fcntl(descriptor, command):
            note(descriptor, command)
            if not works:
                raise OSError(errno.ENOTSUP, "not supported")

        def note(descriptor, call="fsync"):
            calls.append((call, os.fstat(descriptor).st_size))

        calls = []
        of_macos = SimpleNamespace(fcntl=fcntl, F_FULLFSYNC=51)
        monkeypatch.setitem(sys.modules, "fcntl", of_macos)
        monkeypatch.setattr(os, "fsync", note)
        return calls

    return set_up


def written(folder):
    """Write a file anew in each of two ways; yields what is in it."""
    one, two = folder / "one", folder / "two"
    one.write_bytes(b"old")
    two.write_bytes(b"old")
    (folder / "source").write_bytes(b"new")
    files.replace(folder / "source", one)
    yield one.read_bytes()
    with archives.replacing(two) as file:
        file.write(b"new")
    yield two.read_bytes()


def test_a_file_takes_the_place_of_another(tmp_path):
    assert list(written(tmp_path)) == [b"new"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_windows_waits_for_a_reader(on, held, tmp_path):
    on("win32")
    ways = written(tmp_path)
    for _ in range(2):
        pauses = held(19)
        assert next(ways) == b"new"
        assert len(pauses) == 19
        assert sum(pauses) <= 1


@pytest.mark.parametrize(("system", "tries"), [("win32", 20), ("linux", 1), ("darwin", 1)])
def test_nobody_waits_for_ever(on, held, flushed, tmp_path, system, tries):
    on(system)
    flushed(True)
    pauses = held(tries)
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(PermissionError, match="target"), archives.replacing(tmp_path / "target"):
        pass
    assert len(pauses) == tries - 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize(("system", "works", "expected"), [
    ("linux", True, ["fsync"]),
    ("win32", True, ["fsync"]),
    ("darwin", True, [51]),
    ("darwin", False, [51, "fsync"]),  # on a network drive
])  # fmt: skip
def test_what_is_written_is_flushed(on, flushed, tmp_path, system, works, expected):
    on(system)
    calls = flushed(works)
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"text")
        files.flush(file)
        assert calls == [(call, 4) for call in expected]


def test_a_folder_is_flushed_where_that_can_be_done(monkeypatch, tmp_path):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor)))
    files.flush_folder(tmp_path)
    assert [os.path.samestat(one, tmp_path.stat()) for one in flushed] == [True]
    monkeypatch.setattr(os, "open", refuse)
    files.flush_folder(tmp_path)
    assert len(flushed) == 1


def refuse(*arguments):
    """As Windows does for a folder."""
    raise PermissionError(errno.EACCES, "Permission denied")
