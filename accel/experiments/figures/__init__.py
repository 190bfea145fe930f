"""The figures of linear networks in Arora, Cohen and Hazan (2018), one module a figure."""

from accel.experiments.figures import figure2, figure3, figure4, figure5
from accel.experiments.figures.curves import Figure

__all__ = ["LINEAR"]

#: Every figure by its key.
LINEAR: dict[str, Figure] = {
    figure.key: figure
    for module in (figure2, figure3, figure4, figure5)
    for figure in module.FIGURES
}
