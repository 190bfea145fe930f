"""Searches for learning rates.

``grid_search`` tunes one model by sweeps over a grid of rates. ``compare`` tunes several models,
each by a ``Search``, which makes one run at a time.
"""

from accel._support.names import publish
from accel.tuning.comparison import Comparison, compare
from accel.tuning.found import GridSearch
from accel.tuning.models import Model, Start
from accel.tuning.sweeps import grid_search
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
