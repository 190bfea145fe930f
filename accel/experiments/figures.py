"""Every figure by its key."""

from accel.experiments import figure2, figure3, figure4, figure5, figure5_right
from accel.experiments.curves import Figure

__all__ = ["KEYS", "LINEAR"]

#: The figures of linear networks.
LINEAR: dict[str, Figure] = {
    figure.key: figure
    for module in (figure2, figure3, figure4, figure5)
    for figure in module.FIGURES
}
KEYS = (*LINEAR, figure5_right.KEY)
