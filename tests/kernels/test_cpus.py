import os

from accel.kernels.cpu import cpus


def test_respect_affinity_and_quota(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(cpus, "_QUOTA", quota)
    expected = {None: 4, "max 100000": 4, "250000 100000": 2, "50000 100000": 1, "nonsense": 4}
    for text, count in expected.items():
        if text is not None:
            quota.write_text(text + "\n")
        assert cpus.cpus() == count
