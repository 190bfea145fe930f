"""Which learning rate suits which depth? Three depths, twenty rates each, in one sweep, and a plot.

pip install "implicit-accel[cli]" && python examples/sweep.py [picture.png]
"""

import sys

import numpy as np

import accel

data = accel.datasets.load_diabetes()
scaled = accel.standardize(data.X, data.y)
problem = accel.LpProblem(scaled.X, scaled.y, p=4)
best = accel.optimum(problem)

depths, rates = (1, 2, 3), np.geomspace(1e-3, 1.0, 20)
models = [
    (
        accel.LinearNetwork.for_problem(problem, depth, width=10, init="balanced", scale=0.1),
        accel.GradientDescent(float(rate)),
    )
    for depth in depths
    for rate in rates
]
sweep = accel.sweep(problem, models, steps=2000)
table = sweep.to_pandas()
table["distance"] = (table["loss"] - best.loss).where(table["status"] != "diverged")
for depth, group in table.groupby("depth"):
    winner = group.loc[group["distance"].idxmin()]
    print(
        f"depth {depth}: {group['distance'].notna().sum()} of {len(group)} rates survive, the best "
        f"{winner['learning_rate']:.3g} ends {winner['distance']:.2e} above the optimum"
    )

if len(sys.argv) > 1:
    axes = table.pivot_table(index="learning_rate", columns="depth", values="distance").plot(
        logx=True, logy=True, marker="o", ylabel="loss above the optimum"
    )
    axes.figure.savefig(sys.argv[1])
