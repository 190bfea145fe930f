r"""
Descent converges from balanced starts (Arora et al. 2018b)
===========================================================

Arora, Cohen, Golowich and Hu (2018), "A Convergence Analysis of Gradient Descent for Deep Linear
Neural Networks" (`arXiv 1810.02281 <https://arxiv.org/abs/1810.02281>`_), prove that gradient
descent on a deep linear network converges to the global minimum at a linear rate, if the start
meets two conditions: the layers are nearly *balanced*, and the start is closer to the target than
any matrix of lower rank.

This example runs descent exactly as the theorem asks, at depth 2, 3 and 4, and holds the loss to
the proven bound. It then shows a start that violates the second condition, from which descent goes
to a saddle and not to the minimum. At last it shows what the theorem rests on: small steps conserve
the balance of the layers, and steps that are too large do not.
"""

# %%
# The setting
# -----------
# The data are whitened: :math:`X^\top X / n` is the identity. The labels are :math:`X \Phi^\top`
# with a target matrix :math:`\Phi`, and the loss is half the squared error, averaged over the
# samples. So the loss of the end-to-end matrix W, the product of the layers, is
# :math:`\ell(W) = \frac12 \|W - \Phi\|_F^2`, as in the paper.
#
# For the theorem there are 40 samples, 10 features and one output. The target has the norm 1, and
# W starts at a distance of 0.2 from it, in a random direction. The hidden layers have width 1, the
# least that the theorem allows.

import itertools

import matplotlib.pyplot as plt
import numpy as np

import accel
from accel.theory import sharpness

DEPTHS = (2, 3, 4)
MARGIN = 0.8  # c
SHARE = 1e-3  # epsilon as a share of the loss at the start


def whitened(n, d, target):
    """Return the problem whose loss is half the squared distance from the target (k, d)."""
    X = np.sqrt(n) * np.linalg.qr(rng.standard_normal((n, d)))[0]
    return accel.LpProblem(X, X @ target.T, p=2, scale="1/p")


def layers(w, depth):
    """Return balanced layers of width 1 whose product is the vector w."""
    size = np.linalg.norm(w)
    root = size ** (1 / depth)
    return [root / size * w[np.newaxis], *(np.full((1, 1), root) for _ in range(depth - 1))]


rng = np.random.default_rng(0)
phi, direction = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 10)))
problem = whitened(40, 10, phi[np.newaxis])

# %%
# What the theory says
# --------------------
# W has the *deficiency margin* c > 0 if :math:`\|W - \Phi\|_F \le \sigma_{\min}(\Phi) - c`. Then
# every matrix that is at least as close to :math:`\Phi` has singular values of at least c. The
# layers are :math:`\delta`-*balanced* if :math:`\|W_{j+1}^\top W_{j+1} - W_j W_j^\top\|_F \le
# \delta` for all neighbours. Theorem 1 of the paper says: let the start have the margin c, let the
# layers be :math:`\delta`-balanced, and let the rate be small enough, where
#
# .. math::
#     \delta = \frac{c^2}{256\, N^3 \|\Phi\|_F^{2(N-1)/N}}, \qquad
#     \eta \le \frac{c^{(4N-2)/N}}{6144\, N^3 \|\Phi\|_F^{(6N-4)/N}}.
#
# Then the loss is at most :math:`\varepsilon` after :math:`T \ge \log(\ell(0)/\varepsilon) /
# (\eta\, c^{2(N-1)/N})` steps. For every step t that is the bound :math:`\ell(t) \le \ell(0)
# \exp(-\eta\, c^{2(N-1)/N} t)`.
#
# The idea in the limit of small steps and exact balance: by the end-to-end rule of Arora, Cohen and
# Hazan (2018) the loss falls at least at the speed :math:`c^{2(N-1)/N} \|\nabla \ell\|_F^2`, and on
# whitened data :math:`\|\nabla \ell\|_F^2 = 2 \ell`. So this limit has the bound :math:`\ell(0)
# \exp(-2 c^{2(N-1)/N}\, \eta t)`, and the theorem gives half of the exponent away for what is not
# exact.
#
# The runs of the theorem
# -----------------------
# The rate is the largest that the theorem allows. The layers are out of balance by 0.8 of what it
# allows: the first is made a little longer and the second as much shorter.

results, exponents, deltas = [], [], []
for depth in DEPTHS:
    delta = MARGIN**2 / (256 * depth**3)  # the norm of the target is 1
    rate = MARGIN ** ((4 * depth - 2) / depth) / (6144 * depth**3)
    exponent = rate * MARGIN ** (2 * (depth - 1) / depth)  # of the bound, for each step
    start = layers(phi + (1 - MARGIN) * direction, depth)
    stretch = 1 + 0.2 * delta / float(start[1][0, 0]) ** 2
    start[0], start[1] = start[0] * stretch, start[1] / stretch
    network = accel.LinearNetwork([10] + [1] * depth, init=start)
    steps = int(np.ceil(np.log(1 / SHARE) / exponent))
    result = accel.train(
        problem,
        network,
        accel.GradientDescent(rate),
        steps,
        record=["singular_values", "balancedness"],
        record_every=steps // 200,
    )
    results.append(result)
    exponents.append(exponent)
    deltas.append(delta)

# %%
# A start without the margin
# --------------------------
# The condition cannot be dropped, as the paper proves. Balanced layers with the product
# :math:`-\Phi/2` are at a distance of 1.5 from the target, farther than W = 0. Descent takes them
# to W = 0, where all layers vanish, which is a saddle of the loss (2000 steps at the rate 0.01). In
# exact arithmetic they never leave it. In floating point depth 2 does, some thousands of steps
# later: there the saddle has a direction of negative curvature, along which rounding grows.

opposite = [
    accel.LinearNetwork([10] + [1] * depth, init=layers(-phi / 2, depth)) for depth in DEPTHS
]
models = [(network, accel.GradientDescent(0.01)) for network in opposite]
outside = accel.sweep(problem, models, steps=2000, record_every=10)

figure, (bound, saddle) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for result, exponent, depth in zip(results, exponents, DEPTHS, strict=True):
    history = result.history
    label = f"depth {depth}"
    bound.plot(
        exponent * history.step, history.loss / history.loss[0], f"C{depth - 1}", label=label
    )
time = np.array([0, np.log(1 / SHARE)])
bound.plot(time, np.exp(-time), "k--", label="bound of the theorem")
bound.plot(time, np.exp(-2 * time), "k:", label="bound of the exact limit")
bound.set(yscale="log", ylim=(1e-8, 2), title="at the rate of the theorem")
bound.set(xlabel=r"$\eta\, c^{2(N-1)/N}\, t$ (t: steps)", ylabel=r"$\ell(t) / \ell(0)$")
for result, depth in zip(outside, DEPTHS, strict=True):
    label = f"depth {depth}"
    saddle.plot(result.history.step, result.history.loss, f"C{depth - 1}", label=label)
saddle.axhline(0.5, color="0.6", linestyle="--", linewidth=1, label="loss at W = 0")
saddle.set(title="a start without the margin", xlabel="step", ylabel=r"loss $\ell$")
saddle.set(xlim=(0, 800), ylim=(0, 1.2))
for ax in (bound, saddle):
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    ax.grid(alpha=0.3)

# %%
# What one sees
# -------------
# Left: in the time in which the theorem counts, all three runs stay below its bound, and below that
# of the exact limit, which is twice as steep. Right: the start without the margin ends at the loss
# 1/2, that of W = 0, at every depth.
#
# Published and measured
# ----------------------
# The paper's theorem gives numbers for this very run: the steps after which the loss is a
# thousandth of what it was. The last column compares the rate of the theorem with the limit of
# stability at the minimum, 2 / sharpness: the theorem is far on the safe side.

print("depth     rate    delta  balance: at most     steps: theorem  measured  limit / rate")
for result, exponent, delta, depth in zip(results, exponents, deltas, DEPTHS, strict=True):
    history, rate = result.history, result.optimizer.learning_rate
    measured = history.step[np.argmax(history.loss <= SHARE * history.loss[0])]
    limit = 2 / sharpness(problem, result.network)
    print(
        f"{depth:5} {rate:8.2g} {delta:8.2g} {history['balancedness'].max():17.2g}"
        f" {result.steps:18} {measured:9} {limit / rate:13.3g}"
    )
    assert history["balancedness"][0] < delta
    assert history["balancedness"].max() < 2 * delta
    assert history["singular_values"].min() > MARGIN
    assert (history.loss <= history.loss[0] * np.exp(-exponent * history.step)).all()
    assert (history.loss <= 1.001 * history.loss[0] * np.exp(-2 * exponent * history.step)).all()
    assert 2 < result.steps / measured < 2 * depth
    assert limit / rate > 1e4
for result in outside:
    assert abs(result.loss - 0.5) < 2e-3
    assert np.linalg.norm(result.network.end_to_end()) < 2e-3
    assert result.history.loss[0] > 0.5  # farther than W = 0

# %%
# What the theorem rests on: balance is conserved
# -----------------------------------------------
# Gradient flow conserves the differences :math:`W_{j+1}^\top W_{j+1} - W_j W_j^\top` exactly. A
# step of descent moves them by :math:`\eta^2` times products of gradients. So over a fixed training
# time, :math:`\eta` times steps, they should drift in proportion to :math:`\eta`, as long as the
# run is stable (Arora, Cohen and Hazan 2018, theorem 1; Du, Hu and Lee 2018, `arXiv 1806.00900
# <https://arxiv.org/abs/1806.00900>`_).
#
# To see it, a network of depth 3 starts near zero (entries of deviation 0.2) and learns a 20 x 20
# matrix with the singular values 8, 4, 2 and 1 from 100 whitened samples, at ten rates, over the
# training time 5. The drift is the distance of the differences from those at the start, the larger
# of the two.

RATES = (0.001, 0.003, 0.01, 0.02, 0.03, 0.036, 0.045, 0.05, 0.06, 0.07)
END = 5.0  # rate x steps
rng = np.random.default_rng(0)
U, V = (np.linalg.qr(rng.standard_normal((20, 4)))[0] for _ in range(2))
problem = whitened(100, 20, U * [8, 4, 2, 1] @ V.T)
network = accel.LinearNetwork.for_problem(problem, depth=3, scale=0.2, seed=0)


def differences(network):
    """Return W_{j+1}' W_{j+1} - W_j W_j' of neighbouring layers."""
    return [
        above.T @ above - below @ below.T for below, above in itertools.pairwise(network.factors)
    ]


def drift(step, network):
    """Return how far the differences are from those at the start."""
    return max(map(np.linalg.norm, np.subtract(differences(network), origin)))


origin = differences(network)
models = [(network, accel.GradientDescent(rate)) for rate in RATES]
sweep = accel.sweep(problem, models, round(END / RATES[0]), record=[drift], record_every=3)
limit = 2 / sharpness(problem, sweep[0].network)
# All models of a sweep take the same steps; what comes after the time 5 is not looked at.
times = [result.history.step * result.optimizer.learning_rate for result in sweep]
drifts, losses = np.transpose(
    [
        (r.history["drift"][t <= END][-1], r.history.loss[(t >= 0.8 * END) & (t <= END)].max())
        for r, t in zip(sweep, times, strict=True)
    ]
)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
left.loglog(RATES, drifts[0] / RATES[0] * np.array(RATES), "0.6", label=r"in proportion to $\eta$")
left.loglog(RATES, drifts, "oC2", label="drift")
right.loglog(RATES, losses, "oC2", label="loss")
left.set(title="drift of the balance up to the time 5", ylabel="drift (Frobenius norm)")
right.set(title="largest loss from the time 4 to 5", ylabel="loss")
for ax in (left, right):
    ax.axvline(limit, color="0.4", linestyle="--", linewidth=1, label="2 / sharpness")
    ax.set(xlabel=r"learning rate $\eta$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    ax.grid(alpha=0.3)

print(f"2 / sharpness at the minimum that the least rate finds: {limit:.4f}")
print(" rate   drift  drift / rate     loss")
for rate, value, loss in zip(RATES, drifts, losses, strict=True):
    print(f"{rate:5g}  {value:6.4f}  {value / rate:12.2f}  {loss:7.2g}")

# %%
# Below 2 / sharpness the drift is in proportion to the rate, to within a tenth, and all runs have
# about the same loss. At the rates above it the loss still oscillates at the end, more than ten
# times as high, and the drift is more than twice what the proportion says.
#
# What differs
# ------------
# The theorem holds for any number of outputs; the runs have one. With more outputs, and singular
# values of the target that are as large, the norm of the target is larger, and the rate of the
# theorem falls with its power :math:`(6N-4)/N`. The paper's own experiments are not repeated here.
#
# Checks
# ------

stable = np.array(RATES) < limit
per_rate = drifts / RATES / (drifts[0] / RATES[0])
assert 0.03 < limit < 0.05
assert abs(per_rate[stable] - 1).max() < 0.1
assert abs(losses[stable] / losses[0] - 1).max() < 0.2
assert per_rate[~stable].min() > 2
assert losses[~stable].min() > 10 * losses[0]
