"""Dot products with twice the digits: on the host, where the certificates of optima are made."""

from ..reference.twofold import dot

__all__ = ["dot"]
