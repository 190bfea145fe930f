"""What compiled kernels are made for: why those on the disk do not fit, in words."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from accel.kernels.cpu import made_for

NOW = {
    "numba": "0.68.1", "llvmlite": "0.50.0", "numpy": "2.4", "processor": "znver3",
    "features": "+avx,+avx2", "vector_bytes": "32", "shapes": "1 2 3", "sources": "abc",
}  # fmt: skip
AGAIN = "the first time with these versions on this machine"


@pytest.fixture
def now(monkeypatch):
    """``now(**changes)``: from here on the process is a new one with such facts."""

    def set_facts(**changes):
        monkeypatch.setattr(made_for, "made_for", lambda: NOW | changes)
        monkeypatch.setattr(made_for, "_seen", set())

    set_facts()
    return set_facts


def reason(folder):
    return made_for.reason(str(folder))


def test_an_empty_folder_gives_none(now, tmp_path):
    assert [reason(tmp_path) for _ in range(3)] == [""] * 3
    now()
    assert reason(tmp_path) == ""


@pytest.mark.parametrize(("changes", "told"), [
    ({"numba": "0.69"}, "Numba 0.68.1, now 0.69"),
    ({"numba": "0.69", "llvmlite": "0.51"},
     "Numba 0.68.1, now 0.69; llvmlite 0.50.0, now 0.51"),
    ({"numpy": "2.5", "sources": "abd"}, "NumPy 2.4, now 2.5"),
    ({"processor": "generic", "features": "", "vector_bytes": "16"},
     "the processor znver3, now generic"),
    ({"features": "+avx", "vector_bytes": "16"}, "other features of the processor"),
    ({"shapes": "1 2 4"}, "other sizes of the caches"),
    ({"sources": "abd"}, "another version of accel"),
])  # fmt: skip
def test_what_has_changed_is_told_once_a_process(now, tmp_path, changes, told):
    reason(tmp_path)
    now(**changes)
    assert [reason(tmp_path) for _ in range(2)] == [f"those on the disk are for {told}", AGAIN]
    now(**changes)
    assert reason(tmp_path) == AGAIN
    now()  # back again, where some kernels are still there
    assert reason(tmp_path) == AGAIN


def test_every_fact_has_words():
    assert made_for.made_for().keys() == NOW.keys() == {**made_for._TOLD, **made_for._OTHERS}.keys()


@pytest.mark.parametrize("text", ["", "[", "{}", "[1]", "null", 100_000 * "["])
def test_a_damaged_list_is_replaced(now, tmp_path, text):
    path = tmp_path / made_for._NAME
    path.write_text(text)
    assert reason(tmp_path) == ""
    assert json.loads(path.read_text()) == [NOW]


def test_a_list_of_another_version(now, tmp_path):
    (tmp_path / made_for._NAME).write_text(json.dumps([{"more": 1}, {}]))
    assert reason(tmp_path) == "those on the disk are for other features of the processor"


def test_what_cannot_be_written_is_left(now, tmp_path):
    (tmp_path / made_for._NAME).mkdir()
    assert reason(tmp_path) == ""
    assert reason(tmp_path / "nowhere") == ""
    assert [path.name for path in tmp_path.iterdir()] == [made_for._NAME]


def test_the_list_does_not_grow_for_ever(now, tmp_path):
    for number in range(20):
        now(sources=str(number))
        reason(tmp_path)
    known = json.loads((tmp_path / made_for._NAME).read_text())
    assert [entry["sources"] for entry in known] == [str(number) for number in range(4, 20)]


def test_many_at_once_leave_a_whole_list(now, tmp_path):
    path = tmp_path / made_for._NAME
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: made_for._write(path, [NOW] * number), range(200)))
    known = json.loads(path.read_text())
    assert known == [NOW] * len(known)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
