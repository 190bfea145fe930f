"""The cases on a GPU: contenders and the targets each is held to."""

import functools
from collections.abc import Callable

from benchmarks.cases import COPY, OURS, SINGLE_RUNS, Case, Target
from benchmarks.gpu import peers
from benchmarks.peers import Descent, Run, Sweep, our_single_runs, our_sweep, ours

BY_HAND, GRAPH, COMPILED = "CuPy by hand", "PyTorch CUDA graph", "PyTorch compiled"

#: Numbers of blocks of a resident run that are tried in turn, for the constants of the cost model.
BLOCKS = (8, 16, 24, 32, 48, 64, 96, 132)

CONTENDERS: dict[str, Callable[[Descent], Run]] = {
    OURS: functools.partial(ours, backend="cuda"),
    BY_HAND: peers.cupy_by_hand,
    "CuPy fused": peers.cupy_fused,
    "PyTorch eager": peers.torch_eager,
    GRAPH: peers.torch_graph,
    COMPILED: peers.torch_compiled,
    "JAX scan": peers.jax_scan,
    COPY: peers.copy_half,
}

SWEEPERS: dict[str, Callable[[Sweep], Run]] = {
    OURS: functools.partial(our_sweep, backend="cuda"),
    SINGLE_RUNS: functools.partial(our_single_runs, backend="cuda"),
    BY_HAND: peers.cupy_sweep,
    GRAPH: peers.torch_sweep_graph,
    "JAX scan": peers.jax_sweep_scan,
    "JAX vmap": peers.jax_vmap_scan,
}

#: Left out of the quick form: a compiler run of some ten seconds each.
SLOW = (COMPILED,)

_ALL = tuple(name for name in CONTENDERS if name != COPY)
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
        contenders=tuple(SWEEPERS),
        targets=(Target(SINGLE_RUNS, 4.0),),
        models=64,
    )


CASES = (
    _gas("float32", (), 1e-4, _RATIOS, 4.0, "depth1"),
    _gas("float32", (1, 1), 1e-5, _RATIOS, 4.0, "depth3"),
    _gas("float64", (), 1e-4, _RATIOS, 6.0, "depth1"),
    _gas("float64", (1, 1), 1e-5, _RATIOS, 6.0, "depth3"),
    _gas("float32", (100, 100), 1e-5, (Target("best peer", 4.0),), 8.0, "wide"),
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
    _sweep("float32"),
    _sweep("float64"),
)

#: Whose data the numbers of blocks are tried on.
SCANNED = ("depth1-f32", "depth1-f64")
