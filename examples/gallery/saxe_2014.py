r"""
Exact learning curves of deep linear networks (Saxe et al. 2014)
================================================================

A deep linear network computes a linear map, and yet gradient descent moves it along curves that are
not linear: plateaus, and then rapid changes. Andrew M. Saxe, James L. McClelland and Surya Ganguli
(2014), "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
`arXiv 1312.6120 <https://arxiv.org/abs/1312.6120>`_, solved these curves. This study trains
networks and draws the solutions over them: the sigmoids of two factors, from an ideal and from a
random start; the times that three and four factors take; and what happens as the depth grows.

The setting
-----------
The inputs are white, ``X'X / n = I``, with n = 60 samples and d = 20 features. The 20 outputs are
``Y = X W*'``, and the map :math:`W^* = U S V^\top` has rank 4 with the singular values 4, 3, 2 and
1. The loss is half of the mean squared error.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import quad

import accel

plt.rcParams.update({"axes.grid": True, "grid.alpha": 0.3, "figure.constrained_layout.use": True})
rng = np.random.default_rng(0)
n, d, s = 60, 20, np.array([4.0, 3.0, 2.0, 1.0])
X = np.sqrt(n) * np.linalg.qr(rng.standard_normal((n, d)))[0]
U, V = (np.linalg.qr(rng.standard_normal((d, 4)))[0] for _ in range(2))
problem = accel.LpProblem(X, X @ (V * s) @ U.T, p=2, scale="1/p")

# %%
# What the theory says
# --------------------
# Gradient descent with a small learning rate follows a flow, whose time t is the learning rate
# times the number of steps. If all N factors are diagonal in the singular vectors of :math:`W^*`,
# with equal entries, the singular values of the network do not see each other. Each of them, u,
# obeys
#
# .. math:: \frac{du}{dt} = N u^{2 - 2/N} (s - u)
#
# and tends to its s. (The paper counts layers of neurons, :math:`N_l = N + 1`.) For two factors the
# solution from :math:`u_0` is a sigmoid,
#
# .. math:: u(t) = \frac{s \, e^{2 s t}}{e^{2 s t} - 1 + s / u_0} .
#
# For more factors the time that it takes from :math:`u_0` to u is an integral,
#
# .. math:: t = \int_{u_0}^{u} \frac{dx}{N x^{2 - 2/N} (s - x)} .


def sigmoid(t, s, u0):
    """The singular value of two factors at the times t."""
    return s / (1 + (s / u0 - 1) * np.exp(-2 * s * t))


def time_to(u, s, u0, depth):
    """The time from u0 to u at any depth; the integral over log x is the smoother one."""
    return quad(lambda z: 1 / (depth * np.exp(z * (1 - 2 / depth)) * (s - np.exp(z))),
                np.log(u0), np.log(u), epsabs=0, epsrel=1e-10, limit=200)[0]  # fmt: skip


# %%
# Two factors
# -----------
# One network starts as the theory has it, every singular value at 0.001. The other one starts from
# independent Gaussian factors (deviation 0.004, hidden layer of width 100, seed 0), as one would
# start it in practice. The theory does not quite cover the latter, but it suggests what to expect.
# Let :math:`a = W_1 v` and :math:`b = W_2^\top u` for the singular vectors u and v of a mode. While
# both are small only their mean grows, as :math:`e^{s t}`. So the sigmoid is drawn from
# :math:`u_0 = |(a + b) / 2|^2`, and nothing is fitted. What is recorded is :math:`u^\top W v`, the
# strength of a mode. Both networks take 12 000 steps at the learning rate 0.0005.


def aligned(depth, start):
    """A network whose end-to-end matrix has the singular values ``start`` in the modes of W*."""
    root = start ** (1 / depth) * np.eye(4)
    factors = [root @ V.T, *[root] * (depth - 2), U @ root]
    return accel.LinearNetwork.for_problem(problem, depth, width=4, init=factors)


def strength(step, network):
    """How much of each mode the network has: u' W v."""
    return np.einsum("ki,kd,di->i", U, network.end_to_end(), V)


start, rate, steps = 1e-3, 5e-4, 12_000
random = accel.LinearNetwork.for_problem(
    problem, 2, width=100, init="near_zero", scale=0.004, seed=0
)
descent = accel.GradientDescent(rate)
ideal, drawn = accel.sweep(
    problem, [(aligned(2, start), descent), (random, descent)], steps,
    record=["singular_values(4)", strength], record_every=20,
)  # fmt: skip
t = rate * ideal.history.step
W1, W2 = random.factors
starts = np.sum(((W1 @ V + W2.T @ U) / 2) ** 2, axis=0)

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
runs = (
    ("start in the modes", ideal.history["singular_values"], np.full(4, start)),
    ("random start", drawn.history["strength"], starts),
)
errors = []
for ax, (name, simulated, u0) in zip(axes, runs, strict=True):
    theory = sigmoid(t[:, None], s, u0)
    errors.append(np.abs(simulated - theory).max(axis=0) / s)
    lines = ax.plot(t, simulated, color="C1", lw=3, alpha=0.6)
    curves = ax.plot(t, theory, "k:", lw=1.5)
    ax.set(title=name, xlabel="time: learning rate x steps")
axes[0].set_ylabel("strength of the mode")
names = ["network of depth 2", "closed form"]
figure.legend([lines[0], curves[0]], names, loc="outside lower center", ncols=2)

print("largest distance of the network from the closed form, relative to s")
print("singular value     " + "".join(f"{value:8g}" for value in s))
for (name, _, _), error in zip(runs, errors, strict=True):
    print(f"{name:19}" + "".join(f"{value:8.4f}" for value in error))

# %%
# What one sees
# -------------
# Every mode waits on a plateau, rises as a sigmoid, and stays. The larger its singular value, the
# earlier it rises, nearly in proportion to 1 / s. From the ideal start simulation and closed form
# are one curve. From the random start they agree within a few percent, although the factors are
# neither balanced nor in the singular vectors: while the modes are small they find their
# directions.

halves = [np.interp(value / 2, ideal.history["singular_values"][:, mode], t)
          for mode, value in enumerate(s)]  # fmt: skip
assert np.ptp(s * halves) < 0.25 * np.min(s * halves)
assert errors[0].max() < 5e-3
assert errors[1].max() < 0.03

# %%
# Deeper networks
# ---------------
# Networks of depth 2, 3 and 4 start with all singular values at 0.01 and take steps of 0.0005
# again. The lines are the networks; the dots are points (t, u) by the integral above.

start, steps = 1e-2, 16_000
deep = accel.sweep(
    problem, [(aligned(depth, start), descent) for depth in (2, 3, 4)], steps,
    record=["singular_values(4)"], record_every=20,
)  # fmt: skip
t = rate * deep[0].history.step
shares = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
figure, axes = plt.subplots(1, 3, figsize=(10, 3.8), sharey=True)
worst, waits, rises = 0.0, [], []
print("time to half of the singular value: network, integral")
for ax, result in zip(axes, deep, strict=True):
    depth, simulated = result.network.depth, result.history["singular_values"]
    ax.plot(t, simulated, color=f"C{depth - 1}")
    row = f"depth {depth}: "
    for mode, value in enumerate(s):
        exact = np.array([time_to(x * value, value, start, depth) for x in shares])
        reached = np.interp(shares * value, simulated[:, mode], t)
        worst = max(worst, np.abs(reached / exact - 1).max())
        ax.plot(exact, shares * value, "k.")
        row += f"  s = {value:g}: {reached[2]:.3f}, {exact[2]:.3f}"
        waits.append(reached[0])  # until it has a tenth of its singular value
        rises.append(reached[-1] - reached[0])  # from one tenth to nine
    print(row)
    ax.set(title=f"depth {depth}", xlabel="time: learning rate x steps")
axes[0].set_ylabel("singular value")
print(f"largest relative difference of all times: {worst:.1e}")

# %%
# The deeper the network, the longer its plateaus, and the sharper the rise after them. With three
# and four factors the wait grows as a power of the start, :math:`u_0^{-(1 - 2/N)}`, and no longer
# as its logarithm.

assert worst < 0.01
assert (np.diff(np.reshape(waits, (3, 4)), axis=0) > 0).all()
assert (np.diff(np.reshape(rises, (3, 4)), axis=0) < 0).all()

# %%
# As the depth grows
# ------------------
# One of the paper's surprises: from a start that keeps all factors in proportion, the time that
# learning takes has a limit as the depth grows. In units of 1/N (a learning rate that falls as 1/N,
# as stability asks for) the integral tends to
#
# .. math:: \frac{1}{s^2} \ln \frac{u (s - u_0)}{u_0 (s - u)} + \frac{1}{s u_0} - \frac{1}{s u} .
#
# The networks below start at :math:`u_0` = 0.1 and run at the learning rate 0.001/N until all modes
# are learned. The time is that to nine tenths of s = 1, the slowest mode.

depths, start, share = (2, 3, 4, 8, 16, 32, 64), 0.1, 0.9
models = [(aligned(depth, start), accel.GradientDescent(1e-3 / depth)) for depth in depths]
results = accel.sweep(problem, models, 14_000, record=["singular_values(4)"], record_every=20)
limit = np.log(share * (1 - start) / (start * (1 - share))) + 1 / start - 1 / share
scaled = np.array(
    [np.interp(share, run.history["singular_values"][:, 3], 1e-3 * run.history.step)
     for run in results]
)  # fmt: skip
exact = np.array([depth * time_to(share, 1.0, start, depth) for depth in depths])
print("depth  N x time: network  integral")
for row in zip(depths, scaled, exact, strict=True):
    print("{:5}  {:17.3f}  {:8.3f}".format(*row))
print(f"limit  {limit:27.3f}")

figure, ax = plt.subplots(figsize=(6.4, 3.8))
ax.semilogx(depths, exact, "k:", label="integral")
ax.semilogx(depths, scaled, "o", color="0.2", label="networks")
ax.axhline(limit, color="0.5", ls="--", label="limit of infinite depth")
ax.set(
    title="time to learn the slowest mode, from 0.1 to 0.9",
    xlabel="depth N",
    ylabel="N x time to learn s = 1",
    xticks=depths,
    ylim=(0, 15),
)
ax.set_xticklabels(depths)
ax.minorticks_off()
ax.legend(loc="lower right")

assert np.abs(scaled / exact - 1).max() < 0.01
assert (np.diff(scaled) > 0).all()
assert scaled[-1] < limit < 1.1 * scaled[-1]

# %%
# Published and measured
# ----------------------
# The paper states these curves as equations; the tables above compare the networks with them. Its
# figures are drawn curves without numbers that could stand here.
#
# What differs
# ------------
# The map to be learned is our own, with chosen singular values. The paper's nonlinear (tanh)
# networks, its networks trained on handwritten digits and its pre-training are left out: this
# package trains linear networks only.
