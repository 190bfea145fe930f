"""The tests on a dask cluster, in a process of their own."""

import importlib.util
import re
from pathlib import Path

import pytest

from .. import children

TESTS = Path(__file__).with_name("distributed") / "test_cluster.py"


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed is not installed"
)
def test_on_a_cluster():
    done = children.pytest(TESTS, limit=600, ACCEL_TEST_CLUSTER="1")
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20
