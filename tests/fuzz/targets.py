"""The targets of fuzzing: a strategy for cases, and a check of each case."""

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import Phase
from hypothesis import strategies as st

from . import loaders, own_files, runs


class Target(NamedTuple):
    """``check(case, folder)`` raises if the case finds something; it writes to the folder only."""

    strategy: Any
    check: Callable[[Any, Any], None]
    phases: tuple[Phase, ...]


_SEEDS = st.integers(0, 2**64 - 1)
_DRAW = (Phase.generate,)  # seeds do not shrink

TARGETS = {
    "uci": Target(_SEEDS, loaders.check_uci, _DRAW),
    "csv": Target(_SEEDS, loaders.check_csv, _DRAW),
    "npz": Target(_SEEDS, loaders.check_npz, _DRAW),
    "npy": Target(_SEEDS, loaders.check_npy, _DRAW),
    "checkpoint": Target(_SEEDS, own_files.check_checkpoint, _DRAW),
    "result": Target(_SEEDS, own_files.check_result, _DRAW),
    "train": Target(runs.cases(), runs.check, (Phase.generate, Phase.shrink)),
}
