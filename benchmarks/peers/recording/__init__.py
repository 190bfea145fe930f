"""What a run records of its iterates, as users of PyTorch and JAX would compute it in between.

Records lie between two calls of a `Stepper` of the group ``matrix``, whose step stays as it is. A
peer has several variants of a record, of which the benchmark takes the quickest one: they differ in
threads, in what is compiled, and in how products with the Hessian are made. All are exact,
`PASSES` passes over the data a record of the sharpness: the gradient, and a product in each of the
others.
"""

from benchmarks.peers.recording.common import CHEAP, PASSES, Recorders, Recording
from benchmarks.peers.recording.jax_peers import jax_recorders
from benchmarks.peers.recording.numpy_peers import numpy_records
from benchmarks.peers.recording.torch_peers import torch_recorders

__all__ = [
    "CHEAP",
    "PASSES",
    "Recorders",
    "Recording",
    "jax_recorders",
    "numpy_records",
    "torch_recorders",
]
