"""The drawings of docs/pictures are those that ``python docs/drawing`` makes.

Versions of Matplotlib differ in the paths that they write, so files and their texts are compared.
"""

import re

import pytest

from .children import ROOT, python

PICTURES = ROOT / "docs" / "pictures"


def texts(folder):
    """The texts of all drawings in a folder, by the name of the file."""
    files = sorted([*folder.glob("how-*.svg"), *folder.glob("theory-*.svg")])
    return {
        file.name: re.findall(r"<t(?:ext|span)[^>]*>([^<]+)<", file.read_text()) for file in files
    }


def test_the_drawings_are_those_of_the_script(tmp_path):
    pytest.importorskip("matplotlib")
    python(str(ROOT / "docs" / "drawing"), str(tmp_path), cwd=tmp_path)
    drawn = texts(tmp_path)
    assert drawn == texts(PICTURES)
    assert all(drawn.values())


def test_pages_show_all_drawings_and_no_others():
    pages = [
        page.read_text()
        for folder in ("how", "theory")
        for page in (ROOT / "docs" / folder).glob("*.md")
    ]
    shown = re.findall(r"\(\.\./pictures/((?:how|theory)-[\w-]+\.svg)\)", "".join(pages))
    assert sorted(shown) == sorted(texts(PICTURES))
