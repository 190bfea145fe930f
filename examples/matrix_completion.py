"""Matrix completion: the deeper a network, the better it recovers a matrix of low rank.

A 100 x 100 matrix of rank 5, of which 2000 entries are seen: twice as many as it has degrees of
freedom, too few for the least nuclear norm to recover it. Networks of depth 2, 3 and 4 and full
width start near zero and descend until they agree with what is seen. Nothing but the depth tells
them to prefer low rank, and the deeper they are, the more they do: their singular values stay near
zero for longer, and leave it faster.

The settings are those of the code of Arora, Cohen, Hu, Luo (2019), "Implicit regularization in
deep matrix factorization", arXiv 1905.13655, figures 1 and 3: Gaussian factors with which the
product has the scale 1e-3, one scale of the gradient for the whole network (GroupRMSProp, rate
1e-3, alpha 0.99, eps 1e-4), the mean squared error over the observed entries down to 1e-6. The
random numbers are others.

    pip install "implicit-accel[cli]" && python examples/matrix_completion.py [picture.png]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import accel
from accel.recording import RecoveryError

START = 1e-3  # the size of the entries of the end-to-end matrix, times the root of its width
DEPTHS = (2, 3, 4)
END = 1e-6  # the loss at which a run ends


def train(made, steps, rate=1e-3):
    """Train all depths side by side; a sweep, one result a depth."""
    problem, models = made.problem, []
    for depth in DEPTHS:
        scale = START ** (1 / depth) / np.sqrt(problem.d)
        network = accel.LinearNetwork.for_problem(problem, depth, init="near_zero", scale=scale)
        models.append((network, accel.GroupRMSProp(rate, eps=1e-4)))
    record = ["singular_values(10)", "effective_rank", "nuclear_norm", RecoveryError(made.truth)]
    return accel.sweep(problem, models, steps, target=END, record=record, validation=made.held_out)


def rises(result, rank):
    """The steps at which each singular value has 10 % and 90 % of what it ends with."""
    values = result.history["singular_values"][:, :rank]
    return [
        result.history.step[(values >= share * values[-1]).argmax(axis=0)] for share in (0.1, 0.9)
    ]


def draw(results, truth, path):
    """Singular values at every depth, and recovery errors, against the step."""
    figure, axes = plt.subplots(1, 4, figsize=(17, 4.5), layout="constrained")
    true = np.linalg.svd(truth, compute_uv=False)
    for ax, result in zip(axes, results, strict=False):
        ax.set_prop_cycle(color=plt.colormaps["plasma"](np.linspace(0, 0.9, 10)))
        result.plot(ax, what="singular_values")
        depth = result.network.depth
        ax.set(xscale="linear", yscale="linear", title=f"depth {depth}; dashed: of the matrix")
        ax.set_ylabel("singular values of the end-to-end matrix")
        for value in true[true > 1e-9 * true[0]]:
            ax.axhline(value, color="0.6", linestyle="--", linewidth=1, zorder=0)
        style = {"label": f"depth {depth}", "color": f"C{depth - 1}"}
        result.plot(axes[3], what="recovery_error", **style)
    axes[3].set(xscale="linear", title="recovery error")
    axes[3].legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.locator_params(axis="x", nbins=4)
    figure.savefig(path, dpi=100)


def main(size=100, rank=5, observed=2000, steps=200_000, rate=1e-3):
    """Print what each depth has found, when, and what the least nuclear norm is; and draw."""
    made = accel.datasets.make_low_rank((size, size), rank, observed, seed=0)
    results = train(made, steps, rate)
    print("depth  steps  seen error  other error  effective rank  nuclear norm  recovery error")
    for result in results:
        names = "validation_loss", "effective_rank", "nuclear_norm", "recovery_error"
        others, effective, norm, error = (result.history[name][-1] for name in names)
        print(f"{result.network.depth:5} {result.steps:6} {result.loss:11.2e}", end="")
        print(f" {others:12.2e} {effective:15.2f} {norm:13.1f} {error:15.2e}")
    print("depth  singular values leave zero (10 %) at steps; steps from there to 90 %")
    for result in results:
        low, high = rises(result, rank)
        print(f"{result.network.depth:5}  {', '.join(map(str, low))}; ", end="")
        print(", ".join(map(str, high - low)))
    least = accel.minimum_nuclear_norm(made.problem)
    error = np.linalg.norm(least.W - made.truth) / np.linalg.norm(made.truth)
    print(f"least nuclear norm: {least.nuclear_norm:.2f}, proved to {least.gap:.1g}")
    print(f"its recovery error: {error:.2e}")
    print(f"nuclear norm of the matrix itself: {np.linalg.norm(made.truth, 'nuc'):.2f}")
    draw(results, made.truth, sys.argv[1] if len(sys.argv) > 1 else "matrix_completion.png")


if __name__ == "__main__":
    main()
