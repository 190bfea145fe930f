"""The tests on a dask cluster, in a process of their own."""

import importlib.util
import re
from pathlib import Path

import pytest

from ... import children

TESTS = Path(__file__).with_name("cluster")

#: Where time is short: runs like those of one machine, and a file that is streamed.
QUICK = "test_equals or test_streams_a_file"


@pytest.mark.parametrize(
    ("chosen", "least"),
    [(QUICK, 12), pytest.param(f"not ({QUICK})", 20, marks=pytest.mark.slow)],
    ids=["quick", "rest"],
)
@pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed is not installed"
)
def test_on_a_cluster(chosen, least):
    done = children.pytest(TESTS, "-k", chosen, limit=600, ACCEL_TEST_CLUSTER="1")
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= least
