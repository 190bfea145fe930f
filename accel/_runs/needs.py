"""How much memory a run needs, by estimate."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accel.kernels.specs import STATE_SLOTS

if TYPE_CHECKING:
    from accel._core.network import LinearNetwork
    from accel._core.optimizers import Optimizer
    from accel._core.problem import LpProblem
    from accel._support.backends import Backend


def run_needs(
    problem: "LpProblem",
    models: "Sequence[tuple[LinearNetwork, Optimizer]]",
    records: float,
    kernels: "Backend",
    threads: int,
) -> dict[str, float]:
    """Bytes on the host for a run of so many records, by what they are for; an estimate."""
    d, k, size = problem.d, problem.k, problem.dtype.itemsize
    line = 64 // size if kernels.name == "cpu" else 1  # rows are padded to vectors
    params = products = 0
    for network, optimizer in models:
        shapes = list(zip(network.widths[1:], network.widths[:-1], strict=True))
        padded = sum(rows * -(-columns // line) * line for rows, columns in shapes)
        # In use, as the start and the result, and with the state in two snapshots.
        copies = 5 + 3 * STATE_SLOTS[optimizer.rule.kind]
        copies = {"cpu": copies, "cuda": 2}.get(kernels.name, copies + 4)  # NumPy's intermediates
        params += padded * copies
        products += 2 * k * sum(columns + line for _, columns in shapes)
    maps = len(models) * k * (d + line)
    threads = min(threads, 1 + problem.n * d * k * size // 2**16)  # more are of no use
    needs = {
        "parameters and optimiser state": size * params,
        "products of factors": size * products,
        "gradients": maps * (size + threads * (size + 8)),
        f"a history of {records:.3g} records": 140 * records * len(models),
    }
    if problem.method == "gram":
        needs["the Gram matrix"] = 16 * d * (d + line)
    return problem.needs(kernels) | needs
