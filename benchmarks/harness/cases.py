"""The cases of the step benchmark: data, model, contenders and the targets each is held to."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks import peers
from benchmarks.harness.data import load
from benchmarks.peers import Descent, Stepper, Sweep

OURS, OURS_DEPTH_1, OURS_P_4 = "accel", "accel, depth 1", "accel, p = 4"
PLAIN_SUM, LIMIT = "a plain sum over X", "limit in C"
SINGLE_RUNS, PEAK = "accel, 64 single runs", "peak multiply-adds"
COPY = "a device copy"  # on a GPU, of as many bytes read and written as X has
LEFT_OUT = "left out by --peers"  # the gap of a contender that --peers does not name


class Contenders(NamedTuple):
    """Ways to build each contender, by name; a step of a sweep is one of all its models.

    Those that are `slow` to build, since a compiler runs for many seconds, are left out of the
    quick form.
    """

    descents: dict[str, Callable[[Descent], Stepper]]
    sweeps: dict[str, Callable[[Sweep], Stepper]]
    slow: tuple[str, ...]

    def build(self, name: str, run: Descent | Sweep, **options: Any) -> Stepper:
        """A contender by its name."""
        by_name = self.sweeps if isinstance(run, Sweep) else self.descents
        return by_name[name](run, **options)

    def left_out(self, quick: bool) -> dict[str, str]:
        """Who is not built in a form, and why."""
        return dict.fromkeys(self.slow, "left out of the quick form") if quick else {}


ON_CPU = Contenders(
    descents={
        OURS: peers.ours,
        OURS_DEPTH_1: peers.ours_depth_1,
        OURS_P_4: peers.ours_p_4,
        LIMIT: peers.limit_in_c,
        "NumPy by hand": peers.numpy_by_hand,
        "NumPy by hand, 1 thread": functools.partial(peers.numpy_by_hand, threads=1),
        "NumPy Gram": peers.numpy_gram,
        "PyTorch layerwise": peers.torch_layerwise,
        "PyTorch factors first": peers.torch_factors_first,
        "PyTorch by hand": peers.torch_by_hand,
        "PyTorch compiled": peers.torch_compiled,
        "JAX layerwise": peers.jax_layerwise,
        "JAX factors first": peers.jax_factors_first,
        "JAX by hand": peers.jax_by_hand,
        "JAX Gram": peers.jax_gram,
        PLAIN_SUM: peers.read_once,
    },
    sweeps={
        OURS: peers.our_sweep,
        SINGLE_RUNS: peers.our_single_runs,
        "NumPy by hand": peers.numpy_sweep,
        "NumPy by hand, Gram": peers.numpy_sweep_gram,
        "PyTorch by hand": peers.torch_sweep,
        "JAX vmap": peers.jax_vmap,
        "JAX vmap, Gram": peers.jax_gram_vmap,
        "JAX by hand": peers.jax_sweep,
        PEAK: peers.multiply_adds_alone,
    },
    slow=("PyTorch compiled",),
)

#: Shown for comparison, but not what a target means by "the best peer".
NOT_A_DIRECT_PEER = {
    OURS,
    OURS_DEPTH_1,
    OURS_P_4,
    LIMIT,
    "NumPy Gram",
    "JAX Gram",
    PLAIN_SUM,
    SINGLE_RUNS,
    PEAK,
    COPY,
}

#: No iterate to hold to the reference, or one of another model.
NOT_A_DESCENT = {OURS_DEPTH_1, OURS_P_4, PLAIN_SUM, PEAK, COPY}

# At depth 1 "layerwise" and "factors first" are one and the same.
DEPTH_1 = (
    OURS,
    "NumPy by hand",
    "NumPy by hand, 1 thread",
    "PyTorch layerwise",
    "PyTorch by hand",
    "PyTorch compiled",
    "JAX layerwise",
    "JAX by hand",
)
BY_HAND = (OURS, "NumPy by hand", "PyTorch by hand", "JAX by hand")
DEEP = (*DEPTH_1, "PyTorch factors first", "JAX factors first")
SWEEP_PEERS = ("NumPy by hand", "PyTorch by hand", "JAX vmap", "JAX by hand")
SWEEP = (OURS, SINGLE_RUNS, *SWEEP_PEERS, PEAK)
GRAM_SWEEP = (OURS, SINGLE_RUNS, "NumPy by hand, Gram", "JAX vmap, Gram", PEAK)


@dataclass(frozen=True)
class Target:
    """Ours is to be at least `speedup` times as fast as `against`: a contender or "best peer"."""

    against: str
    speedup: float
    strive: bool = False


@dataclass(frozen=True)
class Case:
    """One row of the table of targets.

    `widths` are the hidden ones; `steps` is what one round of the pytest suite runs, the same for
    every contender so that its table compares like with like. With several `models` the case is a
    sweep: their rates run geometrically from a tenth of the learning rate up to it. A step of ours
    may take `must_microseconds`. At p = 2 the `form` of ours may be another one, see `Descent`.
    """

    name: str
    title: str
    data: str
    dtype: str
    p: float
    widths: tuple[int, ...]
    learning_rate: float
    steps: int
    contenders: tuple[str, ...]
    targets: tuple[Target, ...]
    strive_microseconds: float | None = None
    must_microseconds: float | None = None
    form: str = "direct"
    models: int = 1

    def descent(
        self, threads: int, quick: bool = False, load: Callable[..., Any] = load
    ) -> tuple[Descent | Sweep, str]:
        """The run every contender makes, and where its data come from.

        The start is deterministic and of moderate size, so that gradients are neither zero nor
        subnormal: factors with about unit gain, of width 1 exactly 1.
        """
        X, Y, source = load(self.data, self.dtype, quick)
        widths = (X.shape[1], *self.widths, Y.shape[1])
        rng = np.random.default_rng(0)
        factors = [
            rng.standard_normal((rows, columns)) / columns**0.5
            if columns > 1
            else np.ones((rows, 1))
            for rows, columns in zip(widths[1:], widths[:-1], strict=True)
        ]
        params = np.concatenate([0.3 * factors[0].ravel(), *(f.ravel() for f in factors[1:])])
        rate = self.learning_rate
        run = Descent(X, Y, self.p, widths, params.astype(self.dtype), rate, self.form, threads)
        if self.models == 1:
            return run, source
        rates = np.geomspace(rate / 10, rate, self.models)
        return Sweep(tuple(replace(run, learning_rate=float(r)) for r in rates)), source


#: How far a step may be from the limit, and a sweep from JAX and from the peak.
_NEAR_LIMIT = (Target(LIMIT, 1 / 1.35), Target(LIMIT, 1 / 1.15, strive=True))
_SWEEP = (
    Target("JAX vmap", 1.5),
    Target("JAX vmap", 1.8, strive=True),
    Target(PEAK, 0.7),
    Target(PEAK, 0.8, strive=True),
)


def _power(dtype: str) -> Case:
    return Case(
        name=f"p25-{dtype.replace('loat', '')}",
        title=f"depth 1, {dtype}, p = 2.5",
        data="gas",
        dtype=dtype,
        p=2.5,
        widths=(),
        learning_rate=1e-4,
        steps=1000,
        contenders=(*BY_HAND, OURS_P_4),
        targets=(Target(OURS_P_4, 1 / 1.25), Target(OURS_P_4, 1 / 1.1, strive=True)),
    )


def _small(
    name: str, title: str, data: str, rate: float, must: float, models: int = 1, **options: Any
) -> Case:
    """Data within the first-level cache, float64, p = 4; `must` and half of it in microseconds."""
    fields: dict[str, Any] = {"widths": (), "steps": 100_000 if data == "two-points" else 20_000}
    if models > 1:
        fields |= {"steps": 200, "contenders": (OURS, *SWEEP_PEERS)}
    else:
        fields |= {"contenders": (*BY_HAND, LIMIT)}
    return Case(
        name=f"{name}-f64",
        title=f"{title}, float64, p = 4",
        data=data,
        dtype="float64",
        p=4.0,
        learning_rate=rate,
        targets=(),
        must_microseconds=must,
        strive_microseconds=must / 2,
        models=models,
        **fields | options,
    )


CASES = (
    Case(
        name="depth1-f64",
        title="depth 1, float64, p = 4",
        data="gas",
        dtype="float64",
        p=4.0,
        widths=(),
        learning_rate=1e-4,
        steps=1000,
        contenders=(*DEPTH_1, LIMIT),
        targets=(Target("best peer", 4.0), *_NEAR_LIMIT),
        strive_microseconds=24.0,
    ),
    Case(
        name="depth1-f32",
        title="depth 1, float32, p = 4",
        data="gas",
        dtype="float32",
        p=4.0,
        widths=(),
        learning_rate=1e-4,
        steps=1000,
        contenders=(*DEPTH_1, LIMIT),
        targets=(Target("best peer", 2.0), *_NEAR_LIMIT),
        strive_microseconds=10.5,
    ),
    Case(
        name="wide-f64",
        title="128-100-100-1, float64, p = 4",
        data="gas",
        dtype="float64",
        p=4.0,
        widths=(100, 100),
        learning_rate=1e-5,
        steps=500,
        contenders=DEEP,
        targets=(Target("best peer", 8.0), Target("PyTorch layerwise", 80.0)),
        strive_microseconds=35.0,
    ),
    Case(
        name="depth8-f64",
        title="depth 8, width 1, float64, p = 4",
        data="gas",
        dtype="float64",
        p=4.0,
        widths=(1,) * 7,
        learning_rate=1e-6,
        steps=1000,
        contenders=(OURS, OURS_DEPTH_1, "NumPy by hand", "PyTorch factors first", "JAX by hand"),
        targets=(Target(OURS_DEPTH_1, 1 / 1.15), Target(OURS_DEPTH_1, 1 / 1.05, strive=True)),
    ),
    Case(
        name="gram-f64",
        title="depth 1, float64, p = 2, Gram path",
        data="gas",
        dtype="float64",
        p=2.0,
        widths=(),
        learning_rate=1e-3,
        steps=1000,
        contenders=(*DEPTH_1, "NumPy Gram", "JAX Gram"),
        targets=(Target("best peer", 20.0),),
        strive_microseconds=3.0,
        form="gram",
    ),
    Case(
        name="tall-f32",
        title="1 000 000 x 128, depth 1, float32, p = 4",
        data="tall",
        dtype="float32",
        p=4.0,
        widths=(),
        learning_rate=1e-4,
        steps=5,
        contenders=(*DEPTH_1, PLAIN_SUM, LIMIT),
        targets=(
            Target("best peer", 1.5),
            Target(PLAIN_SUM, 0.8),
            Target(PLAIN_SUM, 0.88, strive=True),
        ),
    ),
    Case(
        name="outputs32-f32",
        title="100 000 x 256 to 32 outputs, depth 2, float32, p = 4",
        data="outputs",
        dtype="float32",
        p=4.0,
        widths=(32,),
        learning_rate=1e-5,
        steps=10,
        contenders=DEEP,
        targets=(Target("best peer", 1.3), Target("best peer", 1.6, strive=True)),
    ),
    Case(
        name="sweep64-f64",
        title="64 learning rates at once, depth 1, float64, p = 4",
        data="gas",
        dtype="float64",
        p=4.0,
        widths=(),
        learning_rate=1e-4,
        steps=20,
        contenders=SWEEP,
        targets=_SWEEP,
        models=64,
    ),
    Case(
        name="sweep64-f32",
        title="64 learning rates at once, depth 1, float32, p = 4",
        data="gas",
        dtype="float32",
        p=4.0,
        widths=(),
        learning_rate=1e-4,
        steps=20,
        contenders=SWEEP,
        targets=_SWEEP,
        models=64,
    ),
    Case(
        name="sweep64-depth3-f64",
        title="64 learning rates at once, depth 3, width 1, float64, p = 4",
        data="gas",
        dtype="float64",
        p=4.0,
        widths=(1, 1),
        learning_rate=1e-4,
        steps=20,
        contenders=SWEEP,
        targets=_SWEEP,
        models=64,
    ),
    Case(
        name="sweep64-gram-f64",
        title="64 learning rates at once, depth 1, float64, p = 2, Gram path",
        data="gas",
        dtype="float64",
        p=2.0,
        widths=(),
        learning_rate=1e-3,
        steps=100,
        contenders=GRAM_SWEEP,
        targets=(
            Target(SINGLE_RUNS, 2.5, strive=True),
            Target("JAX vmap, Gram", 2.0, strive=True),
            Target(PEAK, 0.7, strive=True),
        ),
        form="gram",
        models=64,
    ),
    _power("float64"),
    _power("float32"),
    _small("diabetes", "442 x 10, depth 1", "diabetes", 1e-3, 0.9),
    _small(
        "sweep64-diabetes",
        "64 learning rates at once, 442 x 10, depth 1",
        "diabetes",
        1e-3,
        64 * 0.9,
        models=64,
    ),
    _small("two-points", "2 x 2, depth 1", "two-points", 1e-4, 0.15),
    _small("two-points-depth3", "2 x 2, depth 3, width 1", "two-points", 1e-5, 0.15, widths=(1, 1)),
    _small(
        "sweep256-two-points",
        "256 learning rates at once, 2 x 2, depth 1",
        "two-points",
        1e-4,
        256 * 0.1,
        models=256,
    ),
)
