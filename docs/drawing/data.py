"""Drawings of a step, and of the pass over the data."""

from matplotlib.figure import Figure
from style import (
    DATA,
    DEPTHS,
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
    cells,
    label,
)


def step() -> Figure:
    """What a step computes."""
    figure, axes = canvas(7.2, 2.2)
    y, height = 0.75, 0.95
    middle = y + height / 2
    parts = (
        (0.1, 1.0, "factors\nW₁, W₂, …", MAPS),
        (1.65, 1.1, "end-to-end\nmatrix\nWₑ = ⋯ W₂ W₁", MAPS),
        (3.2, 1.15, "one pass\nover X and Y", DATA),
        (4.75, 0.9, "end-to-end\ngradient\nG", GRADIENTS),
        (6.1, 1.0, "gradients of\nthe factors", GRADIENTS),
    )
    for x, width, text, color in parts:
        box(axes, x, y, width, height, text, color)
    for start, end in ((1.1, 1.65), (2.75, 3.2), (4.35, 4.75), (5.65, 6.1)):
        arrow(axes, (start, middle), (end, middle))
    label(axes, 1.375, y + height + 0.25, "multiply:\nsmall products", fontsize=8.6)
    label(axes, 3.775, y + height + 0.25, "all the data:\n2 n d k multiply-adds", fontsize=8.6)
    label(axes, 5.875, y + height + 0.25, "pull back:\nsmall products", fontsize=8.6)
    axes.plot([6.6, 6.6, 0.6], [y, 0.3, 0.3], color=EDGE, lw=1)
    arrow(axes, (0.6, 0.3), (0.6, y))
    label(axes, 3.6, 0.43, "the optimiser moves every factor: next step", fontsize=8.6)
    return figure


def _multiply_adds(widths: tuple[int, ...], n: int) -> tuple[int, int]:
    """Multiply-adds of a step layer by layer, and with one pass for the product."""
    sizes = [rows * columns for rows, columns in zip(widths[1:], widths[:-1], strict=True)]
    layerwise = n * (3 * sum(sizes) - sizes[0])  # X itself needs no gradient
    chain = 3 * widths[-1] * sum(sizes) if len(sizes) > 1 else 0
    return layerwise, 2 * n * widths[0] * widths[-1] + chain


def arithmetic() -> Figure:
    """Multiply-adds of a step by depth, layer by layer and with one pass."""
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    axes = figure.subplots()
    for place, depth in enumerate((8, 3, 2, 1)):
        counts = _multiply_adds((128, *[100] * (depth - 1), 1), 2565)
        bars = zip(counts, (0.2, -0.2), ("#b5b5b5", DEPTHS[0]), strict=True)
        for count, shift, color in bars:
            axes.barh(place + shift, count / 1e6, 0.36, color=color)
            axes.text(count / 1e6 * 1.06, place + shift, f"{count / 1e6:.2f}", va="center")
    axes.set_yticks(range(4), [f"depth {depth}" for depth in (8, 3, 2, 1)])
    axes.set(xscale="log", xlim=(0.3, 2000), xlabel="millions of multiply-adds a step")
    axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    axes.minorticks_off()
    handles = [axes.barh([9], [1], color=color) for color in ("#b5b5b5", DEPTHS[0])]
    axes.legend(handles, ["layer by layer", "one pass for the product"], loc="upper right")
    axes.set_ylim(-0.5, 3.5)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def tile() -> Figure:
    """The fused pass for one map: where its numbers are."""
    figure, axes = canvas(7.2, 3.6)
    for x, width, text in (
        (0.1, 1.35, "memory or\nan outer cache"),
        (2.15, 2.1, "first-level cache"),
        (4.85, 2.25, "registers"),
    ):
        box(axes, x, 0.1, width, 3.4, color="#fafafa")
        label(axes, x + width / 2, 3.25, text, weight="bold")
    block(axes, 0.35, 0.3, 0.85, 2.7, DATA)
    for i in range(1, 6):
        axes.plot([0.35, 1.2], [0.3 + i * 0.45] * 2, color="white", lw=1)
    block(axes, 0.35, 1.65, 0.85, 0.45, "none", ec=STRONG, lw=2)
    label(axes, 0.78, 0.53, "X", fontsize=9)
    block(axes, 2.3, 1.6, 1.8, 0.55, DATA, ec=STRONG, lw=2)
    label(axes, 3.2, 1.88, "a tile of X:\n8 to 128 rows", fontsize=8.6)
    block(axes, 2.3, 2.6, 1.8, 0.27, MAPS)
    label(axes, 3.2, 2.73, "w, the weights", fontsize=8.6)
    block(axes, 2.3, 1.05, 1.8, 0.27, SLOPES)
    label(axes, 3.2, 1.18, "r, then s: a number a row", fontsize=8.6)
    block(axes, 2.3, 0.4, 1.8, 0.27, GRADIENTS)
    label(axes, 3.2, 0.53, "g, the gradient", fontsize=8.6)
    arrow(axes, (1.2, 1.88), (2.3, 1.88), color=STRONG, lw=1.6)
    label(axes, 1.8, 2.12, "read\nonce", fontsize=8.6, color=STRONG)
    steps = (
        (2.42, "1   r = X w − y", "products along the rows", SLOPES),
        (1.42, "2   s = |r|ᵖ⁻¹ sign r", "and the loss, the sum of |r|ᵖ", SLOPES),
        (0.4, "3   g ← g + X′ s", "the rows again, scaled", GRADIENTS),
    )
    for y, formula, text, color in steps:
        box(axes, 5.0, y, 1.95, 0.62, f"{formula}\n{text}", color, fontsize=8.6)
    arrow(axes, (5.97, 2.42), (5.97, 2.04))
    arrow(axes, (5.97, 1.42), (5.97, 1.02))
    arrow(axes, (4.1, 2.73), (5.0, 2.73))
    arrow(axes, (4.1, 2.0), (5.0, 2.55), color=STRONG)
    arrow(axes, (4.1, 1.75), (5.0, 0.85), color=STRONG)
    arrow(axes, (5.0, 0.55), (4.1, 0.53))
    label(axes, 4.55, 2.05, "1st\nuse", fontsize=8.6, color=STRONG)
    label(axes, 4.5, 1.05, "2nd\nuse", fontsize=8.6, color=STRONG)
    return figure


def ways() -> Figure:
    """The four ways of the pass: which numbers lie in one vector."""
    figure, axes = canvas(7.2, 4.7)
    s = 0.17
    label(axes, 0.1, 4.5, "red: the numbers of one vector of four lanes", color=STRONG, ha="left")
    label(axes, 7.1, 4.5, "pale red: one number in all lanes", color="#b0584e", ha="right")

    def panel(x, y, name, text):
        box(axes, x, y, 3.45, 2.05, color="#fafafa")
        label(axes, x + 1.72, y + 1.88, name, weight="bold")
        label(axes, x + 1.72, y + 0.24, text, fontsize=8.6)

    panel(0.1, 2.25, "one_map.py", "features along the vectors:\nfour products of one row and w")
    cells(axes, 0.35, 2.95, 5, 8, s, DATA, [(1, j) for j in range(4)])
    cells(axes, 2.1, 3.46, 1, 8, s, MAPS, [(0, j) for j in range(4)])
    label(axes, 1.03, 2.83, "X", fontsize=8.6)
    label(axes, 1.9, 3.54, "·", weight="bold")
    label(axes, 2.78, 3.34, "w", fontsize=8.6)

    panel(3.65, 2.25, "many_maps.py", "maps along the vectors:\nan element of X meets four maps")
    cells(axes, 3.9, 2.95, 5, 5, s, DATA, [(1, 2)], "#e58e84")
    cells(axes, 5.3, 2.95, 5, 8, s, MAPS, [(2, j) for j in range(4)])
    label(axes, 5.1, 3.4, "·", weight="bold")
    label(axes, 4.32, 2.83, "X", fontsize=8.6)
    label(axes, 5.98, 2.83, "a column a map", fontsize=8.6)

    panel(
        0.1,
        0.1,
        "few_maps.py",
        "rows along the vectors: squares of X are\ntransposed within the registers",
    )
    cells(axes, 0.35, 0.8, 5, 8, s, DATA, [(i, 1) for i in range(4)])
    axes.plot(
        [0.35, 0.35 + 4 * s, 0.35 + 4 * s], [0.8 + s, 0.8 + s, 0.8 + 5 * s], color=EDGE, lw=1.6
    )
    cells(axes, 2.1, 1.31, 2, 8, s, MAPS, [(0, 1)], "#e58e84")
    label(axes, 1.9, 1.45, "·", weight="bold")
    label(axes, 1.03, 0.68, "X", fontsize=8.6)
    label(axes, 2.78, 1.19, "two maps", fontsize=8.6)

    panel(3.65, 0.1, "columns.py", "rows along the vectors:\nresiduals never leave the registers")
    cells(axes, 3.9, 0.97, 4, 9, s, DATA, [(1, j) for j in range(4)])
    cells(axes, 6.2, 0.97, 4, 1, s, MAPS, [(1, 0)], "#e58e84")
    label(axes, 5.8, 1.3, "·", weight="bold")
    label(axes, 4.66, 0.85, "X′, a feature a row", fontsize=8.6)
    label(axes, 6.29, 0.85, "w", fontsize=8.6)
    return figure


def gram() -> Figure:
    """For p = 2: half of X'X, and the basis of singular vectors."""
    figure, axes = canvas(7.2, 2.9)
    box(axes, 0.1, 0.1, 3.9, 2.7, color="#fafafa")
    label(axes, 2.05, 2.62, "gram_pass.py: w X′X from half of X′X", weight="bold")
    size, x, y = 0.33, 0.75, 0.5
    for i in range(5):
        for j in range(5):
            color = DATA if j >= i else "white"
            block(axes, x + j * size, y + (4 - i) * size, size, size, color, ec="#999999", lw=0.6)
    i, j = 1, 3
    block(axes, x + j * size, y + (4 - i) * size, size, size, "#e58e84", ec=STRONG, lw=1.6)
    label(axes, x + (j + 0.5) * size, y + (4.5 - i) * size, "A")
    label(axes, x - 0.18, y + (4.5 - i) * size, "I", color=STRONG)
    label(axes, x + (j + 0.5) * size, y + 5 * size + 0.13, "J", color=STRONG)
    label(axes, 3.2, 1.95, "a square is read\nonce, used twice:", fontsize=8.6)
    label(axes, 3.2, 1.35, "g_J ← g_J + w_I A\ng_I ← g_I + (A w_J)′")
    label(axes, 1.57, 0.3, "white: not kept, X′X is symmetric", fontsize=8.6)

    box(axes, 4.15, 0.1, 2.95, 2.7, color="#fafafa")
    label(axes, 5.62, 2.62, "diagonal.py: X = U diag(s) Q′", weight="bold")
    rows = (("s", DATA), ("v = w Q", MAPS), ("z = U′y", SLOPES))
    for row, (name, color) in enumerate(rows):
        cells(axes, 5.25, 2.0 - row * 0.4, 1, 7, 0.23, color, [(0, 3)], "#e58e84")
        label(axes, 5.15, 2.115 - row * 0.4, name, ha="right")
    label(
        axes,
        5.62,
        0.72,
        "each coordinate for itself:\ngᵢ ∝ sᵢ (sᵢ vᵢ − zᵢ)\na step costs O(d) for one output",
        fontsize=8.6,
    )
    return figure


def sweep() -> Figure:
    """Many maps: two matrix products out of one tile."""
    figure, axes = canvas(7.2, 3.1)

    def matrix(x, y, width, height, text, color, above, beside):
        block(axes, x, y, width, height, color)
        label(axes, x + width / 2, y + height / 2, text, fontsize=8.6)
        label(axes, x + width / 2, y + height + 0.11, above, fontsize=8.6)
        label(axes, x - 0.1, y + height / 2, beside, fontsize=8.6, rotation=90)

    matrix(0.4, 2.05, 1.5, 0.6, "tile of X", DATA, "d features", "rows")
    label(axes, 2.15, 2.35, "×", fontsize=11)
    matrix(2.55, 1.75, 0.9, 1.1, "weights", MAPS, "maps of a panel", "d")
    label(axes, 3.7, 2.35, "−", fontsize=11)
    matrix(4.15, 2.05, 0.9, 0.6, "targets", NEUTRAL, "maps", "rows")
    label(axes, 5.3, 2.35, "=", fontsize=11)
    matrix(5.75, 2.05, 0.9, 0.6, "residuals", SLOPES, "maps", "rows")
    arrow(axes, (6.2, 2.03), (6.2, 1.12))
    label(axes, 6.1, 1.6, "slopes, and the losses", fontsize=8.6, ha="right")
    matrix(2.55, 0.1, 0.9, 1.1, "gradients", GRADIENTS, "maps", "d")
    label(axes, 3.7, 0.65, "+=", fontsize=11)
    matrix(4.25, 0.1, 0.6, 1.1, "tile of\nX,\nturned", DATA, "rows", "d")
    label(axes, 5.3, 0.65, "×", fontsize=11)
    matrix(5.75, 0.35, 0.9, 0.6, "slopes", SLOPES, "", "rows")
    return figure


DRAWINGS = {
    "how-step": step,
    "how-arithmetic": arithmetic,
    "how-tile": tile,
    "how-ways": ways,
    "how-gram": gram,
    "how-sweep": sweep,
}
