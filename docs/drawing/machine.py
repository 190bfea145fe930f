"""Drawings of the machine: threads, wide networks, compiled code, the GPU."""

from matplotlib.figure import Figure
from style import (
    DATA,
    EDGE,
    GRADIENTS,
    MAPS,
    NEUTRAL,
    SLOPES,
    STRONG,
    arrow,
    block,
    box,
    canvas,
    label,
)


def team() -> Figure:
    """Two steps of a team of three threads, with one model."""
    figure, axes = canvas(7.2, 2.9)
    names = ("rank 0\nthe leader", "rank 1", "rank 2")
    tops = (1.85, 1.15, 0.45)
    for name, y in zip(names, tops, strict=True):
        label(axes, 0.45, y + 0.2, name, fontsize=8.6)
        axes.plot([0.95, 7.05], [y + 0.2] * 2, color="#dddddd", lw=1, zorder=0)

    def part(rank, x, width, text, color=DATA, **options):
        block(axes, x, tops[rank], width, 0.4, color)
        label(axes, x + width / 2, tops[rank] + 0.2, text, fontsize=8.6, **options)

    for x in (1.0, 3.7):
        axes.plot([x, x], [0.3, 2.4], color=STRONG, lw=1, ls="--")
        label(axes, x, 2.52, "release", fontsize=8.6, color=STRONG)
    for x in (2.35, 5.75):
        axes.plot([x, x], [0.3, 2.4], color=EDGE, lw=1, ls="--")
        label(axes, x, 2.52, "all parts are done", fontsize=8.6)
    part(0, 1.05, 1.1, "part 0")
    part(1, 1.1, 1.1, "part 1")
    part(2, 1.15, 1.15, "part 2")
    part(0, 2.4, 1.25, "epilogue", GRADIENTS)
    part(0, 3.75, 0.95, "part 0")
    part(1, 3.8, 1.0, "part 1")
    part(0, 4.72, 0.98, "part 2", weight="bold")
    block(axes, 3.8, tops[2], 2.6, 0.4, NEUTRAL, ls=":")
    label(axes, 5.1, tops[2] + 0.2, "another process has the processor", fontsize=8.6)
    part(0, 5.8, 1.25, "epilogue", GRADIENTS)
    label(axes, 1.68, 2.75, "first step", weight="bold")
    label(axes, 5.0, 2.75, "second step", weight="bold")
    label(
        axes, 4.0, 0.13,
        "a part belongs to whoever claims it first, so a thread that is late keeps nobody waiting",
        fontsize=8.6,
    )  # fmt: skip
    return figure


def wide() -> Figure:
    """A step of a network with many outputs, by two threads."""
    figure, axes = canvas(7.2, 2.6)
    first, second = "#a9cbe8", "#f5c28b"

    def halves(x, y, width, height, text, *, along):
        if along:
            block(axes, x, y, width / 2, height, first)
            block(axes, x + width / 2, y, width / 2, height, second)
        else:
            block(axes, x, y + height / 2, width, height / 2, first)
            block(axes, x, y, width, height / 2, second)
        label(axes, x + width / 2, y - 0.06, text, fontsize=8.6, va="top")

    box(axes, 0.1, 0.55, 4.2, 1.95, color="#fafafa")
    label(axes, 2.2, 2.32, "outputs: every thread has some of them", weight="bold")
    halves(0.35, 1.1, 0.8, 0.8, "products\nof factors", along=True)
    arrow(axes, (1.2, 1.5), (1.5, 1.5))
    block(axes, 1.55, 0.95, 0.4, 1.1, DATA)
    label(axes, 1.75, 1.5, "X", fontsize=8.6)
    label(axes, 2.1, 1.5, "×")
    halves(2.25, 1.1, 0.8, 0.8, "residuals\nand G", along=True)
    arrow(axes, (3.1, 1.5), (3.35, 1.5))
    halves(3.4, 1.1, 0.8, 0.8, "pulled back", along=True)
    axes.plot([4.52, 4.52], [0.55, 2.5], color=STRONG, lw=1, ls="--")
    label(axes, 4.52, 0.38, "all threads meet", fontsize=8.6, color=STRONG)
    box(axes, 4.75, 0.55, 2.35, 1.95, color="#fafafa")
    label(axes, 5.92, 2.32, "layers: some rows each", weight="bold")
    halves(4.95, 1.1, 0.8, 0.8, "gradient of\na factor", along=False)
    arrow(axes, (5.8, 1.5), (6.1, 1.5))
    halves(6.15, 1.1, 0.8, 0.8, "the factor,\nmoved", along=False)
    block(axes, 1.2, 0.1, 0.25, 0.16, first)
    label(axes, 1.5, 0.18, "first thread", fontsize=8.6, ha="left")
    block(axes, 2.5, 0.1, 0.25, 0.16, second)
    label(axes, 2.8, 0.18, "second thread", fontsize=8.6, ha="left")
    return figure


def compiled() -> Figure:
    """How a kernel comes into a process."""
    figure, axes = canvas(7.2, 2.6)
    box(
        axes,
        0.1,
        1.0,
        1.35,
        1.35,
        "a run asks for\na kernel:\nform, dtype,\nvector width,\nkind of loss",
        MAPS,
        fontsize=8.6,
    )
    box(axes, 1.95, 1.3, 1.3, 0.75, "in this\nprocess already?", fontsize=8.6)
    box(axes, 3.75, 1.3, 1.3, 0.75, "on the disk,\nunder its key?", fontsize=8.6)
    box(
        axes,
        5.55,
        1.3,
        1.55,
        0.75,
        "compile the loop;\nother processes\ncompile its pieces",
        DATA,
        fontsize=8.6,
    )
    box(axes, 1.95, 0.15, 3.1, 0.55, "train", GRADIENTS)
    arrow(axes, (1.45, 1.67), (1.95, 1.67))
    arrow(axes, (3.25, 1.67), (3.75, 1.67))
    arrow(axes, (5.05, 1.67), (5.55, 1.67))
    label(axes, 3.5, 1.8, "no", fontsize=8.6)
    label(axes, 5.3, 1.8, "no", fontsize=8.6)
    for x, text in ((2.6, "yes"), (4.4, "yes: load it")):
        arrow(axes, (x, 1.3), (x, 0.7))
        label(axes, x + 0.07, 1.0, text, fontsize=8.6, ha="left")
    axes.plot([6.33, 6.33], [1.3, 0.42], color=EDGE, lw=1)
    arrow(axes, (6.33, 0.42), (5.05, 0.42))
    label(axes, 6.4, 0.9, "and keep it", fontsize=8.6, ha="left")
    label(
        axes, 4.6, 2.35,
        "key: what it is specialised for, processor, caches, versions, a hash of the sources",
        fontsize=8.6,
    )  # fmt: skip
    return figure


def chip() -> Figure:
    """CUDA: data that stay on the chip."""
    figure, axes = canvas(7.2, 3.3)
    box(axes, 0.1, 0.75, 7.0, 2.45, color="#fafafa")
    label(axes, 3.6, 3.05, "one launch: thousands of steps", weight="bold")
    for block_number, x in enumerate((0.3, 2.0, 3.7, 5.4)):
        name = f"block {block_number}" if block_number < 3 else "last block"
        box(axes, x, 0.9, 1.5, 1.95, color="white")
        label(axes, x + 0.75, 2.72, name, fontsize=8.6, weight="bold")
        block(axes, x + 0.12, 2.2, 1.26, 0.36, DATA)
        label(axes, x + 0.75, 2.38, "its rows of X", fontsize=8.6)
        block(axes, x + 0.12, 1.75, 1.26, 0.33, SLOPES)
        label(axes, x + 0.75, 1.915, "its part of G", fontsize=8.6)
        block(axes, x + 0.12, 0.98, 1.26, 0.33, MAPS)
        label(axes, x + 0.75, 1.145, "factors, update", fontsize=8.6)
    block(axes, 0.42, 1.43, 6.36, 0.2, GRADIENTS)
    label(axes, 3.6, 1.53, "all-reduce: everybody gets the whole gradient", fontsize=8.6)
    box(
        axes,
        0.1,
        0.1,
        7.0,
        0.42,
        "device memory: X is read once a launch, histories are written",
        NEUTRAL,
    )
    for x in (1.05, 2.75, 4.45, 6.15):
        arrow(axes, (x, 0.52), (x, 0.9))
    return figure


DRAWINGS = {"how-team": team, "how-wide": wide, "how-compiled": compiled, "how-chip": chip}
