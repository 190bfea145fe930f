r"""Maps made of vectors entry by entry: diagonal linear networks, their gradients and curvature.

They take the place of the chain of factors (:mod:`.factor_chain`): one output, w (d,), is made of
vectors of the same length. All is meant entry by entry; N is the depth.

- "power-difference": :math:`w = u^N - v^N`, with

  .. math::
      \frac{\partial L}{\partial u} = N u^{N-1} g, \qquad
      \frac{\partial L}{\partial v} = -N v^{N-1} g,

  where :math:`g = \nabla L(w)`: Woodworth et al. (2020), "Kernel and rich regimes in
  overparametrized models", arXiv 2002.09277; Vaskevicius, Kanade, Rebeschini (2019), arXiv
  1909.05122, for N = 2.
- "hadamard": :math:`w = u_1 \cdots u_N`, which is a product of diagonal matrices and a last row.
  With :math:`s_j = u_N \cdots u_{j+1}` and :math:`t_j = g \, u_1 \cdots u_{j-1}`

  .. math:: \frac{\partial L}{\partial u_j} = s_j t_j .

``structure`` is an ``Entrywise``, and the flat array has its vectors one after the other: u and v,
or u_1 to u_N. Maps and gradients are (1, d), as those of a chain of factors with one output are.
"""

from collections.abc import Callable

import numpy as np

from ..protocols import Array
from ..specs import Entrywise


def vectors_of(params: Array, structure: Entrywise) -> list[Array]:
    """Views ``[u, v]`` or ``[u_1, ..., u_N]`` into the flat array."""
    return list(params.reshape(structure.vectors, -1))


def _suffixes(vectors: list[Array]) -> list[Array]:
    """``[s_0, s_1, ..., s_N]``: the products of all vectors, of all but the first, ..., of none."""
    suffixes = [np.ones_like(vectors[-1])]
    for u in reversed(vectors):
        suffixes.append(suffixes[-1] * u)
    return suffixes[::-1]


def end_to_end(params: Array, structure: Entrywise) -> Array:
    """The map w as a matrix (1, d).

    Parameters
    ----------
    params : (n_params,) array
    structure : Entrywise

    Returns
    -------
    (1, d) array of the dtype of params

    Notes
    -----
    Its error is, entry by entry, at most ``N eps (|u|^N + |v|^N)``, or ``N eps |u_1| ... |u_N|``,
    and it is 0 where u = v.
    """
    vectors = vectors_of(params, structure)
    if structure.form == "hadamard":
        return _suffixes(vectors)[0][np.newaxis]
    (u, v), N = vectors, structure.depth
    w: Array = u**N - v**N
    return w[np.newaxis]


def gradients(params: Array, structure: Entrywise, G: Array) -> Array:
    """The gradient of the network's loss with respect to every vector.

    Parameters
    ----------
    params : (n_params,) array
    structure : Entrywise
    G : (1, d) array
        Gradient of the loss at the map.

    Returns
    -------
    (n_params,) array, laid out like params

    Notes
    -----
    Its error is, entry by entry, at most ``(N + 2) eps`` times its absolute value.
    """
    vectors, g = vectors_of(params, structure), G[0]
    if structure.form == "power-difference":
        (u, v), N = vectors, structure.depth
        return np.concatenate([N * u ** (N - 1) * g, -N * v ** (N - 1) * g])
    t, blocks = g, []
    for u, s in zip(vectors, _suffixes(vectors)[1:], strict=True):
        blocks.append(s * t)
        t = t * u
    return np.concatenate(blocks)


class ChainCurvature:
    r"""The map at one point, for products with the Hessian along many directions.

    As :class:`.curvature.ChainCurvature` for a chain of factors. Along a direction the vectors move
    by :math:`\dot u`, the map by its tangent :math:`\dot w`, and g by :math:`\dot g`. The Hessian
    times the direction is the derivative of the gradients above along it: for u of a power
    difference :math:`N (N-1) u^{N-2} \dot u \, g + N u^{N-1} \dot g`, and for u_j of a product
    :math:`\dot s_j t_j + s_j \dot t_j` by the product rule.

    Parameters
    ----------
    params : (n_params,) array
    structure : Entrywise
    G : (1, d) array
        Gradient of the loss at the map.
    """

    def __init__(self, params: Array, structure: Entrywise, G: Array) -> None:
        self._structure, self._g = structure, G[0].copy()
        self._vectors = vectors_of(params.copy(), structure)
        self._signs = [1.0, -1.0]

    def _slopes(self) -> list[Array]:
        """The derivatives of the terms of a power difference."""
        N = self._structure.depth
        return [sign * N * u ** (N - 1) for sign, u in zip(self._signs, self._vectors, strict=True)]

    def _moved(self, moves: list[Array]) -> tuple[list[Array], Array]:
        """The derivatives of the suffixes 1 to N of a product, and that of the whole."""
        tangents = [np.zeros_like(moves[-1])]
        after = _suffixes(self._vectors)[1:]
        for u, m, s in zip(self._vectors[::-1], moves[::-1], after[::-1], strict=True):
            tangents.append(tangents[-1] * u + s * m)
        return tangents[-2::-1], tangents[-1]

    def tangent(self, direction: Array) -> Array:
        r"""Derivative :math:`\dot w` (1, d) of the map as the vectors move.

        Parameters
        ----------
        direction : (n_params,) array

        Returns
        -------
        (1, d) array of the dtype of params
        """
        moves = vectors_of(direction, self._structure)
        if self._structure.form == "hadamard":
            return self._moved(moves)[1][np.newaxis]
        terms = [slope * m for slope, m in zip(self._slopes(), moves, strict=True)]
        tangent: Array = terms[0] + terms[1]
        return tangent[np.newaxis]

    def product(self, direction: Array, second: Callable[[Array], Array]) -> Array:
        r"""The Hessian times a direction.

        Parameters
        ----------
        direction : (n_params,) array
        second : callable
            From :math:`\dot w` (1, d), which it must not keep, to :math:`\dot g` (1, d).

        Returns
        -------
        (n_params,) array, laid out like params
        """
        moves, g = vectors_of(direction, self._structure), self._g
        if self._structure.form == "power-difference":
            N, h = self._structure.depth, second(self.tangent(direction))[0]
            bends = [
                # At N = 1 there is none, and no power -1 of what may be 0.
                sign * N * (N - 1) * u ** max(N - 2, 0)
                for sign, u in zip(self._signs, self._vectors, strict=True)
            ]
            terms = zip(bends, self._slopes(), moves, strict=True)
            return np.concatenate([bend * m * g + slope * h for bend, slope, m in terms])
        tangents, moved = self._moved(moves)
        h, t, blocks = second(moved[np.newaxis])[0], g, []
        suffixes = _suffixes(self._vectors)[1:]
        for u, m, s, ds in zip(self._vectors, moves, suffixes, tangents, strict=True):
            blocks.append(ds * t + s * h)
            t, h = t * u, h * u + t * m
        return np.concatenate(blocks)
