"""Maps made of vectors entry by entry: on the host, where all runs of them are made."""

from ..reference.entrywise import ChainCurvature, end_to_end, gradients

__all__ = ["ChainCurvature", "end_to_end", "gradients"]
