"""Gradient descent on a GPU, in every library's best form; see `benchmarks.peers`.

"By hand" is what is written there: two products with the data and the prefix and suffix products.
With one output all of these are matrix times vector; `chain` writes the step as such, once for all
libraries. X and Y may be on the GPU already, as CuPy arrays; nobody copies them then.
"""

from benchmarks.peers.cuda.cupy_peers import copy_half, cupy_by_hand, cupy_fused, cupy_sweep
from benchmarks.peers.cuda.jax_peers import jax_scan, jax_sweep_scan, jax_vmap_scan
from benchmarks.peers.cuda.torch_peers import (
    torch_compiled,
    torch_eager,
    torch_graph,
    torch_sweep_graph,
)

__all__ = [
    "copy_half",
    "cupy_by_hand",
    "cupy_fused",
    "cupy_sweep",
    "jax_scan",
    "jax_sweep_scan",
    "jax_vmap_scan",
    "torch_compiled",
    "torch_eager",
    "torch_graph",
    "torch_sweep_graph",
]
