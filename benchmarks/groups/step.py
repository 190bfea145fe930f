"""The group ``step``: one model and one problem, of which one thing at a time is another."""

from dataclasses import replace

from benchmarks.harness import page, report
from benchmarks.harness.cases import OURS, PLAIN_SUM, Case
from benchmarks.harness.records import Record
from benchmarks.harness.registry import Settings
from benchmarks.harness.session import measured

ROUNDS, SECONDS = 9, 0.1
_PEERS = ("NumPy by hand", "PyTorch layerwise", "PyTorch by hand", "JAX by hand")
_GRAM = ("NumPy Gram", "JAX Gram")

_BASE = Case(
    name="",
    title="",
    data="gas",
    dtype="float64",
    p=4.0,
    widths=(),
    learning_rate=1e-4,
    steps=200,
    contenders=(OURS, *_PEERS),
    targets=(),
)


def _case(
    depth: int = 1, width: int = 32, p: float = 4.0, dtype: str = "float64", data: str = "gas"
) -> Case:
    shape = {"gas": "2565x128"}.get(data, data)
    net = "depth 1" if depth == 1 else f"depth {depth}, width {width}"
    short = dtype.replace("loat", "")
    gram = p == 2 and dtype == "float64"
    rate = 1e-6 if depth == 8 else 1e-5 if depth > 1 else 1e-4
    large = len(shape.split("x")[0]) > 4
    further = _GRAM if gram and depth == 1 else (PLAIN_SUM,) if large else ()
    return replace(
        _BASE,
        name=f"{shape}-n{depth}{f'w{width}' if depth > 1 else ''}-p{p:g}-{short}",
        title=f"{shape}, {net}, p = {p:g}, {dtype}{', Gram' if gram else ''}",
        data=data,
        dtype=dtype,
        p=p,
        widths=(width,) * (depth - 1),
        # Gaussian data is well-conditioned: steps long enough to be seen in float32.
        learning_rate=rate if data == "gas" else 10 * rate,
        steps=5 if large else 200,
        contenders=(OURS, *_PEERS, *further),
        form="gram" if gram else "direct",
    )


#: Around the gas problem at depth 1, p = 4, float64. Cases with the same data are neighbours.
CASES = (
    _case(),
    *(_case(depth, width) for depth in (2, 3, 8) for width in (1, 32, 100)),
    *(_case(p=p) for p in (2.0, 2.5, 3.0)),
    *(_case(3, p=p) for p in (2.0, 2.5, 3.0)),
    _case(dtype="float32"),
    _case(3, 100, dtype="float32"),
    _case(p=2.5, dtype="float32"),
    _case(data="2565x128x10"),
    _case(3, data="2565x128x10"),
    _case(data="442x10"),
    _case(3, data="442x10"),
    _case(data="442x10", dtype="float32"),
    _case(data="442x10x10"),
    _case(data="20000x2000"),
    _case(3, data="20000x2000"),
    _case(data="20000x2000", dtype="float32"),
    _case(data="20000x2000x10", dtype="float32"),
    _case(data="1000000x128"),
    _case(3, data="1000000x128", dtype="float32"),
)


def measure(settings: Settings) -> Record:
    # The quick form takes every third: all kinds of contenders, some of the shapes.
    cases = CASES[::3] if settings.quick and not settings.cases else CASES
    return measured("step", cases, settings, ROUNDS, SECONDS)


def markdown(content: Record) -> str:
    return f"{report.header(content)}\n\n{lines(content)}"


def lines(content: Record) -> str:
    """A line a case: ours, and every other contender as a multiple of it."""
    others = [name for case in content["cases"] for name in report.timed_rows(case) if name != OURS]
    others = list(dict.fromkeys(others))
    rows = []
    for case in content["cases"]:
        timed = report.timed_rows(case)
        ours = timed.get(OURS)
        time = report.microseconds(ours["median_us"] / 1e6) if ours else "none"
        cells = [report.ratio_words(timed[name]) if name in timed else "" for name in others]
        rows.append([case["title"], time, *cells])
    header = ["n x d (x k), model", "ours, us a step", *(f"{name} / ours" for name in others)]
    parts = [page.table(header, rows)]
    if gaps := _gaps(content):
        parts.append("Not measured: " + "; ".join(gaps) + ".")
    return "\n\n".join(parts)


summary = markdown


def plots(content: Record) -> dict[str, bytes]:
    """None: `scaling` draws what grows with what."""
    return {}


def _gaps(content: Record) -> list[str]:
    """Who was not timed, and why, once each."""
    rows = [row for case in content["cases"] for row in case["contenders"] if "gap" in row]
    return list(dict.fromkeys(f"{row['contender']} ({row['gap']})" for row in rows))
