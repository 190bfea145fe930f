"""Networks with several outputs, whose steps are products of matrices: peers at their best.

A peer has several variants, of which the benchmark takes the quickest one. They differ in threads,
in how the models of a sweep are put together, and in the form of the step, with factors W_1 to W_N:

end-to-end
    the factors are multiplied to W, the gradient there is found in one pass over the data and
    pulled back to every factor;
Gram
    p = 2: the same with X'X (d, d) and Y'X in the place of the data;
layerwise
    the data go through the layers one by one, and back.

Only the forms with the fewest multiply-adds are tried. With N factors of d x d the end-to-end form
takes ``3 (N - 1) d**3 + 2 n d**2`` of them, the Gram form ``3 (N - 1) d**3 + d**3`` and the
layerwise form ``(3 N - 1) n d**2``. All gradients are written by hand: automatic differentiation
makes the same products and more besides.
"""

from benchmarks.peers.matrix.common import Variants
from benchmarks.peers.matrix.jax_peers import jax_variants
from benchmarks.peers.matrix.numpy_peers import numpy_variants
from benchmarks.peers.matrix.torch_peers import torch_variants

__all__ = ["Variants", "jax_variants", "numpy_variants", "torch_variants"]
