"""The search for learning rates: of one model, of several side by side, in a grid or in stages."""

from accel._support.names import publish
from accel.tuning.comparison import Comparison, compare
from accel.tuning.grid import GridSearch, grid_search
from accel.tuning.search import Grid, Model, Search, Start, Trial, Tuned

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
