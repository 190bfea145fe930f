"""The page as a folder of files, to be put on a web server or opened by itself."""

from pathlib import Path

from accel._files import paths
from accel._live.files import page_files, single_file

__all__ = ["SINGLE", "export_page"]

#: The file that holds the whole page.
SINGLE = "depth-as-an-accelerator.html"


def export_page(folder: Path, *, force: bool) -> list[Path]:
    """Write the page into a folder, which is made if it is not there.

    Parameters
    ----------
    folder : Path
    force : bool
        Whether files that are there may be replaced; others in the folder are left alone.

    Returns
    -------
    list of Path
        What was written: the files of the page, and ``SINGLE``, which needs none of the others.

    Raises
    ------
    ValueError
        If a file is there already without ``force``, or is none, or the folder is a file; nothing
        is written then.
    OSError
        If a file cannot be written.
    """
    files = page_files()
    files[SINGLE] = single_file(files)
    if paths.refusal(folder) not in (paths.FOLDER, paths.MISSING):
        raise ValueError(f"--export must be a folder, got {paths.text(folder)}")
    for below in sorted({folder / part for name in files for part in Path(name).parents}):
        if paths.refusal(below) not in (paths.FOLDER, paths.MISSING):
            raise ValueError(f"{paths.text(below)} is there already, and is no folder")
    written = {folder / name: content for name, content in files.items()}
    for path in written:
        refusal = paths.refusal(path)
        if refusal not in ("", paths.MISSING):
            raise ValueError(f"{paths.text(path)} cannot be written: {refusal}")
        if not refusal and not force:
            raise ValueError(
                f"{paths.text(path)} is there already: --force replaces it, --export takes "
                "another folder"
            )
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(written)
