"""Searches for learning rates.

``grid_search`` tunes one model, ``compare`` several, each by a ``Search``.
"""

from accel._support.names import publish
from accel.tuning.comparison import Comparison, compare
from accel.tuning.models import Model, Start
from accel.tuning.sweeps import GridSearch, grid_search
from accel.tuning.trials import Grid, Trial, Tuned
from accel.tuning.walk import Search

__all__ = [
    "Comparison",
    "Grid",
    "GridSearch",
    "Model",
    "Search",
    "Start",
    "Trial",
    "Tuned",
    "compare",
    "grid_search",
]

publish(__name__, globals(), __all__)
