"""From samples to the Markdown table and the JSON that the README quotes."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.cases import COPY, NOT_A_DIRECT_PEER, OURS, PEAK, PLAIN_SUM, Case, Target
from benchmarks.peers import Descent, Sweep
from benchmarks.startup import Startup
from benchmarks.timing import Samples, speedup

RESULTS = Path(__file__).parent / "results"


def microseconds(seconds: float) -> str:
    """Three significant digits, in the unit the targets are written in."""
    value = seconds * 1e6
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def case_record(
    case: Case, source: str, run: Descent | Sweep, samples: list[Samples]
) -> dict[str, Any]:
    """All of a case that the JSON keeps: medians, spreads, every sample, every gap."""
    rows, megabytes = [], run.X.nbytes / 1e6
    for s in samples:
        row: dict[str, Any] = {"contender": s.name, "peer": s.name not in NOT_A_DIRECT_PEER}
        if s.gap:
            row["gap"] = s.gap
        else:
            row |= {"median_us": s.median * 1e6, "iqr_us": s.iqr * 1e6, "steps": s.steps}
            row["samples_us"] = [1e6 * seconds for seconds in s.seconds]
            if s.note:
                row["note"] = s.note
            if s.name != OURS and (ratio := speedup(samples, s.name)):
                row["ratio"], row["ratio_quartiles"] = ratio[0], list(ratio[1:])
            if isinstance(run, Sweep):
                row["gigaflops"] = 2e-9 * run.multiply_adds / s.median
            elif s.name in (OURS, PLAIN_SUM, COPY) and not case.gram:
                row["gigabytes_per_second"] = megabytes / 1e3 / s.median
        rows.append(row)
    return {
        "name": case.name,
        "title": case.title,
        "data": source,
        "megabytes": megabytes,
        "contenders": rows,
        "targets": [_target_record(target, samples) for target in case.targets],
        "strive_us": case.strive_microseconds,
    }


def _target_record(target: Target, samples: list[Samples]) -> dict[str, Any]:
    ratio = speedup(samples, target.against)
    return {
        "against": target.against,
        "speedup": target.speedup,
        "strive": target.strive,
        "measured": ratio[0] if ratio else None,
        "met": ratio[0] >= target.speedup if ratio else None,
    }


def document(
    cases: Sequence[dict[str, Any]], startups: Sequence[Startup], rounds: int, quick: bool
) -> dict[str, Any]:
    return {
        "machine": machine.describe(),
        "date": datetime.date.today().isoformat(),
        "rounds": rounds,
        "quick": quick,
        "cases": list(cases),
        "startup": [vars(s) for s in startups],
    }


def write(content: dict[str, Any], path: Path | None = None) -> Path:
    """Write the JSON, by default to ``benchmarks/results/<machine>-<date>.json``."""
    path = path or RESULTS / f"{machine.slug()}-{content['date']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def read(path: Path) -> dict[str, Any]:
    """What `write` has written.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not a JSON file of this suite.
    """
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or not {"machine", "cases", "startup"} <= content.keys():
        raise ValueError("not written by `python -m benchmarks`")
    return content


def case_table(record: dict[str, Any]) -> str:
    """Contenders of one case, fastest first, gaps last."""
    lines = [
        f"### {record['title']}",
        "",
        f"{record['data']}",
        "",
        "| contender | microseconds a step | IQR | times ours |",
        "|---|---:|---:|---:|",
    ]
    timed = [row for row in record["contenders"] if "gap" not in row]
    for row in sorted(timed, key=lambda row: row["median_us"]):
        name = f"**{row['contender']}**" if row["contender"] == OURS else row["contender"]
        if "note" in row:
            name += f", {row['note']}"
        if "gigabytes_per_second" in row:
            name += f" ({row['gigabytes_per_second']:.1f} GB/s)"
        if "gigaflops" in row:
            name += f" ({row['gigaflops']:.0f} GFLOP/s)"
        median, iqr = (microseconds(row[key] / 1e6) for key in ("median_us", "iqr_us"))
        lines.append(f"| {name} | {median} | {iqr} | {_ratio(row)} |")
    for row in record["contenders"]:
        if "gap" in row:
            lines.append(f"| {row['contender']} | not measured: {row['gap']} | | |")
    return "\n".join(lines)


def _ratio(row: dict[str, Any]) -> str:
    if "ratio" not in row:
        return ""
    low, high = row["ratio_quartiles"]
    return f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def summary(content: dict[str, Any]) -> str:
    """What the README quotes: the machine, and every figure next to what is asked of it."""
    return f"{header(content)}\n\n{summary_table(content)}"


def summary_table(content: dict[str, Any]) -> str:
    """One line a target, below the case's own figures; then the start-up."""
    lines = [
        "| case | ours | best peer | best peer / ours | target | measured | met |",
        "|---|---:|---:|---:|---|---:|---|",
    ]
    for case in content["cases"]:
        rows = {row["contender"]: row for row in case["contenders"] if "gap" not in row}
        peers = [row for row in rows.values() if row["peer"]]
        best = min(peers, key=lambda row: row["median_us"], default=None)
        ours = _time(rows[OURS]) if OURS in rows else "none"
        figures = [
            case["title"],
            ours,
            f"{best['contender']}, {_time(best)}" if best else "none",
            _ratio(best) if best else "",
        ]
        targets = [
            (*_target_words(target, rows.get(target["against"])), _met(target["met"]))
            for target in case["targets"]
        ]
        if case["strive_us"] and OURS in rows:
            met = _met(rows[OURS]["median_us"] <= case["strive_us"])
            targets.append((f"strive: {case['strive_us']:g} us", ours, met))
        for target in targets or [("", "", "")]:
            lines.append(f"| {' | '.join([*figures, *target])} |")
            figures = [""] * len(figures)
    for found in content["startup"]:
        seconds = f"{found['seconds']:.2f} s"
        asked, met = f"must: under {found['must']:g} s", _met(found["seconds"] < found["must"])
        lines.append(f"| {found['name']} | {seconds} | | | {asked} | {seconds} | {met} |")
    return "\n".join(lines)


def _time(row: dict[str, Any]) -> str:
    return f"{microseconds(row['median_us'] / 1e6)} us"


def _target_words(target: dict[str, Any], row: dict[str, Any] | None) -> tuple[str, str]:
    """What is asked and what was measured, both in the words of the target's kind.

    `row` is the contender that the target names; none for the best peer, whose ratio has its own
    column with its spread.
    """
    word, against = "strive" if target["strive"] else "must", target["against"]
    asked, measured = target["speedup"], target["measured"]
    ceilings = {
        PLAIN_SUM: "the bandwidth of",
        COPY: "the bandwidth of",
        PEAK: "the rate of",
    }
    slower = asked < 1 and against not in ceilings
    if against in ceilings:
        words, form = f"{asked:.0%} of {ceilings[against]} {against}", "{:.0%}"
    elif slower:
        words, form = f"at most {1 / asked:.2f}x the time of {against}", "{:.2f}x"
    else:
        words, form = f"{asked:g}x faster than {against}", "{:.2f}x"

    def value(ratio: float) -> str:
        return form.format(1 / ratio if slower else ratio)

    if measured is None:
        return f"{word}: {words}", "none"
    if row is None:
        return f"{word}: {words}", value(measured)
    low, high = sorted(row["ratio_quartiles"], reverse=slower)
    return f"{word}: {words}", f"{value(measured)} ({value(low)} to {value(high)})"


def _met(met: bool | None) -> str:
    return "not measured" if met is None else "yes" if met else "**no**"


def header(content: dict[str, Any]) -> str:
    about = content["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    blas = ", ".join(
        f"{b['internal_api']} {b['version']} ({b['architecture']} kernels)" for b in about["blas"]
    )
    form = " of the quick form" if content["quick"] else ""
    return (
        f"{about['cpu']}, {about['cpus_in_use']} threads each, {content['date']}; {versions}; "
        f"BLAS: {blas or 'unknown'}; medians of {content['rounds']} interleaved rounds{form}."
    )
