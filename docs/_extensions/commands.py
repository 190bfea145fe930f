"""Writes ``guide/commands.inc``: what ``--help`` says of every command."""

import re
import subprocess
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "guide" / "commands.inc"


def _write(_app: object) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "typer", "accel.cli.app", "utils", "docs", "--name", "accel"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    text = re.sub(r"</?span[^>]*>", "`", made.stdout)  # what the terminal shows in bold
    text = text[text.index("\n## ") :]  # the page has an opening of its own
    text = re.sub(r"^## `(.*)`$", r"## \1", text, flags=re.MULTILINE)
    if not OUT.exists() or OUT.read_text(encoding="utf-8") != text:
        OUT.write_text(text, encoding="utf-8")


def setup(app: object) -> dict[str, bool]:
    """Say what this adds to Sphinx."""
    app.connect("builder-inited", _write)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True, "parallel_write_safe": True}
