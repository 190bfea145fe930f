"""The three sentences that an atlas supports: when depth helps, by how much, and when it hurts.

They are about networks at their best stable rates, in the cells that have steps to compare, all
targets together. A median speed-up of at least 1.2, the distance of two rates of the grid, is
called help, one of at most 1/1.2 harm; a bound counts if it says as much.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import median, quantiles

from accel.experiments.atlas.speedups import Cell

__all__ = ["NOTABLE", "compared", "described", "helps", "hurts", "prediction", "sentences"]

#: The least quotient that is called help, and its inverse harm.
NOTABLE = 1.2

_Test = Callable[[Cell], bool]


def helps(cell: Cell) -> bool:
    """Whether depth is sooner there."""
    return cell.speedup.low >= NOTABLE


def hurts(cell: Cell) -> bool:
    """Whether depth is later there."""
    return cell.speedup.high <= 1 / NOTABLE


def compared(cells: Iterable[Cell]) -> list[Cell]:
    """Return the cells that the sentences are about."""
    return [
        cell
        for cell in cells
        if cell.kind == "network" and cell.margin == "best" and cell.speedup.known and not cell.few
    ]


def _place(cell: Cell) -> tuple[object, ...]:
    """Return what all depths and rules race on alike."""
    return cell.p, cell.condition, cell.alignment, cell.start, cell.target


def described(cell: Cell) -> str:
    """Say which cell it is."""
    return (
        f"p = {cell.p:g}, condition number {cell.condition:g}, target {cell.alignment}, "
        f"start {cell.start:g}, to {cell.target:g} of the distance, depth {cell.depth}"
    )


def sentences(cells: Iterable[Cell]) -> list[str]:
    """Return the three sentences.

    Parameters
    ----------
    cells : iterable of Cell

    Returns
    -------
    list of str
        Three; one if there is nothing to compare.
    """
    own = [cell for cell in cells if cell.kind == "network" and cell.margin == "best"]
    told = compared(own)
    if not told:
        return ["No cell has steps to compare: all targets are too near or too far."]
    others = (
        f" {len(own) - len(told)} others have too few steps, or more than were made."
        if len(own) > len(told)
        else ""
    )
    return [_when(told) + others, _how_much(told), _harm(told)]


def prediction(cells: Iterable[Cell]) -> str:
    """Say how far the end-to-end rule, which is what theory predicts, is from the networks.

    Parameters
    ----------
    cells : iterable of Cell

    Returns
    -------
    str
        About the cells that have both, at the best rates, with steps that are known and not few.
    """
    steps: dict[tuple[object, ...], dict[str, float]] = {}
    for cell in cells:
        if cell.margin == "best" and cell.deep.exact and not cell.few:
            steps.setdefault((*_place(cell), cell.depth), {})[cell.kind] = cell.deep.low
    ratios = sorted(
        each["network"] / each["end-to-end"] for each in steps.values() if len(each) == 2
    )
    if len(ratios) < 2:
        return "No cell has steps of networks and of the end-to-end rule to compare."
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return (
        f"Networks take {middle:.2f} times the steps of the end-to-end rule in the median of "
        f"{len(ratios)} cells, {low:.2f} to {high:.2f} times in half of them."
    )


def _share(cells: Sequence[Cell], test: _Test) -> str:
    return f"{100 * sum(map(test, cells)) / len(cells):.0f} %" if cells else "none"


def _by(cells: Sequence[Cell], test: _Test) -> str:
    """Say how the share changes along p, the condition number and the alignment."""
    parts = []
    for name, word in (("p", "p ="), ("condition", "condition number"), ("alignment", "target")):
        values = list(dict.fromkeys(getattr(cell, name) for cell in cells))
        shares = [
            f"{_share([cell for cell in cells if getattr(cell, name) == value], test)} at "
            f"{word} {value if isinstance(value, str) else format(value, 'g')}"
            for value in (values if name == "alignment" else sorted({min(values), max(values)}))
        ]
        if len(shares) > 1:
            parts.append(", ".join(shares))
    return f": {'; '.join(parts)}" if parts else ""


def _when(cells: Sequence[Cell]) -> str:
    return (
        f"Depth helps, by a factor of at least {NOTABLE:g} in the number of steps, in "
        f"{_share(cells, helps)} of {len(cells)} cells{_by(cells, helps)}."
    )


def _how_much(cells: Sequence[Cell]) -> str:
    helped = [cell for cell in cells if helps(cell)]
    if not helped:
        return f"Depth helps in no cell by a factor of {NOTABLE:g}."
    places: dict[tuple[object, ...], list[Cell]] = {}
    for cell in helped:
        places.setdefault(_place(cell), []).append(cell)
    best = [max(place, key=lambda cell: cell.speedup.low) for place in places.values()]
    depth, count = Counter(cell.depth for cell in best).most_common(1)[0]
    most = max(helped, key=lambda cell: cell.speedup.low)
    bounded = "at least " if any(not cell.speedup.exact for cell in helped) else ""
    return (
        f"Where it helps, the median is {bounded}{median(c.speedup.low for c in helped):.2g} "
        f"times fewer steps and the most {most.speedup} times ({described(most)}); the best of the "
        f"depths is {depth} in {count} of {len(best)} places."
    )


def _harm(cells: Sequence[Cell]) -> str:
    hurt = [cell for cell in cells if hurts(cell)]
    if not hurt:
        return f"Depth hurts in no cell by a factor of {NOTABLE:g}."
    worst = min(hurt, key=lambda cell: cell.speedup.high)
    slower = 1 / worst.speedup.high if worst.speedup.high else math.inf
    least = "" if worst.speedup.exact else "at least "
    return (
        f"Depth hurts, by as much, in {_share(cells, hurts)}{_by(cells, hurts)}; at worst it takes "
        f"{least}{slower:.3g} times as many steps ({described(worst)})."
    )
