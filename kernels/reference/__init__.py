"""Plain NumPy: the readable definition that every other backend is tested against."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # by this mypy holds the files to what every backend has to offer
    from .. import protocols
    from . import chunks, factor_chain, loop, lp_loss, needs, precondition, updates

    _lp_loss: protocols.LossModule = lp_loss
    _factor_chain: protocols.ChainModule = factor_chain
    _updates: protocols.UpdateModule = updates
    _precondition: protocols.PreconditionModule = precondition
    _loop: protocols.LoopModule = loop
    _chunks: protocols.ChunksModule = chunks
    _needs: protocols.NeedsModule = needs
