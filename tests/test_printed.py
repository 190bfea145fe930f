"""The pages on the theory: each block of Python prints the block of text that stands below it."""

import re

import pytest

from .children import ROOT
from .test_pages import BLOCK, run

PAIR = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TEXTS = {page.stem: page.read_text() for page in sorted((ROOT / "docs" / "theory").glob("*.md"))}
BETWEEN = "what the next block prints"


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if BLOCK.search(text)])
def test_a_page_prints_what_it_says(page, tmp_path):
    pytest.importorskip("scipy")
    codes, texts = zip(*PAIR.findall(TEXTS[page]), strict=True)
    assert list(codes) == BLOCK.findall(TEXTS[page])  # none is left without what it prints
    printed = run(tmp_path, [code + f"print({BETWEEN!r})\n" for code in codes])
    assert printed.split(f"{BETWEEN}\n") == [*texts, ""]
