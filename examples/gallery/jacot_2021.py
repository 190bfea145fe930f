r"""
From saddle to saddle (Jacot et al. 2021)
=========================================

Jacot, Ged, Simsek, Hongler and Gabriel (2021), "Saddle-to-Saddle Dynamics in Deep Linear Networks:
Small Initialization Training, Symmetry, and Sparsity" (`arXiv 2106.15933
<https://arxiv.org/abs/2106.15933>`_), ask what the size of the start does. From a large start a
wide network goes to a minimum directly. From a small one it begins next to the saddle at 0 and, the
authors conjecture, visits one saddle after the other: first one of rank 1, then one of rank 2, and
so on, until it has learned the target. They prove it for the way from the first saddle to the
second.

This example shows both kinds of training, checks the first saddle against the theorem, and measures
how the time that it takes to leave the saddle at 0 depends on the depth and on the start.
"""

# %%
# The setting
# -----------
# The data are whitened (100 samples, 20 features, :math:`X^\top X / n` is the identity), and the
# map to be learned has 20 outputs and the singular values 8, 4, 2 and 1. The loss is half the
# squared error, averaged over the samples, so it is half the squared distance from that map. At the
# best map of rank r it is half the sum of the squares of the singular values that are missing.
#
# The networks have depth 3 and hidden layers of width w = 100. Their entries are independent and
# normal with the variance :math:`w^{-\gamma}`, for four values of :math:`\gamma`; the random
# numbers are the same. The rate is 0.002, for 8000 steps.

import matplotlib.pyplot as plt
import numpy as np

import accel

TARGET = np.array([8.0, 4.0, 2.0, 1.0])
SADDLES = np.array([0.5 * np.sum(TARGET[rank:] ** 2) for rank in range(4)])  # the loss at each
WIDTH = 100
GAMMAS = (1.0, 1.5, 2.0, 2.5)

rng = np.random.default_rng(0)
n, d = 100, 20
X = np.sqrt(n) * np.linalg.qr(rng.standard_normal((n, d)))[0]
U, V = (np.linalg.qr(rng.standard_normal((d, 4)))[0] for _ in range(2))
problem = accel.LpProblem(X, X @ (V * TARGET) @ U.T, p=2, scale="1/p")

# %%
# What the theory says
# --------------------
# As w grows, there is a transition at :math:`\gamma = 1`. For a larger variance,
# :math:`\gamma < 1`, the start is close to a global minimum and far from any saddle; for a smaller
# one it is close to a saddle and far from any minimum. The saddle-to-saddle regime is the limit of
# small starts.
#
# Near 0 the loss falls fastest, for a given norm of all layers together, where every layer has rank
# 1, all have the same norm a, and all are aligned with the first singular vectors of the target,
# whose singular value is :math:`s_1`. There :math:`\dot a = s_1 a^{N-1}`. So a start of size
# :math:`\alpha` leaves 0 after a training time that grows like :math:`\log(1/\alpha) / s_1` at the
# depth N = 2, and like :math:`\alpha^{-(N-2)}` beyond. This way ends at a saddle at which the
# network is one of width 1: every layer has one singular value, :math:`s_1^{1/N}`, and no other.

models = [
    (
        accel.LinearNetwork(
            [d, WIDTH, WIDTH, d], init="near_zero", scale=WIDTH ** (-gamma / 2), seed=0
        ),
        accel.GradientDescent(0.002),
    )
    for gamma in GAMMAS
]
quantities = [accel.recording.SingularValues(4, factors=True)]
results = accel.sweep(problem, models, 8000, record=quantities, record_every=10)

figure, (loss, values) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
shades = ("#b7e0b7", "#6cbf6c", "#2ca02c", "#145214")
for result, gamma, color in zip(results, GAMMAS, shades, strict=True):
    result.plot(loss, label=rf"$\gamma$ = {gamma:g}", color=color)
for height in SADDLES:
    loss.axhline(height, color="0.6", linestyle="--", linewidth=1, zorder=0)
loss.set(title="loss, depth 3; dashed: that of the saddles", xscale="log", ylim=(1e-4, 100))
values.set_prop_cycle(color=plt.colormaps["plasma"](np.linspace(0, 0.8, 4)))
results[2].plot(values, what="singular_values")
values.set(yscale="linear", yticks=[0, *TARGET], title=r"singular values, $\gamma$ = 2")
values.set(ylabel="singular values of the end-to-end matrix")
loss.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=4)
for ax in (loss, values):
    ax.grid(alpha=0.3)

# %%
# What one sees
# -------------
# At :math:`\gamma = 1` the loss goes down without a stop. The smaller the start, the more it goes
# in stairs: it waits at the losses of the best maps of rank 0, 1, 2 and 3. In the same order the
# singular values are learned, each of them while the larger ones are there and the smaller ones are
# still next to 0 (right). The smallest start still waits at the saddle of rank 2 when the run ends.
#
# Published and measured
# ----------------------
# The paper shows curves and theorems. The table holds the first saddle to the theorem: it shows the
# singular values of the layers in the middle, on a logarithmic scale of steps, between the step at
# which the first singular value of the target is half learned and the step of the second.

print("gamma   step    loss (10.5)   layer: first (2) and second singular value")
for result, gamma in zip(results[1:], GAMMAS[1:], strict=True):
    history = result.history
    half = (history["singular_values"] >= TARGET / 2).argmax(axis=0)
    middle = round(np.sqrt(half[0] * half[1]))
    layers = np.array([history[f"singular_values_W{j}"][middle, :2] for j in (1, 2, 3)])
    pairs = "   ".join(f"{first:.3f} {second:.3f}" for first, second in layers)
    print(f"{gamma:5g} {history.step[middle]:6} {history.loss[middle]:14.3f}   {pairs}")
first_saddle = history.loss[middle], layers  # from the smallest start

# %%
# By depth, from one end-to-end matrix
# ------------------------------------
# Here networks of depth 1, 2 and 3 and the least width start from the same end-to-end matrix
# (entries of deviation 1e-4) in balanced layers, and take 4000 steps at the rate 0.01. Beside it
# the time to leave the saddle at 0: the step at which the first singular value is half learned, at
# depth 2 and 3 from entries of deviation :math:`\alpha` (width 20, rate 0.005).

networks = [
    accel.LinearNetwork.for_problem(problem, depth, init="balanced", scale=1e-4, seed=0)
    for depth in (1, 2, 3)
]
models = [(network, accel.GradientDescent(0.01)) for network in networks]
by_depth = accel.sweep(problem, models, 4000, record="singular_values(4)", record_every=1)

ALPHAS = np.array([0.02, 0.01, 0.005, 0.0025])
escapes = []
for depth, steps in ((2, 300), (3, 3000)):
    models = [
        (
            accel.LinearNetwork([d] * (depth + 1), init="near_zero", scale=alpha, seed=0),
            accel.GradientDescent(0.005),
        )
        for alpha in ALPHAS
    ]
    small = accel.sweep(problem, models, steps, record="singular_values(1)", record_every=1)
    escapes.append([np.argmax(r.history["singular_values"] >= 4) for r in small])
escapes = np.array(escapes)

figure, (loss, times) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for result in by_depth:
    depth = result.network.depth
    result.plot(loss, label=f"depth {depth}", color=f"C{depth - 1}")
for height in SADDLES:
    loss.axhline(height, color="0.6", linestyle="--", linewidth=1, zorder=0)
loss.set(title="loss; dashed: that of the saddles", ylim=(0.01, 100), xscale="log", xlim=(10, 4000))
logarithm = np.log(ALPHAS / ALPHAS[-1]) / np.log1p(0.005 * TARGET[0])
times.loglog(ALPHAS, escapes[0], "oC1", label="depth 2")
times.loglog(ALPHAS, escapes[0, -1] - logarithm, "C1:", label=r"$\log(1/\alpha)$ + constant")
times.loglog(ALPHAS, escapes[1], "oC2", label="depth 3")
times.loglog(
    ALPHAS, escapes[1, -1] * ALPHAS[-1] / ALPHAS, "C2:", label=r"in proportion to $1/\alpha$"
)
times.minorticks_off()
times.set_xticks(ALPHAS, [f"{alpha:g}" for alpha in ALPHAS])
times.set(
    xlabel=r"size of the start, $\alpha$", ylabel="step", title="when the saddle at 0 is left"
)
for ax in (loss, times):
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    ax.grid(alpha=0.3)


def reaches(result, share):
    """Return the first step at which each singular value has this share of its target."""
    return (result.history["singular_values"] >= share * TARGET).argmax(axis=0)


print("depth  singular value  half of it at step  steps from 10 % to 90 %")
for result in by_depth:
    half, rise = reaches(result, 0.5), reaches(result, 0.9) - reaches(result, 0.1)
    for row in zip(TARGET, half, rise, strict=True):
        print(f"{result.network.depth:5}  {row[0]:14g}  {row[1]:18}  {row[2]:23}")
for alpha, two, three in zip(ALPHAS, *escapes, strict=True):
    print(f"alpha {alpha:6g}: the saddle at 0 is left at step {two} (depth 2), {three} (depth 3)")

# %%
# Depth 1 learns all four singular values at the same pace. Depth 2 and 3 learn the largest first.
# At depth 3 each is learned later than at depth 2 and, compared with the wait before it, more
# quickly: the last column is more than a third of the one before at depth 2, and less than an
# eighth at depth 3. Half the start costs depth 2 a fixed number of steps, and depth 3 twice the
# number of steps, as the theory says.
#
# What differs
# ------------
# The paper's theorem is about gradient flow in the limit of starts of size 0, and its transition at
# :math:`\gamma = 1` about widths that go to infinity; here are small rates, one width and small
# starts. The data, the sizes and the rates are ours. The stairs by depth also stand in Saxe,
# McClelland and Ganguli (2014), `arXiv 1312.6120 <https://arxiv.org/abs/1312.6120>`_, and Gidel,
# Bach and Lacoste-Julien (2019), `arXiv 1904.13262 <https://arxiv.org/abs/1904.13262>`_.
#
# Checks
# ------

at_saddle, layers = first_saddle
assert abs(at_saddle / SADDLES[1] - 1) < 0.01
assert abs(results[3].loss / SADDLES[2] - 1) < 0.05
learned = results[2].history["singular_values"] / TARGET
learned = learned[(learned >= 0.5).argmax(axis=0)]  # row i: when singular value i is half learned
assert learned[np.tril_indices(4, -1)].min() > 0.95  # the larger ones are there
assert learned[np.triu_indices(4, 1)].max() < 0.1  # the smaller ones are to come
assert abs(layers[:, 0] / TARGET[0] ** (1 / 3) - 1).max() < 0.01
assert layers[:, 1].max() < 0.1
# The steps within a tenth of the loss of the first saddle: the smaller the start, the more.
waits = np.array([10 * np.sum(abs(r.history.loss / SADDLES[1] - 1) < 0.1) for r in results])
assert waits[0] < 50
assert (waits[1:] > 2 * waits[:-1]).all()

half = np.array([reaches(result, 0.5) for result in by_depth])
rises = np.array([reaches(result, 0.9) - reaches(result, 0.1) for result in by_depth])
assert half.min() > 0  # all are reached
assert np.ptp(half[0]) <= 1
assert (np.diff(half[1:], axis=1) > 0).all()
assert (half[2] > 2 * half[1]).all()
assert (rises[1] / half[1]).min() > 1 / 3
assert (rises[2] / half[2]).max() < 1 / 8
middle = np.sqrt(half[2, 1:] * half[2, :-1]).astype(int)
assert abs(by_depth[2].history.loss[middle] / SADDLES[1:] - 1).max() < 0.05

assert abs(np.diff(escapes[0]) / (np.log(2) / np.log1p(0.005 * TARGET[0])) - 1).max() < 0.15
assert abs(escapes[1, 1:] / escapes[1, :-1] - 2).max() < 0.05
