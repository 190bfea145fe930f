"""Training on data that outgrow one machine, spread over a dask cluster; extra ``dask``.

The rows of X and y stay on the workers; every step sends them the end-to-end matrices and adds up
their partial gradients, in an order that does not depend on who holds what: docs/distributed.md.
"""

try:
    import distributed as _distributed  # noqa: F401
    from dask import array as _array  # noqa: F401
except ImportError as error:
    raise ImportError(
        "accel.distributed needs dask and distributed: pip install 'implicit-accel[dask]'"
    ) from error

from accel._support.names import publish
from accel.distributed.problem import DaskProblem
from accel.distributed.sources import from_npy

__all__ = ["DaskProblem", "from_npy"]

publish(__name__, globals(), __all__)
