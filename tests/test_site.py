"""What the site says of the package is there: its reference has every public name."""

import importlib
import re

import pytest

from .children import ROOT, python
from .test_public_names import MODULES
from .test_rooms import needs_an_extra

PAGES = {
    re.search(r"automodule:: (\S+)", text)[1]: text
    for text in (path.read_text() for path in sorted((ROOT / "docs" / "api").glob("*.rst")))
}


def test_every_public_module_has_a_page():
    assert {*PAGES} == {*MODULES}
    index = (ROOT / "docs" / "api" / "index.md").read_text()
    assert all(f"[{name}](" in index for name in MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_the_reference_has_every_public_name(name):
    """Each on the page of the module where it is public first; modules have pages of their own."""
    needs_an_extra(name)
    module = importlib.import_module(name)
    own = {
        key
        for key in module.__all__
        if f"{name}.{key}" not in MODULES
        and getattr(getattr(module, key), "__module__", name) == name
    }
    assert {*re.findall(r"^   (\w+)$", PAGES[name], re.MULTILINE)} == own


@pytest.mark.slow  # by then .ci/run has installed Sphinx, and PyTorch where that is at hand
def test_the_reference_can_be_made_without_pytorch():
    pytest.importorskip("sphinx")
    code = """if True:
        from sphinx.ext.autodoc.mock import ismock, mock
        with mock(["torch"]):
            import torch, accel.torch
        assert ismock(torch)
        print(*accel.torch.__all__)
    """
    assert "overparameterize" in python("-c", code).stdout.split()
