"""``python -m benchmarks keep FILE...``: write what is to be committed of a run, a line a row.

Of a record that is all that its tables and ``compare`` read, without raw samples and curves; it
goes into ``benchmarks/results/``. Of the ``report.json`` of ``accel reproduce`` it is all but the
trials of its searches, and goes into ``docs/records/``.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import RESULTS, ROOT
from benchmarks.harness import records


def keep(path: Path, folder: Path | None = None) -> Path:
    """Write the slim copy of a file, into another folder if one is named.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If it is neither a record nor a report, or of the quick form.
    """
    document = json.loads(path.read_text())
    if isinstance(document, dict) and {"finished", "figures", "settings"} <= document.keys():
        quick = document["settings"]["quick"]
        name, text = f"reproduce-{document['finished'][:10]}.json", _slim_report(document)
        folder = folder or ROOT / "docs" / "records"
    else:
        content = records.read(path)
        quick, name = content["quick"], records.file_name(content)
        text = records.text(records.document(records.slim(content)))
        folder = folder or RESULTS
    if quick:
        raise ValueError("a quick run only proves that it runs: its figures are not kept")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return folder / name


def _slim_report(document: dict) -> str:
    return records.text(records.without(document, {"trials"}))


def main(arguments: list[str]) -> int:
    """Exit code 2 if a file cannot be kept."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks keep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument(
        "--folder", type=Path, help="where to write (benchmarks/results, docs/records)"
    )
    options = parser.parse_args(arguments)
    for path in options.files:
        try:
            print(keep(path, options.folder))
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 2
    return 0
