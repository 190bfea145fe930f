"""Fixtures of the tests that need PyTorch: without it their modules skip before any runs."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Everything is small here, and on a busy machine two threads would wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
