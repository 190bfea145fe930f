r"""
Descent at the edge of stability (Cohen et al. 2021)
====================================================

Cohen, Kaur, Li, Kolter and Talwalkar (2021), "Gradient Descent on Neural Networks Typically Occurs
at the Edge of Stability" (`arXiv 2103.00065 <https://arxiv.org/abs/2103.00065>`_), measured the
*sharpness* of the loss during training: the largest eigenvalue of its Hessian in the weights. While
gradient descent with the rate :math:`\eta` is stable, the sharpness grows. It grows up to
:math:`2/\eta`, the largest value at which descent is stable, and then stays there, while the loss
goes up and down and yet falls over longer times.

One of the tasks of the paper is a linear network of twenty layers. This example trains that network
at three rates, and then shows, on a smaller task, what the depth does and what happens to the
balance of the layers.
"""

# %%
# The setting
# -----------
# **The authors' task.** The shapes, the data and the start are those of the authors' code
# (`locuslab/edge-of-stability <https://github.com/locuslab/edge-of-stability>`_, task
# ``linear-50-50``, architecture ``deeplinear``): 50 samples of 50 features, whitened, so that
# :math:`X^\top X / n` is the identity; 50 outputs :math:`Y = X A^\top` with a matrix A of
# independent standard normal entries; twenty layers of width 50 without biases, whose entries are
# normal with the variance 1/50 (Xavier). The loss is half the squared error, summed over the
# outputs and averaged over the samples. The three rates and the 2000 steps are ours.
#
# **A smaller task.** The data have 100 samples, 20 features and 5 outputs. The eigenvalues of
# :math:`X^\top X / n` go from 1 down to 1e-4, and each of these directions explains about as much
# of the outputs, so that the weak ones, which are learned last, need large weights. Networks of
# depth 2, 3 and 4 and width 20 start from entries of the standard deviation 0.1 and take 12 000
# steps at the rate 0.05.

import matplotlib.pyplot as plt
import numpy as np

import accel
from accel import theory

RATES = (5e-5, 1e-4, 2e-4)
DEPTHS = (2, 3, 4)


def authors_task():
    """Return the problem, and the network of twenty layers."""
    rng = np.random.default_rng(0)
    n = 50
    X = np.sqrt(n) * np.linalg.qr(rng.standard_normal((n, n)))[0]
    problem = accel.LpProblem(X, X @ rng.standard_normal((n, n)).T, p=2, scale="1/p")
    return problem, accel.LinearNetwork([n] * 21, init="near_zero", scale=n**-0.5, seed=0)


def smaller_task():
    """Return the problem, and a network of each depth."""
    rng = np.random.default_rng(0)
    n, d, k = 100, 20, 5
    eigenvalues = np.geomspace(1, 1e-4, d)
    X = np.sqrt(n * eigenvalues) * np.linalg.qr(rng.standard_normal((n, d)))[0]
    W = rng.standard_normal((k, d)) / np.sqrt(k * d * eigenvalues)
    problem = accel.LpProblem(X, X @ W.T, p=2, scale="1/p")
    return problem, [
        accel.LinearNetwork.for_problem(problem, depth, width=d, scale=0.1, seed=0)
        for depth in DEPTHS
    ]


# %%
# What the theory says
# --------------------
# On a quadratic function a step of descent multiplies the distance from the minimum, along an
# eigenvector of the Hessian with the eigenvalue h, by :math:`1 - \eta h`. Its size is above 1 where
# :math:`h > 2/\eta`: there descent diverges. The loss of a deep network is not quadratic, so this
# holds near the iterate only, and the paper finds by experiment what descent does at that limit.
# A reason why the sharpness stays there is given by Damian, Nichani and Lee (2023), "Self-
# Stabilization" (`arXiv 2209.15594 <https://arxiv.org/abs/2209.15594>`_): as the iterate swings out
# along the steepest direction, the third derivative of the loss moves it to where the loss is less
# steep.
#
# The authors' task
# -----------------
# The iterates alternate at the edge, and an odd number of steps between two records shows both
# sides.

problem, network = authors_task()
models = [(network, accel.GradientDescent(rate)) for rate in RATES]
deep = accel.sweep(problem, models, steps=2000, record=["sharpness"], record_every=25)


def share(result):
    """Return the sharpness as a share of 2 / rate, at every record."""
    return result.history["sharpness"] * result.optimizer.learning_rate / 2


figure, (sharpness, loss) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for result, color in zip(deep, ("#9ec5e3", "#3d8bc4", "#0b3c62"), strict=True):
    label = rf"$\eta$ = {result.optimizer.learning_rate:g}"
    result.plot(sharpness, what="sharpness", label=label, color=color)
    result.plot(loss, label=label, color=color)
sharpness.set(yscale="linear", title=r"sharpness; dashed: $2/\eta$", ylabel="sharpness")
loss.set(title="the loss of the same runs")
for ax in (sharpness, loss):
    solid = [line for line in ax.get_lines() if line.get_linestyle() == "-"]
    ax.legend(handles=solid, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    ax.grid(alpha=0.3)

# %%
# What one sees
# -------------
# Each run begins far below its limit :math:`2/\eta`, and its sharpness grows until it meets the
# limit, after the fewer steps the larger the rate. It then stays at the limit, after a swing above
# it. The sharpness that a run ends with is therefore set by its rate: at half the rate it is twice
# as large. The loss goes on falling.
#
# Published and measured
# ----------------------
# The paper shows curves and gives no numbers of them. It says of figure 1, for three architectures:
# the sharpness rises to :math:`2/\eta` and then hovers right at, or just above, this value. In the
# table "at the edge" is the median over the second half of the run, as a share of :math:`2/\eta`.

print("    rate   2/rate   sharpness as a share of 2/rate             loss")
print("                    start    largest  at the edge     start    middle       end")
for result in deep:
    rate, values, losses = result.optimizer.learning_rate, share(result), result.history.loss
    middle = len(values) // 2
    print(
        f"{rate:8g} {2 / rate:8.0f} {values[0]:8.3f} {values.max():10.3f}"
        f" {np.median(values[-middle:]):12.3f} {losses[0]:9.1f} {losses[middle]:9.1f}"
        f" {losses[-1]:9.1f}"
    )
    assert result.status == "completed"
    assert values[0] < 0.5
    assert values.max() > 1.03
    assert abs(np.median(values[-middle:]) - 1) < 0.04
    assert losses[-1] < 0.95 * losses[middle] < 0.7 * losses[0]
arrivals = [np.argmax(share(result) > 1) for result in deep]
assert (np.diff(arrivals) < 0).all()

# %%
# By depth, on the smaller task
# -----------------------------
# *Balancedness* is the largest norm of :math:`W_{j+1}^\top W_{j+1} - W_j W_j^\top` over
# neighbouring layers. Gradient flow, the limit of small rates, conserves these differences (Arora,
# Cohen and Hazan 2018, theorem 1).

problem, networks = smaller_task()
models = [(network, accel.GradientDescent(0.05)) for network in networks]
quantities = ["sharpness", "balancedness"]
shallow = accel.sweep(problem, models, steps=12_000, record=quantities, record_every=25)

figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for result, depth in zip(shallow, DEPTHS, strict=True):
    for ax, name in zip(axes, quantities, strict=True):
        result.plot(ax, what=name, label=f"depth {depth}", color=f"C{depth - 1}")
axes[0].set(yscale="linear", title=r"sharpness; dashed: $2/\eta$", ylabel="sharpness")
axes[1].set(yscale="linear", title="balancedness of the same runs", ylabel="balancedness")
for ax in axes:
    solid = [line for line in ax.get_lines() if line.get_linestyle() == "-"]
    ax.legend(handles=solid, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    ax.grid(alpha=0.3)

print("depth  sharpness / (2/rate):  start  largest    end   balancedness: start    end   rises")
for result, depth in zip(shallow, DEPTHS, strict=True):
    values, balance = share(result), result.history["balancedness"]
    rises = np.mean(np.diff(result.history.loss) > 0)
    print(
        f"{depth:5}{values[0]:29.3f}{values.max():9.3f}{values[-1]:7.3f}"
        f"{balance[0]:22.2f}{balance[-1]:7.2f}{rises:8.0%}"
    )

# %%
# The sharpness grows faster the deeper the network: at depth 2 it does not get to the limit within
# this run, at depth 3 and 4 it does. Until then the loss falls from every record to the next. At
# the edge it is often higher than 25 steps before ("rises" counts these records), and yet it falls
# over longer times. All runs conserve the balancedness until they are at the edge. There they give
# it up: the layers that they find have a flatter loss than balanced layers with the same product
# would have, as the following numbers show.


def balanced(network):
    """Return balanced layers with the product of a network."""
    U, values, Vt = np.linalg.svd(network.end_to_end(), full_matrices=False)
    root = np.diag(values ** (1 / network.depth))
    factors = [root @ Vt, *[root] * (network.depth - 2), U @ root]
    return accel.LinearNetwork.for_problem(problem, network.depth, len(values), init=factors)


for result in shallow[1:]:
    there = theory.sharpness(problem, result.network)
    other = theory.sharpness(problem, balanced(result.network))
    print(f"depth {result.network.depth}: sharpness {there:.1f}, in balanced layers {other:.1f}")
    assert other > 1.5 * there

# %%
# What differs
# ------------
# The paper's own runs use PyTorch's random numbers; ours have the same distributions. The paper
# trains many other networks, with activations and on images, which this package does not. The
# second task is ours.
#
# Checks
# ------

assert all(share(result)[0] < 0.05 for result in shallow)
assert share(shallow[0]).max() < 0.7  # depth 2 stays below the edge, and keeps its balance
assert abs(np.ptp(shallow[0].history["balancedness"])) < 0.02
assert np.argmax(share(shallow[2]) > 1) < np.argmax(share(shallow[1]) > 1)
assert (np.diff(shallow[0].history.loss) < 0).all()
for result in shallow[1:]:
    values, losses, balance = share(result), result.history.loss, result.history["balancedness"]
    edge = int(np.argmax(values > 1))
    assert (np.diff(values[10:edge]) > 0).all()  # progressive sharpening
    assert abs(np.median(values[-100:]) - 1) < 0.05
    assert (np.diff(losses[:edge]) < 0).all()
    assert np.mean(np.diff(losses[edge:]) > 0) > 0.1
    assert np.median(losses[-30:]) < 0.5 * losses[edge]
    assert abs(balance[edge] / balance[0] - 1) < 0.02
    assert balance[-1] > 3 * balance[edge]
