"""``python -m benchmarks gpu merge OUT PART...``: one record of several runs on one GPU.

A GPU that is lent for minutes is used in parts, each with cases of its own. What a later part has
measured takes the place of what an earlier one has, or of what failed there; the samples stay.

Where two parts have the same case, that holds for every contender of it. One that only the earlier
part has timed keeps its figures and its ratio, which is to ours of that part: its rounds took turns
with those. It is marked as ``earlier``, and the targets are judged by what is there then.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import records, report
from benchmarks.harness.cases import LEFT_OUT, Target

#: What must be the same in all parts.
_SAME = ("group", "date", "quick", "rounds", "sample_seconds", "definitions")


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One record of several.

    Raises
    ------
    ValueError
        If they are not of one kind, day, machine and set of versions.
    """
    first, *others = parts
    for part in others:
        for key in _SAME:
            if part[key] != first[key]:
                raise ValueError(f"{key} differs: {first[key]!r} and {part[key]!r}")
        if _machine(part) != _machine(first):
            raise ValueError("the machines or versions differ")
    result = {**first, "seconds": sum(part["seconds"] for part in parts)}
    for key in ("ceilings", "figure3"):
        measured = [part[key] for part in parts if part[key] is not None]
        result[key] = measured[-1] if measured else None
    result["correctness"] = [row for part in parts for row in part["correctness"]]
    result["cases"] = _cases(parts)
    result["scan"] = _latest(parts, "scan", "case")
    result["benchmarks"] = _latest(parts, "benchmarks", "name")
    there = {case["name"] for case in result["cases"]} | {
        key for key in ("ceilings", "figure3", "scan") if result[key]
    }
    result["failed"] = [row for part in parts for row in part["failed"] if row["name"] not in there]
    return result


def _machine(part: dict[str, Any]) -> Any:
    device = {k: v for k, v in part["machine"]["device"].items() if k not in ("at_start", "at_end")}
    return device, part["machine"]["versions"]


def _cases(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    cases: dict[str, dict[str, Any]] = {}
    for case in (case for part in parts for case in part["cases"]):
        name = case["name"]
        cases[name] = _case(cases[name], case) if name in cases else case
    return list(cases.values())


def _case(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """One case of two parts; its data, title and targets are the later one's."""
    before = {row["contender"]: row for row in earlier["contenders"]}
    rows = []
    for row in later["contenders"]:
        old = before.pop(row["contender"], row)
        if "gap" in row and "gap" not in old:
            rows.append(old | {"earlier": True})
        elif row.get("gap") == LEFT_OUT:  # the reason of the earlier part says more
            rows.append(old)
        else:
            rows.append(row)
    rows += [row if "gap" in row else row | {"earlier": True} for row in before.values()]
    targets = [
        report.target_record(Target(told["against"], told["speedup"], told["strive"]), rows)
        for told in later["targets"]
    ]
    return {**later, "contenders": rows, "targets": targets}


def _latest(parts: list[dict[str, Any]], key: str, name: str) -> list[Any]:
    rows = {row[name]: row for part in parts for row in part[key]}
    return list(rows.values())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu merge", description=__doc__)
    parser.add_argument("out", type=Path, help="a file, or a folder for <GPU>-<date>.json")
    parser.add_argument("parts", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    try:
        content = merged([records.read(path) for path in options.parts])
        name = records.file_name(content)
        records.write(content, options.out / name if options.out.is_dir() else options.out)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0
