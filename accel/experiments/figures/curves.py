"""What a figure of the paper consists of: curves, lines that show them, and claims about both."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from accel.tuning import Model, Start
from accel.tuning.stages import GRID

__all__ = ["MOMENTUM", "PLAIN", "Claim", "Curve", "Figure", "Line", "Panel", "is_off", "near_zero"]

#: The readings of the paper under which a claim may be judged.
PLAIN, MOMENTUM = "plain descent", "momentum 0.9"

_OFF = 2.0
_SIZE = 1e-6  # root mean square of the entries of the end-to-end matrix at a near-zero start

Ends = Mapping[str, float]  # the distance at which every line of a figure ends, by label


@dataclass(frozen=True)
class Curve:
    """A model on a problem, trained for so many steps.

    Attributes
    ----------
    p : float
        Exponent of the loss.
    model : Model
    start : Start
    steps : int
    point : int or None
        Of ``GRID``: the learning rate. None for the best one of the curve's own search.
    """

    p: float
    model: Model
    start: Start
    steps: int
    point: int | None = None

    @property
    def name(self) -> str:
        """The name of its files, which contains everything in which two curves can differ."""
        width = "" if self.start.width in (None, 1) else f"-width{self.start.width}"
        scale = "" if self.start.scale is None else f"-{self.start.scale:.3g}"
        rate = "" if self.point is None else f"-rate{GRID.rate(self.point):.3g}"
        return (
            f"l{self.p:g}-{self.model.optimizer}-depth{self.model.depth}{width}-"
            f"{self.start.init}{scale}-{self.steps}{rate}"
        )

    def changed(self, divisor: int, seed: int) -> "Curve":
        """Return the curve with fewer steps and another seed."""
        steps = max(self.steps // divisor, 1)
        return replace(self, steps=steps, start=replace(self.start, seed=seed))


@dataclass(frozen=True)
class Line:
    """A curve as a figure shows it.

    Attributes
    ----------
    label : str
        Unique in its figure.
    curve : Curve
    published : float or None
        Distance from the optimum at the last step, read off the paper's curve (within 10 %). None
        in a figure that the paper does not have.
    other : bool
        Whether a line before it is of the same optimiser and depth, with other widths, another
        start or another rate: it is drawn with other dashes.
    """

    label: str
    curve: Curve
    published: float | None
    other: bool = False

    def ratio(self, distance: float) -> float | None:
        """Return a distance relative to the published one."""
        return None if self.published is None else distance / self.published


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper about a figure, as a test of the distances at which lines end.

    Attributes
    ----------
    text : str
    labels : tuple of str
        The lines it is about.
    holds : callable
        Of as many distances.
    reading : str or None
        What the lines are taken to be, where the paper can be read in more than one way.
    banded : bool
        Whether what it says hangs on which rate just survives: then it is judged at every place of
        a band of rates and seeds, see ``accel.experiments.bands``, and holds if it does at each.
    """

    text: str
    labels: tuple[str, ...]
    holds: Callable[..., bool]
    reading: str | None = None
    banded: bool = False

    def __call__(self, ends: Ends) -> bool:
        """Whether it holds; it does not if one of its lines diverged at every rate."""
        values = [ends[label] for label in self.labels]
        return all(map(math.isfinite, values)) and bool(self.holds(*values))


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Attributes
    ----------
    key : str
        As ``accel reproduce --figures`` takes it.
    title : str
    panels : tuple of Panel
    claims : tuple of Claim
    notes : tuple of str
        Choices that the paper leaves open, and what is known about differences from it.
    families : tuple of tuple of str
        Labels of lines to be compared at one common learning rate as well.
    crossings : tuple of tuple of str
        Labels of lines of which is told where one falls below another for good.
    about : str or None
        What a figure shows that is not the paper's.
    """

    key: str
    title: str
    panels: tuple[Panel, ...]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...] = ()
    families: tuple[tuple[str, ...], ...] = ()
    crossings: tuple[tuple[str, ...], ...] = ()
    about: str | None = None

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines of all panels."""
        return tuple(line for panel in self.panels for line in panel.lines)

    @property
    def banded(self) -> tuple[str, ...]:
        """Labels of the lines of claims that are judged over a band of rates and seeds."""
        labels = (label for claim in self.claims if claim.banded for label in claim.labels)
        return tuple(dict.fromkeys(labels))

    def changed(self, divisor: int, seed: int) -> "Figure":
        """Return the figure with fewer steps and another seed."""
        panels = tuple(
            replace(
                panel,
                lines=tuple(
                    replace(line, curve=line.curve.changed(divisor, seed)) for line in panel.lines
                ),
            )
            for panel in self.panels
        )
        return replace(self, panels=panels)


def is_off(ratio: float | None) -> bool:
    """Whether a ratio to a published value, if there is one, is more than a factor of 2 from 1."""
    return ratio is not None and not 1 / _OFF <= ratio <= _OFF


def near_zero(depth: int, width: int = 1) -> Start:
    """Gaussian factors, so small that the loss begins next to its value at 0.

    Their standard deviation, 1e-6 at depth 1, 1e-3 and 0.01 at depth 2 and 3 with hidden layers of
    width 1, is such that the end-to-end matrices of all depths and widths have one expected size:
    ``E |W_e|^2 = d width^(N-1) std^(2N) = 1e-12 d``.
    Larger factors would be off balance: ``W_1`` has d columns, the others one.

    Parameters
    ----------
    depth, width : int

    Returns
    -------
    Start
    """
    scale = (_SIZE * width ** (-(depth - 1) / 2)) ** (1 / depth)
    return Start("near_zero", scale, width=width)
