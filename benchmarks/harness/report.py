"""From the samples of cases to their records and to Markdown tables."""

from collections.abc import Sequence
from typing import Any

from benchmarks.harness import page, records
from benchmarks.harness.cases import (
    COPY,
    LEFT_OUT,
    NOT_A_DIRECT_PEER,
    OURS,
    PEAK,
    PLAIN_SUM,
    Case,
    Target,
)
from benchmarks.harness.timing import Samples, speedup
from benchmarks.peers import Descent, Sweep


def microseconds(seconds: float) -> str:
    """A time to three significant digits in microseconds, the unit of the targets."""
    value = seconds * 1e6
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def case_record(
    case: Case, source: str, run: Descent | Sweep, samples: Sequence[Samples]
) -> dict[str, Any]:
    """What the tables say of a case: medians, spreads, ratios, gaps; `entries` has the samples."""
    rows, megabytes = [], run.X.nbytes / 1e6
    for s in samples:
        row: dict[str, Any] = {"contender": s.name, "peer": s.name not in NOT_A_DIRECT_PEER}
        if s.gap:
            row["gap"] = s.gap
        else:
            row |= {"median_us": s.median * 1e6, "iqr_us": s.iqr * 1e6, "steps": s.steps}
            if s.note:
                row["note"] = s.note
            if s.layout:
                row["blocks"], row["teams"] = s.layout
            if s.name != OURS and (ratio := speedup(samples, s.name)):
                row["ratio"], row["ratio_quartiles"] = ratio[0], list(ratio[1:])
            row |= rates(case, s.name, run, s.median)
        rows.append(row)
    return {
        "name": case.name,
        "title": case.title,
        "data": source,
        "megabytes": megabytes,
        "contenders": rows,
        "targets": [target_record(target, rows) for target in case.targets],
        "strive_us": case.strive_microseconds,
        "must_us": case.must_microseconds,
    }


def rates(case: Case, name: str, run: Descent | Sweep, seconds: float) -> dict[str, float]:
    """How fast a contender computes, or reads the data, by its seconds a step."""
    if isinstance(run, Sweep) or PEAK in case.contenders:
        return {"gigaflops": 2e-9 * run.multiply_adds / seconds}
    if name in (OURS, PLAIN_SUM, COPY) and case.form == "direct":
        return {"gigabytes_per_second": run.X.nbytes / 1e9 / seconds}
    return {}


def target_record(target: Target, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the `rows` of a case's contenders make of a target.

    A peer that was left out may have been the best one: a target met without it is open.
    """
    timed = [row for row in rows if "ratio" in row]
    if target.against == "best peer":
        peers = [row for row in timed if row["peer"]]
        other = min(peers, key=lambda row: row["median_us"], default=None)
    else:
        other = next((row for row in timed if row["contender"] == target.against), None)
    measured = other["ratio"] if other else None
    met = None if measured is None else measured >= target.speedup
    absent = [row for row in rows if row["peer"] and row.get("gap") == LEFT_OUT]
    return {
        "against": target.against,
        "speedup": target.speedup,
        "strive": target.strive,
        "measured": measured,
        "met": None if met and absent and target.against == "best peer" else met,
    }


def entries(case: Case, source: str, samples: Sequence[Samples]) -> list[dict[str, Any]]:
    """The benchmarks of a case: all samples of every contender that was timed."""
    return [
        records.entry(
            case.title,
            f"{case.name}-{s.name}",
            s.seconds,
            s.steps,
            contender=s.name,
            kind=kind(s.name),
            data=source,
            note=s.note,
        )
        for s in samples
        if s.seconds
    ]


def kind(contender: str) -> str:
    """Whether a contender is "ours", a "peer" or some "other" thing to hold ours to."""
    return "ours" if contender == OURS else "other" if contender in NOT_A_DIRECT_PEER else "peer"


def case_table(record: dict[str, Any]) -> str:
    """Contenders of one case, fastest first, gaps last."""
    rows: list[list[str]] = []
    timed = [row for row in record["contenders"] if "gap" not in row]
    for row in sorted(timed, key=lambda row: row["median_us"]):
        name = f"**{row['contender']}**" if row["contender"] == OURS else row["contender"]
        if "note" in row:
            name += f", {row['note']}"
        if "blocks" in row:
            several = f"{row['teams']} x " if row["teams"] > 1 else ""
            name += f", {several}{row['blocks']} blocks"
        if "earlier" in row:
            name += ", of an earlier part"
        if "gigabytes_per_second" in row:
            name += f" ({row['gigabytes_per_second']:.1f} GB/s)"
        if "gigaflops" in row:
            name += f" ({row['gigaflops']:.0f} GFLOP/s)"
        median, iqr = (microseconds(row[key] / 1e6) for key in ("median_us", "iqr_us"))
        rows.append([name, median, iqr, ratio_words(row)])
    for row in record["contenders"]:
        if "gap" in row:
            rows.append([row["contender"], f"not measured: {row['gap']}", "", ""])
    table = page.table(["contender", "microseconds a step", "IQR", "times ours"], rows)
    return f"### {page.cell(record['title'])}\n\n{page.cell(record['data'])}\n\n{table}"


def ratio_words(row: dict[str, Any]) -> str:
    if "ratio" not in row:
        return ""
    low, high = row["ratio_quartiles"]
    return f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def timed_rows(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of the contenders that were timed, by name."""
    return {row["contender"]: row for row in case["contenders"] if "gap" not in row}


def _beside_the_best(case: dict[str, Any]) -> list[str]:
    """A case's title, our time, the best peer and its time, and theirs by ours."""
    rows = timed_rows(case)
    peers = [row for row in rows.values() if row["peer"]]
    best = min(peers, key=lambda row: row["median_us"], default=None)
    return [
        case["title"],
        _time(rows[OURS]) if OURS in rows else "none",
        f"{best['contender']}, {_time(best)}" if best else "none",
        ratio_words(best) if best else "",
    ]


def brief_table(content: dict[str, Any], names: Sequence[str]) -> str:
    """A line a case, of those that are named, without targets."""
    lines = [_beside_the_best(case) for case in content["cases"] if case["name"] in names]
    return page.table(["case", "ours", "best peer", "best peer / ours"], lines, text=(0,))


def summary_table(content: dict[str, Any], further: Sequence[Sequence[str]] = ()) -> str:
    """One line a target, below the case's own figures; then the start-up, and `further` rows."""
    header = ["case", "ours", "best peer", "best peer / ours", "target", "measured", "met"]
    lines: list[Sequence[str]] = []
    for case in content["cases"]:
        rows = timed_rows(case)
        figures = _beside_the_best(case)
        ours = figures[1]
        targets = [
            (*_target_words(target, rows.get(target["against"])), _met(target))
            for target in case["targets"]
        ]
        if OURS in rows:
            for asked, limit in _times_asked(case):
                targets.append((asked, ours, met_words(rows[OURS]["median_us"] <= limit)))
        for target in targets or [("", "", "")]:
            lines.append([*figures, *target])
            figures = [""] * len(figures)
    for figure in content.get("startup", ()):
        seconds, met = f"{figure['seconds']:.2f} s", met_words(figure["seconds"] < figure["must"])
        asked = f"must: under {figure['must']:g} s"
        lines.append([figure["name"], seconds, "", "", asked, seconds, met])
    return page.table(header, [*lines, *further], text=(0, 4, 6))


def furthest(content: dict[str, Any], count: int = 3) -> list[str]:
    """The targets that were missed by the largest factors, in words, one of a case."""
    missed = []
    for case in content["cases"]:
        rows = timed_rows(case)
        shares = []
        for target in case["targets"]:
            if target["met"] is False:
                words = _target_words(target, rows.get(target["against"]))
                shares.append((target["measured"] / target["speedup"], *words))
        if OURS in rows:
            time = rows[OURS]["median_us"]
            shares += [
                (limit / time, asked, _time(rows[OURS]))
                for asked, limit in _times_asked(case)
                if time > limit
            ]
        if shares:
            share, asked, measured = min(shares)
            missed.append((share, f"{case['title']} ({asked}; measured: {measured})"))
    return [words for _, words in sorted(missed)[:count]]


def _times_asked(case: dict[str, Any]) -> list[tuple[str, float]]:
    """What a step of ours may take, in words and in microseconds; old records have no must."""
    asked = (("must", case.get("must_us")), ("strive", case["strive_us"]))
    return [(f"{word}: {limit:g} us", limit) for word, limit in asked if limit]


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


def _met(target: dict[str, Any]) -> str:
    if target["met"] is None and target["measured"] is not None:
        return "open: a peer is left out"
    return met_words(target["met"])


def met_words(met: bool | None) -> str:
    return "not measured" if met is None else "yes" if met else "**no**"


def header(content: dict[str, Any]) -> str:
    """Machine, versions and how it was measured, in one line."""
    form = " of the quick form" if content["quick"] else ""
    return f"{machine_line(content)}; medians of {content['rounds']} interleaved rounds{form}."


def machine_line(content: dict[str, Any]) -> str:
    """CPU or GPU, threads, date, versions and BLAS."""
    about = content["machine"]
    device = f"{about['device']['name']}, host " if "device" in about else ""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    blas = ", ".join(
        f"{b['internal_api']} {b['version']} ({b['architecture']} kernels)"
        for b in about.get("blas", ())
    )
    return (
        f"{device}{about['cpu']}, {about['cpus_in_use']} threads each, {content['date']}; "
        f"{versions}; BLAS: {blas or 'unknown'}"
    )
