"""The tables of the group ``recording``, made of its record."""

from collections.abc import Callable, Sequence

from benchmarks.harness import page, report
from benchmarks.harness.records import Record
from benchmarks.peers.recording import CHEAP, PASSES

#: What a run records: nothing, all that is cheap, the sharpness.
BASE, ALL, SHARPNESS = "nothing", "cheap", "sharpness"


def summary(content: Record) -> str:
    """Contenders side by side, then every quantity of ours alone."""
    cases = content["cases"]
    steps, every = cases[0]["steps"], cases[0]["every"]
    about = (
        f"A network of {cases[0]['title'].partition(', p =')[0]}, {steps} steps, a record at every "
        f"{every}th and at the start. Cheap are {', '.join(CHEAP)}. Milliseconds are those of a "
        f"whole run but where said, in brackets quartiles round by round."
    )
    alone = (
        f"One quantity alone in ours: milliseconds a record, and the share that one at every "
        f"{every}th step adds to a run."
    )
    return "\n\n".join(
        [report.header(content), about, contenders(cases), alone, _alone(cases), *_notes(cases)]
    )


def contenders(cases: Sequence[Record]) -> str:
    """A column a contender."""
    names = [row["contender"] for row in cases[0]["rows"]]
    lines = [line for case in cases for line in _lines(case)]
    header = ["", *names, "target", "met"]
    return page.table(header, lines, text=(0, len(header) - 2, len(header) - 1))


def _lines(case: Record) -> list[list[str]]:
    """The rows of a case."""
    share, passes = case["targets"]["share"], case["targets"]["passes"]
    asked = {
        "they add": (f"must: under {100 * share['most']:g} %", report.met_words(share["met"])),
        "passes over the data a record": (
            f"must: at most {passes['most']}",
            report.met_words(passes["met"]),
        ),
    }
    cells: dict[str, Callable[[Record], str]] = {
        "nothing recorded": lambda row: _milliseconds(row["milliseconds"][BASE]),
        "with all cheap quantities": lambda row: _milliseconds(row["milliseconds"][ALL]),
        "a record of them": lambda row: _with_quartiles(row[ALL]["milliseconds"]),
        "they add": lambda row: _percent(row[ALL]["share"]),
        "with the sharpness": lambda row: _milliseconds(row["milliseconds"][SHARPNESS]),
        "a record of it": lambda row: _with_quartiles(row[SHARPNESS]["milliseconds"]),
        "a record of it in steps": lambda row: f"{row['sharpness_steps']:.0f}",
        "passes over the data a record": _passes,
    }
    return [
        [
            f"p = {case['p']:g}: {words}",
            *("" if "gap" in row else cell(row) for row in case["rows"]),
            *asked.get(words, ("", "")),
        ]
        for words, cell in cells.items()
    ]


def _passes(row: Record) -> str:
    if "passes" not in row:
        return f"{PASSES}"
    return f"{row['passes']['mean']:.1f}, at most {row['passes']['most']}"


def _alone(cases: Sequence[Record]) -> str:
    """A row a quantity, two columns a case."""
    by_name: dict[str, list[str]] = {}
    for case in cases:
        for row in case["quantities"]:
            figures = [_with_quartiles(row["milliseconds"]), f"{100 * row['share'][0]:.1f} %"]
            by_name.setdefault(row["name"], []).extend(figures)
    header = [words for case in cases for words in (f"p = {case['p']:g}, a record", "adds")]
    return page.table(["", *header], [[f"`{name}`", *cells] for name, cells in by_name.items()])


def _notes(cases: Sequence[Record]) -> list[str]:
    """How the runs were made, how far apart their records are, and who is missing."""
    made, gaps = [], []
    for case in cases:
        for row in case["rows"]:
            where = f"{row['contender']} at p = {case['p']:g}"
            if "gap" in row:
                gaps.append(f"{where} ({row['gap']})")
            else:
                made.append(f"{where}: {row['note']}")
    off = {
        kind: max(row["apart"][kind] for case in cases for row in case["rows"] if "gap" not in row)
        for kind in (ALL, SHARPNESS)
    }
    text = (
        f"Methods and variants: {'. '.join(made)}. Apart from records of plain NumPy: at most "
        f"{off['cheap']:.1e}, the sharpness {off['sharpness']:.1e}, relative to the largest value."
    )
    return [text, *([f"Not measured: {', '.join(gaps)}."] if gaps else [])]


def _milliseconds(value: float) -> str:
    return f"{_digits(value)} ms"


def _digits(value: float) -> str:
    """Three significant digits, none of them rounded away before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _with_quartiles(values: Sequence[float]) -> str:
    median, low, high = map(_digits, values)
    return f"{median} ms ({low} to {high})"


def _percent(values: Sequence[float]) -> str:
    median, low, high = (f"{100 * value:.1f}" for value in values)
    return f"{median} % ({low} to {high})"
