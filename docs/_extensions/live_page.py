"""Puts the page that ``accel show`` serves into the folder ``live`` of the site."""

from pathlib import Path
from shutil import copytree

PAGE = Path(__file__).resolve().parents[2] / "accel" / "_live" / "page"


def _copy(app: object, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":  # type: ignore[attr-defined]
        copytree(PAGE, Path(app.outdir) / "live", dirs_exist_ok=True)  # type: ignore[attr-defined]


def setup(app: object) -> dict[str, bool]:
    """Say what this adds to Sphinx."""
    app.connect("build-finished", _copy)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True, "parallel_write_safe": True}
