"""The kernels in extended precision, and how far from that the documented bounds let them be.

Everything is ``np.longdouble``: with 64 bits of significand, and exponents so wide that nothing
here overflows. The ``terms`` are the sums of absolute values that the bounds are stated in.
"""

import numpy as np
import pytest

from accel.kernels.specs import (
    ADADELTA,
    ADAGRAD,
    GRADIENT_DESCENT,
    MOMENTUM,
    NESTEROV,
    RMSPROP,
)

LONG = np.longdouble
EPS64 = float(np.finfo(np.float64).eps)

needs_long_double = pytest.mark.skipif(
    np.finfo(LONG).nmant < 63 or np.finfo(LONG).maxexp < 16384,
    reason="long double is no wider than double on this machine",
)


def long(*arrays):
    return tuple(np.asarray(a, LONG) for a in arrays)


def eps_of(dtype):
    return LONG(np.finfo(dtype).eps)


def smallest(dtype, backend=""):
    """The unit in the last place of what is below the normal numbers.

    In float32 CuPy makes 0 of them: it compiles its kernels, not ours, with ``-ftz=true``.
    """
    if backend == "cuda" and dtype == np.float32:
        return LONG(np.finfo(dtype).smallest_normal)
    return LONG(np.finfo(dtype).smallest_subnormal)


def residuals(X, Y, W, eps, tiny):
    """Residuals, and what they may be wrong by."""
    r = X @ W.T - Y
    return r, (X.shape[1] + 2) * (eps * (abs(X) @ abs(W).T + abs(Y)) + tiny)


def moved(r, delta, q):
    """How far sign(r) |r|^q can move if r moves by delta: by monotony, at the ends."""

    def signed(r):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sign(r) * np.where(r == 0, LONG(0), abs(r) ** LONG(q))

    middle = signed(r)
    return np.maximum(abs(signed(r + delta) - middle), abs(signed(r - delta) - middle))


def of_powers(r, p, eps, backend=""):
    """The relative error of a power of r; 1, 2, 3 and 4 are products."""
    if backend == "cpu":
        return (p + 2) * eps
    logs = np.zeros_like(r)
    if p not in (1.0, 2.0, 3.0, 4.0):
        logs[r != 0] = abs(np.log(abs(r[r != 0])))
    return 2 * (p + 2) * (1 + logs) * eps


def loss_and_gradient(X, Y, W, p, factor, backend=""):
    """Loss, gradient, and the bounds of ``reference.lp_loss`` on their errors."""
    dtype, n = X.dtype, len(X)
    eps, tiny, few = eps_of(dtype), smallest(dtype), LONG(2) ** 14
    X, Y, W = long(X, Y, W)
    scale = LONG(factor) / n
    r, delta = residuals(X, Y, W, eps, tiny)
    size, relative = abs(r) + delta, of_powers(r, p, eps, backend)
    powers = size**p
    value = scale * np.sum(abs(r) ** p)
    error = scale * np.sum(moved(abs(r), delta, p) + relative * powers + tiny)
    error += (n + 4) * EPS64 * scale * np.sum(powers) + 4 * smallest(np.float64)

    slopes = np.sign(r) * abs(r) ** (p - 1)
    steepest = size ** (p - 1)
    wrong = moved(r, delta, p - 1) + relative * steepest + tiny
    gradient = p * scale * (slopes.T @ X)
    gradient_error = p * scale * (wrong.T @ abs(X) + n * tiny)
    gradient_error += p * scale * (n + 4) * eps * ((steepest + wrong).T @ abs(X)) + 4 * tiny
    few = np.minimum(LONG(n), few)  # what the CPU backend promises, in float32
    sharper = gradient_error - p * scale * (n - few) * eps * ((steepest + wrong).T @ abs(X))
    return value, error, gradient, gradient_error, sharper


def gram_loss_and_gradient(X, Y, W, factor):
    """For p = 2, with the bounds of the Gram form."""
    n, d = X.shape
    X, Y, W = long(X, Y, W)
    scale, unit = LONG(factor) / n, (n + 2 * d + 8) * LONG(EPS64)
    r, reach = X @ W.T - Y, abs(X) @ abs(W).T + abs(Y)
    value, gradient = scale * np.sum(r**2), 2 * scale * (r.T @ X)
    return value, unit * scale * np.sum(reach**2), gradient, 2 * unit * scale * (reach.T @ abs(X))


def diagonal_loss_and_gradient(s, Y, W, factor, rest):
    """For p = 2 and diagonal data, with the bounds of that form, which are elementwise."""
    eps, tiny = eps_of(W.dtype), smallest(W.dtype)
    s, Y, W = long(s, Y, W)
    scale = LONG(factor) / len(s)
    r = s * W - Y.T
    delta = 2 * eps * (s * abs(W) + abs(Y.T)) + 2 * tiny
    size = abs(r) + delta
    value = scale * (np.sum(r**2) + LONG(rest))
    error = scale * np.sum(moved(abs(r), delta, 2) + 4 * eps * size**2 + tiny)
    error += (W.size + 4) * EPS64 * scale * (np.sum(size**2) + LONG(rest))
    error += 4 * smallest(np.float64)
    gradient_error = 2 * scale * (s * delta + 4 * eps * s * size + tiny) + tiny
    return value, error, 2 * scale * (r * s), gradient_error


def hessian(X, y, w, p, factor, backend=""):
    n = len(X)
    X, y, w = long(X, y, w)
    scale, eps = LONG(factor) * p * LONG(p - 1) / n, LONG(EPS64)
    r, delta = residuals(X, y[:, None], w[None], eps, smallest(np.float64))
    r, delta = r[:, 0], delta[:, 0]
    assert p >= 2 or np.all(abs(r) > 2 * delta)  # else the weight has no bound
    weight = abs(r) ** LONG(p - 2)
    wrong = moved(abs(r), delta, p - 2)
    relative = of_powers(r, p, eps, backend) + (n + 8) * eps
    H = scale * np.einsum("i,ia,ib->ab", weight, X, X)
    wrong = wrong + relative * (weight + wrong)
    return H, scale * np.einsum("i,ia,ib->ab", wrong, abs(X), abs(X)) + smallest(np.float64)


def factors_of(params, widths):
    factors, start = [], 0
    for m, n in zip(widths[1:], widths[:-1], strict=True):
        factors.append(params[start : start + m * n].reshape(m, n))
        start += m * n
    return factors


def chain(params, widths, G):
    """End-to-end matrix and the gradients of all factors."""
    factors, G = factors_of(np.asarray(params, LONG), widths), np.asarray(G, LONG)
    grads, T = [], G
    for j, W in enumerate(factors):
        S = np.eye(widths[-1], dtype=LONG)
        for above in reversed(factors[j + 1 :]):
            S = S @ above
        grads.append((S.T @ T).ravel())
        T = T @ W.T
    product = factors[0]
    for W in factors[1:]:
        product = W @ product
    return product, np.concatenate(grads)


def update(kind, w, g, state, hyper, step):
    """The next parameter and state, and the terms that their bounds are stated in."""
    rate, decay, a, b, eps = (LONG(value) for value in hyper)
    w, g, state = long(w, g, state)
    keep, size, one = (1 - rate * decay) * w, abs(g), LONG(1)
    relative = LONG(0)
    if kind == GRADIENT_DESCENT:
        u, terms, after, state_terms = g, size, state, state
    elif kind in (MOMENTUM, NESTEROV):
        m, m_terms = a * state[0] + g, a * abs(state[0]) + size
        u, terms = (m, m_terms) if kind == MOMENTUM else (g + a * m, size + a * m_terms)
        after, state_terms = m[None], m_terms[None]
    elif kind == ADAGRAD:
        v = state[0] + g**2
        u = g / (np.sqrt(v) + eps)
        terms, after, state_terms = abs(u), v[None], v[None]
    elif kind == ADADELTA:
        v = a * state[0] + (one - a) * g**2
        u = g * np.sqrt(state[1] + eps) / np.sqrt(v + eps)
        after = np.array([v, a * state[1] + (one - a) * u**2])
        terms, state_terms = abs(u), after
    elif kind == RMSPROP:
        v = a * state[0] + (one - a) * g**2
        u = g / (np.sqrt(v) + eps)
        terms, after, state_terms = abs(u), v[None], v[None]
    else:
        m, v = a * state[0] + (one - a) * g, b * state[1] + (one - b) * g**2
        m_terms = a * abs(state[0]) + (one - a) * size
        corrections = 1 - a**step, 1 - b**step
        below = np.sqrt(v / corrections[1]) + eps
        u, terms = m / corrections[0] / below, m_terms / corrections[0] / below
        relative = (1 / corrections[0] + 1 / corrections[1]) * EPS64
        after, state_terms = np.array([m, v]), np.array([m_terms, v])
    return keep - rate * u, abs(keep) + rate * terms, rate * terms * relative, after, state_terms


def norm(A):
    return np.sqrt(np.sum(np.asarray(A, LONG) ** 2))


def one_output(w, g, depth):
    """Claim 2, and its terms."""
    w, g = long(w, g)
    size = norm(w)
    stretch, unit = size ** (2 - LONG(2) / depth), w / size
    along, terms = np.sum(unit * g), np.sum(abs(unit * g))
    return (
        stretch * (g + (depth - 1) * along * unit),
        stretch * (abs(g) + (depth - 1) * terms * abs(unit)),
    )


def jacobi(A):
    """Singular value decomposition of A (rows <= columns) by rotations of its rows: U, s, V'."""
    A, U = A.copy(), np.eye(len(A), dtype=LONG)
    for _ in range(40):
        off = LONG(0)
        for p in range(len(A) - 1):
            for q in range(p + 1, len(A)):
                pp, qq, pq = A[p] @ A[p], A[q] @ A[q], A[p] @ A[q]
                if pq == 0:
                    continue
                off = max(off, abs(pq) / np.sqrt(pp * qq))
                ratio = (qq - pp) / (2 * pq)
                t = np.copysign(LONG(1), ratio) / (abs(ratio) + np.sqrt(1 + ratio**2))
                c = 1 / np.sqrt(1 + t**2)
                turn = np.array([[c, -c * t], [c * t, c]])
                A[[p, q]], U[[p, q]] = turn @ A[[p, q]], turn @ U[[p, q]]
        if off < 1e-18:
            break
    sizes = np.sqrt(np.sum(A**2, axis=1))
    return U.T, sizes, A / np.where(sizes == 0, LONG(1), sizes)[:, None]


def several_outputs(W, G, depth):
    """Theorem 1 for a W (k, d) of full rank k <= d, and the singular values."""
    W, G = long(W, G)
    U, sizes, Vt = jacobi(W)
    powers = [sizes ** (LONG(2) * j / depth) for j in range(depth)]
    inside, outside = U.T @ G @ Vt.T, U.T @ G
    weights = sum(np.outer(powers[j], powers[depth - 1 - j]) for j in range(depth))
    beyond = (outside - inside @ Vt) * powers[-1][:, None]  # j = N alone, off the row space
    if depth == 1:
        return G, sizes
    return U @ ((weights * inside) @ Vt + beyond), sizes
