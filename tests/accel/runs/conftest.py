"""Fixtures of the runs' tests."""

import pytest

from accel._runs import methods as choice


@pytest.fixture
def _always_worth_it(monkeypatch):
    """Have a rotation chosen for small problems and few steps as well."""
    monkeypatch.setattr(choice, "pays", lambda problem, *_: "spectral" in problem.methods)
