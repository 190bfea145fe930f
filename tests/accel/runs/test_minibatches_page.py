"""The examples of docs/guide/minibatches.md print what the page says."""

import re
from functools import partial

import numpy as np
import pytest

import accel

from ...children import ROOT

PAGE = ROOT / "docs" / "guide" / "minibatches.md"
FIRST, NOISE, LANGEVIN, RULE = range(4)


@pytest.fixture
def printed(monkeypatch, capsys):
    """Run a block, changed so, and return what it prints, and what the page says that it does."""

    def run(number, *changes, backend="reference"):
        for name in ("train", "sweep"):
            monkeypatch.setattr(accel, name, partial(getattr(accel, name), backend=backend))
        page = PAGE.read_text()
        blocks = list(
            re.finditer(r"^```python\n(.*?)^```\n((?:\n(?: {4}[^\n]*\n)+)?)", page, re.S | re.M)
        )
        assert len(blocks) == 4
        code, said = blocks[number].groups()
        for old, new in changes:
            assert old in code
            code = code.replace(old, new)
        exec(code, {})
        said = said or "".join(re.findall(r"  # ([\de., -]+)$", code, re.M))
        return capsys.readouterr().out, said

    return run


def numbers(text):
    return np.array(re.findall(r"[\d.]+(?:e-\d+)?", text), float)


def test_the_first_run(printed):
    pytest.importorskip("sklearn")  # for the data
    out, _ = printed(FIRST)
    loss, batch_loss = numbers(out)
    assert 0 < loss < 1
    assert 0 < batch_loss < 3


def test_the_end_to_end_rule_is_near_the_net_in_proportion_to_the_rate(printed):
    """At the two larger rates; the page has one more."""
    pytest.importorskip("sklearn")
    out, said = printed(RULE, ("1e-2, 1e-3, 1e-4", "1e-2, 1e-3"))
    ours, theirs = (numbers(text).reshape(-1, 2) for text in (out, said))
    assert ours == pytest.approx(theirs[:2], rel=0.05)
    assert theirs[:, 1] / theirs[:, 0] == pytest.approx(theirs[0, 1] / theirs[0, 0], rel=0.1)


@pytest.mark.slow
def test_label_noise_finds_the_sparse_weights(printed):
    out, said = printed(NOISE)
    batches, noisy, calm = numbers(out)
    assert (batches, noisy) == pytest.approx(numbers(said)[:2])
    assert calm < 10 * numbers(said)[2] < 1e-3 * batches


@pytest.mark.slow
def test_langevin_noise_draws_from_the_posterior(printed):
    pytest.importorskip("sklearn")
    out, said = printed(LANGEVIN, backend="cpu")
    (drawn, exact), theirs = numbers(out).reshape(2, -1), numbers(said).reshape(2, -1)
    assert exact == pytest.approx(theirs[1], abs=1.1e-3)
    assert drawn == pytest.approx(theirs[0], abs=3e-3)
    assert drawn == pytest.approx(exact, rel=0.05)
