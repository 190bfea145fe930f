"""The theory of Arora, Cohen and Hazan (2018) as code, to compute with and to check.

- ``preconditioner``: what depth does to the gradient (claims 1 and 2).
- ``end_to_end_flow``, ``factor_flow``: the limit of small steps (theorem 1).
- ``curl``, ``closed_curve_integral``: the end-to-end rule is no gradient descent (theorem 2).
- ``two_point``: why depth accelerates, on two points (section 7).
- ``sharpness``, ``hessian_vector_product``: the curvature of the loss in the factors.

The flows and the integral need SciPy, ``pip install 'implicit-accel[theory]'``; it is loaded when
first used.

References
----------
Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
Overparameterization", arXiv 1802.06509.
"""

from accel._support.names import publish
from accel.theory.curvature import hessian_vector_product, sharpness
from accel.theory.field import ClosedCurveIntegral, closed_curve_integral, curl
from accel.theory.flow import FactorFlow, Flow, end_to_end_flow, factor_flow
from accel.theory.preconditioning import Preconditioner, preconditioner
from accel.theory.two_points import Descent, TwoPoint, two_point

__all__ = [
    "ClosedCurveIntegral",
    "Descent",
    "FactorFlow",
    "Flow",
    "Preconditioner",
    "TwoPoint",
    "closed_curve_integral",
    "curl",
    "end_to_end_flow",
    "factor_flow",
    "hessian_vector_product",
    "preconditioner",
    "sharpness",
    "two_point",
]

publish(__name__, globals(), __all__)
