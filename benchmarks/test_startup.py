"""Import time and the first ``train``, each in fresh interpreters."""

from typing import Any

import pytest

from benchmarks.groups import startup


@pytest.mark.benchmark(group="startup")
def test_import(benchmark: Any, quick: bool) -> None:
    found = benchmark.pedantic(startup.import_time, args=(1 if quick else 5,), rounds=1)
    benchmark.extra_info.update(vars(found))
    assert found.note == "loads none of the heavy libraries"


@pytest.mark.benchmark(group="startup")
def test_first_train(benchmark: Any, quick: bool) -> None:
    cold, warm = benchmark.pedantic(startup.first_train, args=(1 if quick else 3,), rounds=1)
    benchmark.extra_info.update(cold=vars(cold), warm=vars(warm))
