"""Sparsity: a diagonal network finds the least l1 norm from small starts, l2 from large ones.

Twenty samples of forty features are made by a w with three entries that are not 0. So many w fit,
and it is the start that decides which one descent finds. The networks are w = u^N - v^N with
u = v = alpha at the start, that is w = 0, for N = 2 and 3 and some alpha. Of all w that fit, w by
pseudo-inverse has the least l2 norm; that of the least l1 norm, by linear programming, is here the
one that made the data. From a small alpha the entries are learned one after the other.

Woodworth et al. (2020), arXiv 2002.09277; Vaskevicius, Kanade, Rebeschini (2019), arXiv 1909.05122;
Gissin, Shalev-Shwartz, Daniely (2019), arXiv 1909.12051.

    pip install "implicit-accel[cli]" && python examples/sparsity.py [picture.png]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linprog

import accel

STARTS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # u^N = v^N, the same at either depth
DEPTHS = (2, 3)
TARGET = 1e-9  # the loss at which a run ends


def data():
    """Return the problem, and the w that made it."""
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((20, 40)), np.zeros(40)
    w[rng.choice(40, 3, replace=False)] = [1.0, -2.0, 1.5]
    return accel.LpProblem(X, X @ w, p=2), w


def least(problem):
    """Return the least l1 norm and the least l2 norm of a w that fits."""
    X, y = problem.X, problem.Y[:, 0]
    ones = np.ones(2 * problem.d)  # w = a - b with a, b >= 0
    l1 = linprog(ones, A_eq=np.hstack([X, -X]), b_eq=y, bounds=(0, None)).fun
    return l1, np.linalg.norm(np.linalg.pinv(X) @ y)


def train(problem, steps=2_000_000):
    """Train from all starts, side by side, each at a rate of its own; return the results."""
    models = []
    for depth in DEPTHS:
        for start in STARTS:
            network = accel.DiagonalNetwork.for_problem(problem, depth, scale=start ** (1 / depth))
            rate = accel.stable_rate(problem, network, accel.GradientDescent(1.0))
            models.append((network, accel.GradientDescent(rate / 2)))
    return accel.sweep(problem, models, steps, target=TARGET)


def follow(problem, depth, start=0.0001, steps=2000):
    """Return the steps, and w at each: (m, d)."""
    network = accel.DiagonalNetwork.for_problem(problem, depth, scale=start ** (1 / depth))
    result = accel.train(
        problem, network, accel.GradientDescent(0.005), steps, record="snapshots", record_every=10
    )
    return result.history.step, result.history["snapshots"][:, 0]


def main(path):
    """Print the norms, and draw them and the way there."""
    problem, truth = data()
    l1, l2 = least(problem)
    results = list(train(problem))
    w = np.array([result.network.end_to_end()[0] for result in results])
    excess = np.abs(w).sum(axis=1) / l1 - 1, np.linalg.norm(w, axis=1) / l2 - 1
    print("what the norms are above the least ones:")
    print("depth  start       l1       l2      loss    steps")
    rows = [(depth, start) for depth in DEPTHS for start in STARTS]
    for (depth, start), result, *above in zip(rows, results, *excess, strict=True):
        norms = " ".join(f"{max(value, 0):8.5f}" for value in above)  # 0 but for rounding
        print(f"{depth:5d} {start:6g} {norms} {result.loss:9.1e} {result.steps:8d}")

    draw(problem, truth, excess, path)


def draw(problem, truth, excess, path):
    """Norms against the start, and w at every step from a small one, colours by depth."""
    _, (left, *right) = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
    for name, values, style in zip(("l1", "l2"), excess, ("-", "--"), strict=True):
        for depth, of_depth in zip(DEPTHS, np.split(values, 2), strict=True):
            label = f"{name} norm, depth {depth}"
            left.loglog(STARTS, of_depth, style, marker=".", color=f"C{depth - 1}", label=label)
    left.set(xlabel="start, u^N = v^N", ylabel="norm above the least one, relative", ylim=(1e-3, 2))
    left.grid(alpha=0.3)
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    for ax, depth in zip(right, DEPTHS, strict=True):
        steps, path_of_w = follow(problem, depth)
        ax.plot(steps, path_of_w[:, truth == 0], color="0.7", lw=0.8)
        ax.plot(steps, path_of_w[:, truth != 0], color=f"C{depth - 1}")
        for value in truth[truth != 0]:
            ax.axhline(value, color="0.6", linestyle="--", linewidth=1, zorder=0)
        ax.set(xlabel="step, from u^N = v^N = 0.0001", title=f"w, depth {depth}; dashed: the truth")
        ax.grid(alpha=0.3)
    plt.savefig(path, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sparsity.png")
