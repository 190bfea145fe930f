"""Deep linear networks and their implicit acceleration.

The main path: data into an ``LpProblem``, a ``LinearNetwork`` to start from, an optimiser, and
``train``, which returns a ``Result``. ``optimum`` finds the loss to compare with.

Importing this package loads NumPy and nothing heavier; compiled kernels, plotting and data sets
are loaded when first used.

References
----------
Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
Overparameterization", arXiv 1802.06509.
"""
