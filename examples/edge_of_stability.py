"""Progressive sharpening, and the edge of stability, in deep linear networks.

Gradient descent with the rate eta is stable where the sharpness, the largest eigenvalue of the
Hessian in the factors, is below 2 / eta. The data (100 samples, 20 features, 5 outputs) have a
covariance whose eigenvalues go from 1 down to 1e-4, and each of its directions explains about as
much of the outputs. The weak directions need large weights and are learned last: so the factors
grow all through training, and with them the sharpness, the faster the deeper the network. At
2 / eta it stops and stays. From then on the loss goes up and down in spikes, and falls over longer
times; and the balancedness of the factors, conserved until then, is given up for places where the
loss is flatter.

Cohen, Kaur, Li, Kolter, Talwalkar (2021), arXiv 2103.00065; for what holds the sharpness there,
Damian, Nichani, Lee (2023), arXiv 2209.15594.

    pip install "implicit-accel[cli]" && python examples/edge_of_stability.py [picture.png]

With --quick only the first 3000 steps, in which depth 4 gets to the edge at two rates.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import accel

RATE = 0.05
#: Depths at one rate, then one depth at other rates.
MODELS = ((2, RATE), (3, RATE), (4, RATE), (4, RATE / 2), (4, 2 * RATE))


def train(models=MODELS, steps=12_000):
    """Train networks of these depths at these rates; a sweep, one result each."""
    rng = np.random.default_rng(0)
    n, d, k = 100, 20, 5
    eigenvalues = np.geomspace(1, 1e-4, d)
    X = np.sqrt(n * eigenvalues) * np.linalg.qr(rng.standard_normal((n, d)))[0]
    W = rng.standard_normal((k, d)) / np.sqrt(k * d * eigenvalues)
    problem = accel.LpProblem(X, X @ W.T, p=2, scale="1/p")
    pairs = [
        (
            accel.LinearNetwork.for_problem(problem, depth, width=d, scale=0.1, seed=0),
            accel.GradientDescent(rate),
        )
        for depth, rate in models
    ]
    # An odd number of steps between records, since at the edge iterates alternate.
    return accel.sweep(problem, pairs, steps, record=["sharpness", "balancedness"], record_every=25)


def stability(result):
    """The sharpness as a share of 2 / eta, at every record."""
    return result.history["sharpness"] * result.optimizer.learning_rate / 2


def draw(results, path):
    """Sharpness and loss by depth, and the sharpness by rate."""
    figure, (depths, loss, rates) = plt.subplots(1, 3, figsize=(13.5, 4.5), layout="constrained")
    for result in results[:3]:
        depth = result.network.depth
        style = {"label": f"depth {depth}", "color": f"C{depth - 1}"}
        result.plot(depths, what="sharpness", linewidth=1.2, **style)
        result.plot(loss, linewidth=0.6, **style)
    for i, color in ((3, "#f29c9d"), (2, "C3"), (4, "#7a1516")):  # light to dark: depth 4
        label = rf"$\eta$ = {results[i].optimizer.learning_rate:g}"
        results[i].plot(rates, what="sharpness", label=label, color=color, linewidth=1.2)
    depths.set(title=rf"sharpness by depth, $\eta$ = {RATE:g}; dashed: $2/\eta$", yscale="linear")
    loss.set(title="the loss of the same runs")
    rates.set(title=r"sharpness at depth 4, by $\eta$; dashed: $2/\eta$", yscale="linear")
    for ax in (depths, loss, rates):
        solid = [line for line in ax.get_lines() if line.get_linestyle() == "-"]
        ax.legend(handles=solid, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
        ax.locator_params(axis="x", nbins=5)
        ax.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main():
    """Train, print how near to 2 / eta the sharpness comes, and draw."""
    paths = [word for word in sys.argv[1:] if word != "--quick"]
    results = train(steps=3000 if "--quick" in sys.argv else 12_000)
    print("               sharpness / (2 / eta)   balancedness     loss:  higher than")
    print("depth    rate   start   most     end    start    end    at end  25 steps ago")
    for result in results:
        share, balance = stability(result), result.history["balancedness"]
        rises = np.mean(np.diff(result.history.loss) > 0)
        print(
            f"{result.network.depth:5}  {result.optimizer.learning_rate:6g}  {share[0]:6.3f}"
            f"  {share.max():5.3f}  {share[-1]:6.3f}  {balance[0]:7.2f}  {balance[-1]:5.2f}"
            f"  {result.loss:8.2g}  {rises:11.0%}"
        )
    draw(results, paths[0] if paths else "edge_of_stability.png")


if __name__ == "__main__":
    main()
