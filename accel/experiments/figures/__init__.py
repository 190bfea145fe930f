"""The figures of linear networks in Arora, Cohen and Hazan (2018), and one of our own."""

from accel.experiments.figures import figure2, figure3, figure4, figure5, momentum
from accel.experiments.figures.curves import Figure

__all__ = ["LINEAR"]

#: Every figure by its key.
LINEAR: dict[str, Figure] = {
    figure.key: figure
    for module in (figure2, figure3, figure4, figure5, momentum)
    for figure in module.FIGURES
}
