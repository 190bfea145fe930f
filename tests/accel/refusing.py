"""What every refusal looks like: the right type, one line with the culprit, nothing left behind."""

import os

import pytest


def refused(kind, match, call):
    """The call raises exactly this type, and its message is one readable line that matches."""
    before = sorted(os.listdir())
    with pytest.raises(kind, match=match) as caught:
        call()
    assert caught.type is kind
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert len(message) < 500
    assert sorted(os.listdir()) == before
