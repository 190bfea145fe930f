"""A run of groups: measured, recorded and shown one after the other."""

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import machine, page, records
from benchmarks.harness.records import Record
from benchmarks.harness.registry import GROUPS, Settings, estimate


def run(names: Sequence[str], settings: Settings, folder: Path, resume: bool) -> list[Path]:
    """Measure groups; write a JSON each as soon as it is done, and the pages of all there are.

    With `resume` a group stays as it is whose JSON is of this commit, machine and form.
    """
    print(f"about {estimate(names, settings.quick):.0f} minutes: {', '.join(names)}", flush=True)
    written = []
    for name in names:
        path = folder / f"{name}.json"
        if resume and _is_current(path, settings.quick):
            print(f"\n## {GROUPS[name].title}\n\nkept: {path}", flush=True)
            continue
        print(f"\n## {GROUPS[name].title}\n", flush=True)
        begin = time.perf_counter()
        content = GROUPS[name].functions.measure(settings)
        content["seconds"] = time.perf_counter() - begin
        written.append(records.write(content, path))
        print(f"\n{GROUPS[name].functions.markdown(content)}", flush=True)
        print(f"\n{path}: {content['seconds']:.0f} s", flush=True)
    written += pages(folder)
    return written


def pages(folder: Path) -> list[Path]:
    """Write ``report.md`` and ``report.html`` of the groups that lie in a folder."""
    contents = [
        (group, records.read(folder / f"{name}.json"))
        for name, group in GROUPS.items()
        if (folder / f"{name}.json").is_file()
    ]
    chapters = [
        page.Chapter(group.title, group.functions.markdown(content), group.functions.plots(content))
        for group, content in contents
    ]
    return page.write(folder, chapters)


def _is_current(path: Path, quick: bool) -> bool:
    try:
        content: Record = records.read(path)
    except (OSError, ValueError):
        return False
    here = records.record("", quick)
    same = content["machine"].get("cpu") == here["machine"]["cpu"]
    return (
        same
        and content["machine"].get("cpus_in_use") == machine.peer_threads()
        and content["quick"] == quick
        and content["commit"].get("id") == here["commit"].get("id")
    )
