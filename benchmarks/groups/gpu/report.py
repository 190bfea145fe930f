"""From samples to the Markdown tables and the JSON of a run on a GPU."""

from pathlib import Path
from typing import Any

from benchmarks import REPORT
from benchmarks.groups.gpu import figure3
from benchmarks.harness import page, records, report
from benchmarks.harness.cases import LEFT_OUT

#: How the figures of the record are meant.
DEFINITIONS = {
    "step": "a step inside a long run, from the call to the end of the device's work",
    "float32": "TF32 is off for every contender",
    "ratio": "the other's median over ours; quartiles of the ratio round by round",
    "copy bandwidth": "bytes read plus bytes written, over the time of a copy on the device",
    "share of copy bandwidth": "bytes of X, each counted once a step, over the time of a step, "
    "against the copy bandwidth",
}

_FIGURE3 = [
    (f"{word}: under {limit:g} s", limit)
    for word, limit in (("must", figure3.MUST), ("strive", figure3.STRIVE))
]


def document(machine: dict[str, Any], rounds: int, seconds: float, quick: bool) -> dict[str, Any]:
    """A record with nothing in it yet."""
    return records.record(
        "gpu",
        quick,
        machine,
        rounds=rounds,
        sample_seconds=seconds,
        definitions=DEFINITIONS,
        ceilings=None,
        correctness=[],
        cases=[],
        figure3=None,
        scan=[],
        failed=[],
        seconds=0.0,
    )


def default_path(content: dict[str, Any]) -> Path:
    """``benchmarks/report/<GPU>-<date>.json``."""
    return REPORT / records.file_name(content)


def summary(content: dict[str, Any]) -> str:
    """The device, every figure next to what is asked of it, the ceilings and the scan."""
    parts = [header(content), report.summary_table(content, _further_rows(content))]
    parts += [part for part in (_peers(content), _ceilings(content), _scan(content)) if part]
    wrong = [row for row in content["correctness"] if not row["agrees"]]
    if wrong:
        parts.append("\n".join(f"WRONG: {_wrong(row)}" for row in wrong))
    else:
        count = len(content["correctness"])
        parts.append(f"Correctness: {count} iterates after 20 steps agree with the reference.")
    return "\n\n".join(parts)


def header(content: dict[str, Any]) -> str:
    """One line on device, driver, versions and how it was measured."""
    about = content["machine"]
    device = about["device"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    form = " of the quick form" if content["quick"] else ""
    return (
        f"{device['name']} (compute capability {device['compute_capability']}, driver "
        f"{device['driver']}, CUDA {device['driver_cuda']}), {content['date']}; {versions}; TF32 "
        f"off for all; medians of {content['rounds']} interleaved rounds{form}; "
        f"{content['seconds']:.0f} s in all."
    )


def _wrong(row: dict[str, Any]) -> str:
    name = f"{row['contender']} in {row['case']}"
    if "message" in row:
        return f"{name} failed: {row['message']}"
    off = "is not finite" if row["error"] is None else f"is off by {row['error']:.1e}"
    return f"{name} {off}, {row['tolerance']:.0e} is allowed"


def _further_rows(content: dict[str, Any]) -> list[list[str]]:
    """Figure 3, and what was not measured at all, in the columns of the summary."""
    rows, figure = [], content["figure3"]
    if figure is not None:
        seconds = f"{figure['seconds']:.1f} s"
        name = f"{figure3.TITLE}{' (a fiftieth of it)' if figure['quick'] else ''}"
        first = [name, seconds, "", ""]
        for asked, limit in _FIGURE3:
            rows.append([*first, asked, seconds, report.met_words(figure["seconds"] < limit)])
            first = [""] * 4
    for failure in content["failed"]:
        asked = _FIGURE3[0][0] if failure["title"] == figure3.TITLE else ""
        met = report.met_words(None)
        rows.append([failure["title"], "none", "", "", asked, failure["message"], met])
    return rows


def _peers(content: dict[str, Any]) -> str:
    """Which peers are not in the table, or were not timed beside ours in the same part."""
    absent: dict[str, list[str]] = {}
    earlier: dict[str, list[str]] = {}
    for case in content["cases"]:
        for row in case["contenders"]:
            if row.get("gap") == LEFT_OUT:
                absent.setdefault(row["contender"], []).append(case["name"])
            if "earlier" in row:
                earlier.setdefault(row["contender"], []).append(case["name"])
    lines = []
    if absent:
        lines.append(f"Left out by --peers: {_in_cases(absent)}.")
    if earlier:
        lines.append(
            f"Timed in an earlier part, with ratios to ours of that part: {_in_cases(earlier)}."
        )
    return " ".join(lines)


def _in_cases(names: dict[str, list[str]]) -> str:
    return "; ".join(f"{name} ({', '.join(cases)})" for name, cases in names.items())


def _ceilings(content: dict[str, Any]) -> str:
    measured = content["ceilings"]
    if measured is None:
        return ""
    copy = measured["copy"]
    barriers = ", ".join(
        f"{row['blocks']} blocks " + (f"{row['microseconds']:.2f} us" if "gap" not in row else "-")
        for row in measured["barrier"]
    )
    return (
        f"Ceilings: a copy on the device moves {copy['gigabytes_per_second']:.0f} GB/s, read and "
        f"written ({copy['bytes'] / 2**30:g} GiB each way); an empty exchange of the resident loop "
        f"takes, with {barriers}."
    )


def _scan(content: dict[str, Any]) -> str:
    """Microseconds a step of a resident run by its number of blocks."""
    if not content["scan"]:
        return ""
    counts = [str(row["blocks"]) for row in content["scan"][0]["rows"]]
    rows = []
    for part in content["scan"]:
        cells = [
            "-" if "gap" in row else report.microseconds(row["median_us"] / 1e6)
            for row in part["rows"]
        ]
        rows.append([part["case"], *cells])
    return page.table(["us a step, blocks:", *counts], rows)
