"""What the system says of its caches, and what is assumed where it says nothing."""

import pytest

from accel.kernels.cpu import processor


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in place of the system's, and nothing remembered."""
    monkeypatch.setattr(processor, "_CACHES", tmp_path)
    processor.cache_bytes.cache_clear()
    yield tmp_path
    processor.cache_bytes.cache_clear()


def state(folder, index, **facts):
    place = folder / f"index{index}"
    place.mkdir()
    for name, fact in facts.items():
        (place / name).write_text(f"{fact}\n")


def test_caches_that_the_system_states(folder):
    state(folder, 0, type="Instruction", level=1, size="64K")
    state(folder, 1, type="Data", level=1, size="48K")
    state(folder, 2, type="Unified", level=2, size="2048K")
    state(folder, 3, type="Unified", level=3, size="1G")
    assert [processor.cache_bytes(level) for level in (1, 2, 3)] == [48 << 10, 2 << 20, 1 << 30]


def test_nothing_stated(folder):
    assert [processor.cache_bytes(level) for level in (1, 2, 3)] == [32 << 10, 512 << 10, 8 << 20]


@pytest.mark.parametrize("size", ["", "K", "48", "48Q", "many"])
def test_what_cannot_be_read_is_as_if_not_stated(folder, size):
    state(folder, 0, type="Data", level=1, size=size)
    state(folder, 1, type="Data", level=1)
    state(folder, 2, type="Unified", level="two", size="1M")
    assert processor.cache_bytes(1) == 32 << 10
    assert processor.cache_bytes(2) == 512 << 10
