"""The cases on a GPU: contenders and the targets each is held to."""

import functools

from benchmarks.harness.cases import COPY, OURS, SINGLE_RUNS, Case, Contenders, Target
from benchmarks.peers import cuda, our_single_runs, our_sweep, ours

BY_HAND, GRAPH, COMPILED = "CuPy by hand", "PyTorch CUDA graph", "PyTorch compiled"

#: Numbers of blocks of a resident run that are tried in turn, for the constants of the cost model.
BLOCKS = (8, 16, 24, 32, 48, 64, 96, 132)

ON_GPU = Contenders(
    descents={
        OURS: functools.partial(ours, backend="cuda"),
        BY_HAND: cuda.cupy_by_hand,
        "CuPy fused": cuda.cupy_fused,
        "PyTorch eager": cuda.torch_eager,
        GRAPH: cuda.torch_graph,
        COMPILED: cuda.torch_compiled,
        "JAX scan": cuda.jax_scan,
        COPY: cuda.copy_half,
    },
    sweeps={
        OURS: functools.partial(our_sweep, backend="cuda"),
        SINGLE_RUNS: functools.partial(our_single_runs, backend="cuda"),
        BY_HAND: cuda.cupy_sweep,
        GRAPH: cuda.torch_sweep_graph,
        "JAX scan": cuda.jax_sweep_scan,
        "JAX vmap": cuda.jax_vmap_scan,
    },
    slow=(COMPILED,),
)

#: What ``--peers`` calls the contenders that are not ours.
PEERS = {
    "cupy": BY_HAND,
    "cupy-fused": "CuPy fused",
    "torch-eager": "PyTorch eager",
    "torch-graph": GRAPH,
    "torch-compiled": COMPILED,
    "jax": "JAX scan",
    "jax-vmap": "JAX vmap",
    "copy": COPY,
}

_ALL = tuple(name for name in ON_GPU.descents if name != COPY)
_RATIOS = (Target(BY_HAND, 10.0), Target(GRAPH, 4.0))


def _gas(
    dtype: str,
    widths: tuple[int, ...],
    rate: float,
    targets: tuple[Target, ...],
    strive: float,
    name: str,
) -> Case:
    chain = "-".join(map(str, (128, *widths, 1))) if max(widths, default=1) > 1 else ""
    depth = f"depth {len(widths) + 1}" + (", width 1" if widths else "")
    return Case(
        name=f"{name}-{dtype.replace('loat', '')}",
        title=f"gas problem, {chain or depth}, {dtype}",
        data="gas",
        dtype=dtype,
        p=4.0,
        widths=widths,
        learning_rate=rate,
        steps=1000,
        contenders=_ALL,
        targets=targets,
        strive_microseconds=strive,
    )


def _sweep(dtype: str) -> Case:
    return Case(
        name=f"sweep64-{dtype.replace('loat', '')}",
        title=f"64 learning rates at once, gas problem, depth 1, {dtype}",
        data="gas",
        dtype=dtype,
        p=4.0,
        widths=(),
        learning_rate=1e-4,
        steps=100,
        contenders=tuple(ON_GPU.sweeps),
        targets=(Target(SINGLE_RUNS, 4.0),),
        models=64,
    )


def _square(width: int, dtype: str) -> Case:
    """As many samples, features and outputs as a hidden layer is wide, depth 3."""
    return Case(
        name=f"square{width}-{dtype.replace('loat', '')}",
        title=f"{width} x {width}, depth 3, p = 2, {dtype}",
        data=f"{width}x{width}x{width}",
        dtype=dtype,
        p=2.0,
        widths=(width, width),
        learning_rate=1e-4,
        steps=200,
        contenders=(OURS, BY_HAND, "PyTorch eager", GRAPH, "JAX scan"),
        targets=(Target("best peer", 2.0),),
    )


#: The most valuable first, for runs that are short of time.
CASES = (
    _gas("float32", (), 1e-4, _RATIOS, 4.0, "depth1"),
    _gas("float64", (), 1e-4, _RATIOS, 6.0, "depth1"),
    Case(
        name="vast-f32",
        title="8 000 000 x 128, depth 1, float32",
        data="vast",
        dtype="float32",
        p=4.0,
        widths=(),
        learning_rate=1e-4,
        steps=20,
        contenders=(*_ALL, COPY),
        targets=(Target("best peer", 1.5), Target(COPY, 0.85, strive=True)),
    ),
    _gas("float32", (100, 100), 1e-5, (Target("best peer", 4.0),), 8.0, "wide"),
    _square(100, "float64"),
    _square(200, "float64"),
    _sweep("float32"),
    _sweep("float64"),
    _gas("float32", (1, 1), 1e-5, _RATIOS, 4.0, "depth3"),
    _gas("float64", (1, 1), 1e-5, _RATIOS, 6.0, "depth3"),
)

#: Cases on whose data every number of blocks is tried, for the planner's costs.
SCANNED = ("depth1-f32", "depth1-f64")

#: What else is run, beside the cases.
CEILINGS, SCAN, FIGURE = "ceilings", "scan", "figure3"


def in_order() -> list[str]:
    """Names of all that can be run, the most valuable first."""
    others = [case.name for case in CASES if case.name not in SCANNED]
    return [CEILINGS, *SCANNED, SCAN, *others, FIGURE]


def left_out(peers: str | None) -> frozenset[str]:
    """The contenders that ``--peers`` leaves out: its names with commas between, "none" for none.

    Raises
    ------
    ValueError
        If there is no peer of a name.
    """
    if peers is None:
        return frozenset()
    wanted = set() if peers == "none" else {name.strip() for name in peers.split(",")}
    if unknown := sorted(wanted - set(PEERS)):
        words = ", ".join(name or "''" for name in unknown)
        raise ValueError(f"unknown peer {words}; known: {', '.join(PEERS)}, or none")
    return frozenset(contender for name, contender in PEERS.items() if name not in wanted)
