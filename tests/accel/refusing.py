"""What every error must be: of the right type, one readable line, with no file left behind."""

import os

import pytest


def refused(kind, match, call):
    """Check that the call raises exactly this type, with one readable line that matches."""
    before = sorted(os.listdir())
    with pytest.raises(kind, match=match) as caught:
        call()
    assert caught.type is kind
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert len(message) < 500
    assert sorted(os.listdir()) == before
