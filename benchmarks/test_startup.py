"""Import time and the first ``train``, each in fresh interpreters."""

from typing import Any

import pytest

from benchmarks.groups import startup


@pytest.mark.benchmark(group="startup")
def test_import(benchmark: Any, quick: bool) -> None:
    figure = benchmark.pedantic(startup.import_time, args=(quick,), rounds=1)
    benchmark.extra_info.update(vars(figure))
    assert figure.note == "loads none of the heavy libraries"


@pytest.mark.benchmark(group="startup")
def test_first_train(benchmark: Any, quick: bool) -> None:
    cold, warm = benchmark.pedantic(startup.first_train, args=(quick,), rounds=1)
    benchmark.extra_info.update(cold=vars(cold), warm=vars(warm))
