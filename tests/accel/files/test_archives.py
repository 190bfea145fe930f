"""Files that are written completely or not at all, and the checksum of those with arrays."""

import errno
import io
import os
import tempfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from accel._files import archives

from ..disk import no_room, read_only, small_disk

ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3),
    "b": np.arange(12, dtype="f4").reshape(3, 4).T,
    "c": np.array([1, 2], "i8"),
    "empty": np.empty((0, 3)),
    "scalar": np.array(1.5),
}
DESCRIBED = {"format": 3, "text": "é", "list": [1, 2.5, None]}
JSON = {"json": np.array('{"format": 3}')}


@pytest.fixture
def path(tmp_path):
    archives.write(tmp_path / "one.npz", DESCRIBED, ARRAYS)
    return tmp_path / "one.npz"


def read(path, known=3):
    with archives.reading("file", path):
        return archives.read(path, known)


def refuse(path, message, known=3):
    with pytest.raises(ValueError, match=rf"file .*{path.name} is not readable: .*{message}") as e:
        read(path, known)
    assert "\n" not in str(e.value)


def sealed(path, content):
    """Write foreign content with a correct checksum."""
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = bytes(64)
    archives.seal(stream)
    path.write_bytes(stream.getvalue())


def npz(save=np.savez, **arrays):
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def test_round_trip(path):
    described, arrays = read(path)
    assert described == DESCRIBED
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
        arrays[name][...] = 0  # can be written to


def test_numpy_reads_it_too(path):
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["a"], ARRAYS["a"])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_the_same_content_is_the_same_bytes(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(time, "time", lambda: 2e9)
    archives.write(path, DESCRIBED, ARRAYS)
    assert path.read_bytes() == before


def test_every_byte_counts(path):
    whole = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for place, byte in enumerate(whole):
            for value in (byte ^ 1 << place % 8, byte):
                file.seek(place)
                file.write(bytes([value]))
                if value != byte:
                    refuse(path, "checksum")
    read(path)


def test_every_length_but_the_right_one_is_refused(path):
    whole = path.read_bytes()
    for content in (*(whole[:n] for n in range(0, len(whole), 97)), whole[:-1], whole + b"\0"):
        path.write_bytes(content)
        refuse(path, "checksum")


def test_other_versions(path):
    refuse(path, "it is of format 3, of a later version of accel; ours is 2", known=2)
    refuse(path, "it is of format 3, of an earlier version of accel; ours is 4", known=4)


def test_foreign_files(path):
    sealed(path, npz(**JSON, a=np.ones(3)))
    np.testing.assert_array_equal(read(path)[1]["a"], np.ones(3))
    for content, message in [
        (npz(np.savez_compressed, **JSON), "compressed"),
        (npz(**JSON, a=np.array([None])), "array of shape .* and object is not of that size"),
        (npz(**JSON, a=np.array([{}] * 30)), "object"),
        (npz(a=np.ones(3)), "no .json."),
        (npz(json=np.array("[1]")), "indices"),
        (npz(json=np.array("{")), "Expecting"),
        (npz(json=np.array("{}")), "no .format."),
    ]:
        sealed(path, content)
        refuse(path, message)


def test_a_bomb_does_not_fill_the_memory(path):
    zeros = np.zeros(10**7)
    huge = io.BytesIO(npz(**JSON))
    with zipfile.ZipFile(huge, "a") as archive, archive.open("a.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        np.lib.format.write_array_header_1_0(member, header)
    overlapping = io.BytesIO(npz(**JSON, a=np.zeros(10**4)))
    with zipfile.ZipFile(overlapping, "a") as archive:  # the same bytes under many names
        member = archive.infolist()[1]
        for i in range(1000):
            archive.filelist.append(member)
            archive.NameToInfo[str(i)] = member
        archive.writestr("other", b"")
    for content, message in [
        (npz(np.savez_compressed, **JSON, a=zeros), "compressed"),
        (huge.getvalue(), "is not of that size"),
        (overlapping.getvalue(), "larger than the whole"),
    ]:
        sealed(path, content)
        tracemalloc.start()
        refuse(path, message)
        assert tracemalloc.get_traced_memory()[1] < 5 * len(content) + 2**21
        tracemalloc.stop()


def test_objects_are_not_written(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="allow_pickle"):
        archives.write(path, DESCRIBED, {"a": np.array([None])})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["one.npz"]


def test_a_file_is_on_the_disk_before_it_is_renamed(path, monkeypatch):
    seen = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        seen.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def replaced(source, target):
        seen.append("rename")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    archives.write(path, DESCRIBED, ARRAYS)
    assert seen == ["file", "rename", "folder"]


class Unwritten:
    """Checks that a failed write leaves the file as it was, and nothing beside it."""

    def __init__(self, path):
        self.path, self.before = path, path.read_bytes()

    def check(self, error=OSError, write=None):
        with pytest.raises(error) as caught:
            (write or self.write)()
        assert self.path.read_bytes() == self.before
        assert os.listdir(self.path.parent) == [self.path.name]
        if isinstance(caught.value, OSError):
            assert caught.value.filename == str(self.path)
            assert str(caught.value).count("\n") == 0
        return caught.value

    def write(self):
        archives.write(self.path, DESCRIBED, {"a": np.zeros(10**5)})


def test_no_room_for_a_file(path):
    with no_room():
        Unwritten(path).check()


def test_a_full_disk(tmp_path):
    with small_disk(tmp_path, 2**18):
        archives.write(tmp_path / "one.npz", DESCRIBED, ARRAYS)
        error = Unwritten(tmp_path / "one.npz").check()
        assert error.errno == errno.ENOSPC
        archives.write(tmp_path / "one.npz", {"format": 3}, ARRAYS)  # there is room for this


def test_a_full_disk_that_fsync_reports(path, monkeypatch):
    """On some file systems only fsync reports it."""

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert Unwritten(path).check().errno == errno.ENOSPC


def test_a_folder_that_cannot_be_written_to():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.npz"
        archives.write(path, DESCRIBED, ARRAYS)
        unwritten = Unwritten(path)
        with read_only(path.parent):
            unwritten.check(PermissionError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("of the caller's")])
def test_an_interrupted_file(path, error):
    def write():
        with archives.replacing(path) as file:
            file.write(b"half")
            raise error

    Unwritten(path).check(type(error) if isinstance(error, Exception) else error, write)


def test_a_file_keeps_the_usual_permissions(path):
    (path.parent / "other").write_bytes(b"")
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode


def test_what_a_killed_process_left_is_removed(tmp_path):
    for name in ("a[1].npz", "a[1].npz.12.part", "a[1].npz.part", "a1.npz.12.part", "b.12.part"):
        (tmp_path / name).write_bytes(b"")
    archives.remove_unfinished(tmp_path / "a[1].npz")
    assert sorted(os.listdir(tmp_path)) == [
        "a1.npz.12.part", "a[1].npz", "a[1].npz.part", "b.12.part"
    ]  # fmt: skip
    archives.remove_unfinished(tmp_path / "nowhere" / "a")
