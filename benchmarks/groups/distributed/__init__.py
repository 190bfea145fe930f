"""A step on a dask cluster, beside its arithmetic: ``python -m benchmarks distributed``."""
