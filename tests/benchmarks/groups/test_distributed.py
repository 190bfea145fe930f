"""The page that extrapolates from a record: its arithmetic, without a cluster."""

import pytest

from benchmarks.groups.distributed import page

RECORD = {
    "date": "2026-01-01",
    "quick": False,
    "machine": {"cpu": "a processor", "cpus_in_use": 2, "versions": {"numpy": "2"}},
    "overhead": {"step_seconds": 1e-3},
    "efficiency": {
        "d": 100, "one": 0.1, "two": 0.055, "local_one": 0.1, "local_two": 0.052,
        "efficiency": 0.91, "possible": 0.96, "sweep_seconds": {"1": 0.05, "8": 0.2, "64": 1.0},
    },
    "messages": {"latency": 1e-3, "per_worker": 1e-4, "per_byte": 1e-9},
    "reduction": {"per_node": 1e-6, "per_number": 1e-9},
}  # fmt: skip


def test_overhead_is_a_latency_and_what_each_worker_adds():
    assert page.overhead(RECORD, 0, 100) == pytest.approx(1e-3)
    each = 1e-4 + 16 * 100 * 1e-9 + 1e-6 + 100 * 1e-9
    assert page.overhead(RECORD, 1000, 100) == pytest.approx(1e-3 + 1000 * each)


def test_the_page_has_every_table():
    text = page.summary(RECORD)
    assert "| the one over the other | 0.95 | 0.9 |" in text
    assert "| 1000 | 104 ms | 933 ms |" in text
    assert "64 models a step" in text
    assert "nan" not in text
