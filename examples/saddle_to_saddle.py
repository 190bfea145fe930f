"""From a small start a deep linear network learns one singular value after the other.

The data are whitened (X'X / n = I), 20 features and 20 outputs; the map to be learned has the
singular values 8, 4, 2 and 1. Gradient descent starts, at depth 1, 2 and 3, from the same tiny
end-to-end matrix, in balanced factors, and takes the same rate. Depth 1 learns all singular values
at once. Deeper networks learn the largest first and wait at a saddle for the next: the loss goes
down in stairs, whose heights are those of the best maps of rank 1, 2 and 3. The deeper, the later
each is learned and the shorter, beside the wait, is the time that it takes.

Saxe, McClelland, Ganguli (2014), arXiv 1312.6120; Gidel, Bach, Lacoste-Julien (2019), arXiv
1904.13262; Jacot, Ged, Simsek, Hongler, Gabriel (2021), arXiv 2106.15933.

    pip install "implicit-accel[cli]" && python examples/saddle_to_saddle.py [picture.png]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import accel

TARGET = np.array([8.0, 4.0, 2.0, 1.0])  # singular values of the map to be learned
DEPTHS = (1, 2, 3)
#: Of the half mean square loss at the best map of rank 0 to 3: those of the saddles.
SADDLES = [0.5 * np.sum(TARGET[rank:] ** 2) for rank in range(len(TARGET))]


def train(steps=4000):
    """Train all depths from the same end-to-end matrix; a sweep, one result a depth."""
    rng = np.random.default_rng(0)
    n, d, rank = 100, 20, len(TARGET)
    X = np.sqrt(n) * np.linalg.qr(rng.standard_normal((n, d)))[0]
    U, V = (np.linalg.qr(rng.standard_normal((d, rank)))[0] for _ in range(2))
    problem = accel.LpProblem(X, X @ (V * TARGET) @ U.T, p=2, scale="1/p")
    models = [
        (
            accel.LinearNetwork.for_problem(problem, depth, init="balanced", scale=1e-4, seed=0),
            accel.GradientDescent(0.01),
        )
        for depth in DEPTHS
    ]
    return accel.sweep(problem, models, steps, record=["singular_values(4)"], record_every=1)


def reaches(result, share):
    """The first step at which each singular value has this share of its target."""
    return (result.history["singular_values"] >= share * TARGET).argmax(axis=0)


def draw(results, path):
    """Singular values at depth 2 and 3, and the loss at every depth, against the step."""
    figure, (two, three, loss) = plt.subplots(1, 3, figsize=(13.5, 4.5), layout="constrained")
    for ax, result in ((two, results[1]), (three, results[2])):
        ax.set_prop_cycle(color=plt.colormaps["plasma"](np.linspace(0, 0.8, len(TARGET))))
        result.plot(ax, what="singular_values")
        ax.set(yscale="linear", title=f"depth {result.network.depth}", yticks=[0, *TARGET])
        ax.set_ylabel("singular values of the end-to-end matrix")
    for result in results:
        depth = result.network.depth
        result.plot(loss, label=f"depth {depth}", color=f"C{depth - 1}")
    for height in SADDLES:
        loss.axhline(height, color="0.6", linestyle="--", linewidth=1, zorder=0)
    loss.set(title="loss, and that of the saddles (dashed)", ylim=(0.01, 100))
    loss.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    for ax in (two, three, loss):
        ax.set(xscale="log", xlim=(10, results[0].steps))
        ax.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main():
    """Train, print at which steps the singular values are learned, and draw."""
    results = train()
    print("depth  singular value  half of it at step  steps from 10 % to 90 %")
    for result in results:
        half, rise = reaches(result, 0.5), reaches(result, 0.9) - reaches(result, 0.1)
        for row in zip(TARGET, half, rise, strict=True):
            print(f"{result.network.depth:5}  {row[0]:14g}  {row[1]:18}  {row[2]:23}")
    draw(results, sys.argv[1] if len(sys.argv) > 1 else "saddle_to_saddle.png")


if __name__ == "__main__":
    main()
