"""Standard errors by a bootstrap over optima, as docs/guide/losses.md shows it."""

import re

import numpy as np
import pytest

import accel
from accel.losses import Huber, Lp

from ...children import ROOT

pytest.importorskip("scipy")


@pytest.fixture
def block():
    """The code of the page."""
    page = (ROOT / "docs" / "guide" / "losses.md").read_text()
    (code,) = re.findall(r"^## Standard errors$.*?^```python\n(.*?)^```$", page, re.S | re.M)
    return code


def test_what_the_page_says(block, capsys):
    """With fewer resamples."""
    pytest.importorskip("sklearn")  # for the data
    assert "resamples=200" in block
    exec(block.replace("resamples=200", "resamples=10"), {})
    rows = capsys.readouterr().out.split("]\n")[:-1]
    assert [row.split("(")[0] for row in rows] == ["Lp", "Lp", "Huber", "Pinball"]
    for row in rows:
        errors = np.array(row.split("[")[1].split(), float)
        assert errors.shape == (11,)
        assert (errors > 0).all()


def sandwich(X, psi, curvature):
    """Huber's (1967) asymptotic standard errors, which ask nothing of the errors either."""
    inverse = np.linalg.inv((X * curvature[:, np.newaxis]).T @ X)
    return np.sqrt(np.diag(inverse @ (X.T * psi**2) @ X @ inverse))


def test_it_agrees_with_the_formulas(block):
    """The textbook's ``s^2 (X'X)^-1`` for p = 2 and errors of one variance; the sandwich for all.

    With 400 resamples a standard error has a relative error of 3.5 %; that of s^2 (X'X)^-1 itself,
    from 400 rows, is another 5 %. The seed of the data is not that of the page.
    """
    rng = np.random.default_rng(7)
    X = np.column_stack([rng.standard_normal((400, 3)) * [1.0, 2.0, 0.5], np.ones(400)])
    y = X @ rng.standard_normal(4) + 0.7 * rng.standard_normal(400)
    page: dict = {}
    exec(block[: block.index("data = ")], page)
    exec(block[block.index("def ") : block.index("for loss")], page)
    page |= {"X": X, "y": y}
    r = y - X @ np.linalg.solve(X.T @ X, X.T @ y)
    textbook = np.sqrt(r @ r / (400 - 4) * np.diag(np.linalg.inv(X.T @ X)))
    found = page["standard_errors"](Lp(2), 400)
    np.testing.assert_allclose(found, textbook, rtol=3 * np.hypot(0.035, 0.05))
    np.testing.assert_allclose(found, sandwich(X, r, np.ones(400)), rtol=3 * 0.035)
    r = y - X @ accel.optimum(accel.Problem(X, y, Huber(0.7))).W[0]
    found = page["standard_errors"](Huber(0.7), 400)
    expected = sandwich(X, np.clip(r, -0.7, 0.7), (np.abs(r) <= 0.7).astype(float))
    np.testing.assert_allclose(found, expected, rtol=3 * 0.035)
