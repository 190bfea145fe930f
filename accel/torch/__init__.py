"""Overparameterised layers and the end-to-end rule for PyTorch.

``overparameterize`` gives the linear layers of a model several matrices in succession in place of
one, ``collapse`` multiplies them back, and ``EndToEndSGD`` moves a model as if its layers had such
factors, without any. Needs the extra ``torch``; ``import accel`` does not load this package.

References
----------
Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
Overparameterization", arXiv 1802.06509.
"""

from accel._support.names import publish

try:
    from accel.torch.end_to_end import EndToEndSGD
    from accel.torch.factored import ConvFactors, LinearFactors
    from accel.torch.replacing import collapse, overparameterize
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "torch":
        raise
    raise ImportError("accel.torch needs PyTorch: pip install 'implicit-accel[torch]'") from error

__all__ = ["ConvFactors", "EndToEndSGD", "LinearFactors", "collapse", "overparameterize"]

publish(__name__, globals(), __all__)
