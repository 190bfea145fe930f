"""The same gradient descent in every library, each in the forms its users would write.

Every contender minimises ``mean |W_N ... W_1 x - y|^p`` from the same flat parameters and returns a
`Stepper`, whose ``advance(steps)`` makes whole steps: what is timed is a step inside a long run.
There are three forms:

layerwise
    the data goes through the layers one by one and automatic differentiation comes back;
factors first
    the factors are multiplied to the end-to-end matrix, the data is met twice, the rest is
    automatic differentiation;
by hand
    two products with the data, then every factor's gradient from prefix and suffix products: this
    package's own collapse of a step, in the peer's operations.

A `Sweep` is many models at once: mapped over the models (vmap), or by hand with one column a model
in the two products with the data.

Powers are products wherever p is an integer, buffers are preallocated where the library allows it,
and no peer computes the loss itself. All of that is in the peers' favour.
"""

from benchmarks.peers.common import Descent, Gap, Stepper, Sweep
from benchmarks.peers.jax_peers import (
    jax_by_hand,
    jax_factors_first,
    jax_gram,
    jax_gram_vmap,
    jax_layerwise,
    jax_sweep,
    jax_vmap,
)
from benchmarks.peers.limit import limit_in_c
from benchmarks.peers.numpy_peers import (
    numpy_by_hand,
    numpy_gram,
    numpy_sweep,
    numpy_sweep_gram,
)
from benchmarks.peers.ours import (
    our_single_runs,
    our_sweep,
    ours,
    ours_depth_1,
    ours_p_4,
    read_once,
)
from benchmarks.peers.peak import multiply_adds_alone
from benchmarks.peers.torch_peers import (
    torch_by_hand,
    torch_compiled,
    torch_factors_first,
    torch_layerwise,
    torch_sweep,
)

__all__ = [
    "Descent",
    "Gap",
    "Stepper",
    "Sweep",
    "jax_by_hand",
    "jax_factors_first",
    "jax_gram",
    "jax_gram_vmap",
    "jax_layerwise",
    "jax_sweep",
    "jax_vmap",
    "limit_in_c",
    "multiply_adds_alone",
    "numpy_by_hand",
    "numpy_gram",
    "numpy_sweep",
    "numpy_sweep_gram",
    "our_single_runs",
    "our_sweep",
    "ours",
    "ours_depth_1",
    "ours_p_4",
    "read_once",
    "torch_by_hand",
    "torch_compiled",
    "torch_factors_first",
    "torch_layerwise",
    "torch_sweep",
]
