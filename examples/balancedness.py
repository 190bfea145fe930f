"""Balancedness: conserved at small learning rates, broken at large ones.

Gradient flow conserves the differences W_{j+1}' W_{j+1} - W_j W_j' of neighbouring factors. A step
of gradient descent moves them by eta^2 times products of gradients; so over a fixed training time,
eta x steps, they drift in proportion to eta, as long as the run is stable. Where eta is above
2 / sharpness it is not: the loss oscillates and does not get to 0, and the drift is several times
what the proportion says.

A network of depth 3 starts near zero and learns a 20 x 20 matrix with the singular values 8, 4, 2
and 1 from whitened data (X'X / n = I), at many rates in one sweep.

Arora, Cohen, Hazan (2018), arXiv 1802.06509, theorem 1; Du, Hu, Lee (2018), arXiv 1806.00900.

    pip install "implicit-accel[cli]" && python examples/balancedness.py [picture.png]
"""

import itertools
import sys

import matplotlib.pyplot as plt
import numpy as np

import accel
from accel.theory import sharpness

TIME = 5.0  # rate x steps
RATES = (0.001, 0.003, 0.01, 0.02, 0.03, 0.036, 0.045, 0.05, 0.06, 0.07)


def differences(network):
    """W_{j+1}' W_{j+1} - W_j W_j' of neighbouring factors, one after the other."""
    W = network.factors
    return [above.T @ above - below @ below.T for below, above in itertools.pairwise(W)]


def train(rates=RATES):
    """Train at these rates, the least first; return a sweep, and the largest stable rate."""
    rng = np.random.default_rng(0)
    n, d, target = 100, 20, np.array([8.0, 4.0, 2.0, 1.0])
    X = np.sqrt(n) * np.linalg.qr(rng.standard_normal((n, d)))[0]
    U, V = (np.linalg.qr(rng.standard_normal((d, len(target))))[0] for _ in range(2))
    problem = accel.LpProblem(X, X @ (V * target) @ U.T, p=2, scale="1/p")
    network = accel.LinearNetwork.for_problem(problem, depth=3, scale=0.2, seed=0)
    start = differences(network)

    def drift(step, network):
        """How far the differences are from those at the start: the largest norm."""
        pairs = zip(differences(network), start, strict=True)
        return max(np.linalg.norm(now - before) for now, before in pairs)

    # The steps of a sweep are the same for all models; what comes after TIME is not looked at.
    results = accel.sweep(
        problem,
        [(network, accel.GradientDescent(rate)) for rate in rates],
        steps=round(TIME / rates[0]),
        record=["balancedness", drift],
        record_every=3,
    )
    return results, 2 / sharpness(problem, results[0].network)


def until_time(result, name):
    """Training time, and what was recorded under this name, up to TIME."""
    time = result.optimizer.learning_rate * result.history.step
    return time[time <= TIME], result.history[name][time <= TIME]


def drifts(results):
    """Rates, and the drift at TIME for each."""
    rates = [result.optimizer.learning_rate for result in results]
    return np.array(rates), np.array([until_time(result, "drift")[1][-1] for result in results])


def draw(results, limit, path):
    """Balancedness and loss against the training time, and the drift against the rate."""
    figure, (balance, drift, loss) = plt.subplots(1, 3, figsize=(14.5, 4.4), layout="constrained")
    colors = plt.colormaps["plasma"](np.linspace(0, 0.9, len(results)))
    widths = np.linspace(5, 1.2, len(results))  # so that losses that coincide are all seen
    rates, ends = drifts(results)
    for result, rate, color, width in zip(results, rates, colors, widths, strict=True):
        balance.plot(*until_time(result, "balancedness"), color=color, label=f"{rate:g}")
        loss.plot(*until_time(result, "loss"), color=color, linewidth=width)
    drift.loglog(rates, ends[0] / rates[0] * rates, color="0.6", label=r"in proportion to $\eta$")
    drift.axvline(limit, color="0.4", linestyle="--", linewidth=1, label="2 / sharpness")
    drift.scatter(rates, ends, color=colors, zorder=3)
    time = r"training time, $\eta$ x steps"
    balance.set(title=r"the largest $\|W_{j+1}'W_{j+1} - W_j W_j'\|$", xlabel=time)
    drift.set(title=f"its drift up to the time {TIME:g}", xlabel=r"learning rate $\eta$")
    loss.set(title="loss, of stable rates on one curve", xlabel=time, yscale="log")
    handles, labels = balance.get_legend_handles_labels()
    figure.legend(handles, labels, title=r"$\eta$", loc="outside right center")
    drift.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    for ax in (balance, drift, loss):
        ax.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main():
    """Train, print the drift by rate, and draw."""
    results, limit = train()
    print(f"2 / sharpness at the end of the run with the least rate: {limit:.4f}")
    print(" rate  balancedness: start    end   drift  drift / rate  loss at the end")
    for result, rate, end in zip(results, *drifts(results), strict=True):
        balance, loss = (until_time(result, name)[1] for name in ("balancedness", "loss"))
        print(
            f"{rate:5g}  {balance[0]:19.3f}  {balance[-1]:5.3f}  {end:6.4f}"
            f"  {end / rate:12.2f}  {loss[-1]:15.2g}"
        )
    draw(results, limit, sys.argv[1] if len(sys.argv) > 1 else "balancedness.png")


if __name__ == "__main__":
    main()
