"""The losses of a sample in kernels, their kinds as kernels are specialised for them, curvature.

A kernel is compiled for the *code* of a loss: for l_p a power, for the others the kind's name. Its
number ``p`` is an argument. Labels and rows of zeros, by which data are padded, add nothing: l(0)
is 0 for a residual, and a margin's value is multiplied by the square of its label.

The cross-entropy couples the outputs of a row, which only passes with all products of a row in
memory can do: there is a kernel for it in place of a function (``make_coupled``).
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, types

from ..specs import COUPLED_KINDS, MARGIN_KINDS, Loss
from .jit import THREADS, Kernel, device, pointer, xp
from .planning import makes_kernel
from .powers import data_type, make_power, power_of
from .reduce import SUMS_SIZE, block_sum

#: What a kernel is specialised for of a loss.
Code = int | str

#: Codes of losses whose functions take so long that copies of them should be few; 0 is any power.
_LONG = (0, "logcosh", *MARGIN_KINDS)
#: Kinds whose names would be no part of a kernel's name.
_NAMES = {"cross-entropy": "coupled"}


def code_of(loss: Loss) -> Code:
    """Return the code of a loss."""
    return power_of(loss.p) if loss.kind == "lp" else _NAMES.get(loss.kind, loss.kind)


def is_margin(code: Code) -> bool:
    """Return whether the loss is one of a margin, and not of a residual."""
    return code in MARGIN_KINDS


def is_long(code: Code) -> bool:
    """Return whether the function of the loss is long."""
    return code in _LONG


def is_coupled(loss: Loss) -> bool:
    """Return whether the loss couples the outputs of a row."""
    return loss.kind in COUPLED_KINDS


def slope_scale(loss: Loss, n: int) -> float:
    """Return what sums of slopes over n rows are multiplied by in a gradient."""
    return loss._replace(factor=loss.factor / n).slope_factor


@cache
def make_of_residual(dtype: np.dtype[Any], code: Code) -> Any:
    """Make ``of_residual(r, p)``: slope and value of a residual. NaN stays NaN."""
    if isinstance(code, int):
        return make_power(dtype, code)
    scalar = dtype.type
    zero, half, one, two = scalar(0), scalar(0.5), scalar(1), scalar(2)
    log2 = scalar(math.log(2.0))

    @device
    def huber(r, p):
        most = scalar(p)
        slope = most if r > most else -most if r < -most else r
        return slope, slope * (r - half * slope)

    @device
    def pinball(r, p):
        tau = scalar(p)
        slope = one - tau if r > zero else -tau if r < zero else r
        return slope, slope * r

    @device
    def expectile(r, p):
        tau = scalar(p)
        slope = two * (one - tau if r > zero else tau) * r
        return slope, half * slope * r

    @device
    def logcosh(r, p):
        # -log(1 - tanh^2) / 2, but for large r, where a number less than half of it is taken away.
        slope, size = scalar(math.tanh(r)), abs(r)
        small = size < half
        inner = -slope * slope if small else scalar(math.exp(-two * size))
        outer = scalar(math.log1p(inner))
        return slope, -half * outer if small else size + outer - log2

    return {"huber": huber, "pinball": pinball, "expectile": expectile, "logcosh": logcosh}[code]


@cache
def make_differentiate(dtype: np.dtype[Any], code: Code) -> Any:
    """Make ``differentiate(product, target, p)``: slope in the product, and value.

    Of a coupled loss it hands on the product, for ``make_coupled``, and 0.
    """
    scalar = dtype.type
    zero, one = scalar(0), scalar(1)

    @device
    def logistic(product, target, p):
        z = target * product
        e = scalar(math.exp(-abs(z)))
        inverse = one / (one + e)
        value = (-z if z < zero else zero) + scalar(math.log1p(e))
        return -target * (e * inverse if z >= zero else inverse), target * target * value

    @device
    def exponential(product, target, p):
        value = scalar(math.exp(-target * product))
        return -target * value, target * target * value

    @device
    def coupled(product, target, p):
        return product, zero

    if others := {"logistic": logistic, "exponential": exponential, "coupled": coupled}.get(code):
        return others
    of_residual = make_of_residual(dtype, code)

    @device
    def differentiate(product, target, p):
        return of_residual(product - target, p)

    return differentiate


@makes_kernel
def make_coupled(dtype: np.dtype[Any], by_maps: bool) -> Kernel:
    """Make the kernel of the cross-entropy, in place on products: a thread has a row at a time.

    ``slopes(data, products, losses, running, first, rows, slot)``: products are (models, k, rows)
    if they lie ``by_maps``, else (models, rows, k), and begin at row ``first`` of the data. Blocks
    are (chunks, models); the loss of each is put into ``losses`` (slots, models, k) at the place
    ``slot`` and its chunk of what a model has there, counted over slots and outputs: only the sum
    over both has a meaning. It leaves out models that are not ``running``.
    """
    scalar = dtype.type

    def slopes(data, products, losses, running, first, rows, slot):
        thread, k = cuda.threadIdx.x, data.k
        chunk, chunks, model = cuda.blockIdx.x, cuda.gridDim.x, cuda.blockIdx.y
        if running[model] == 0:
            return
        begin, end = rows * chunk // chunks, rows * (chunk + 1) // chunks
        step, stride = (1, rows) if by_maps else (k, 1)
        sums = cuda.shared.array(SUMS_SIZE, types.float64)
        total = 0.0
        for i in range(begin + thread, end, THREADS):
            start, target = model * k * rows + i * step, (first + i) * k
            most = products[start]
            for c in range(1, k):
                most = max(most, products[start + c * stride])
            # log sum exp - y'm = log sum exp(m - most) - y'(m - most): neither part is below 0.
            whole, mass, along = scalar(0), scalar(0), scalar(0)
            for c in range(k):
                at, y = start + c * stride, data.Y[target + c]
                less = products[at] - most
                e = scalar(math.exp(less))
                products[at] = e
                whole += e
                mass += y
                along += y * less
            inverse = scalar(1) / whole
            for c in range(k):
                at = start + c * stride
                products[at] = products[at] * inverse - data.Y[target + c]
            total += float(mass * scalar(math.log(whole)) - along)
        total = block_sum(total, sums)
        if thread == 0:
            place = slot + chunk
            losses[(place // k * cuda.gridDim.y + model) * k + place % k] = total

    signature = [data_type(dtype), pointer(dtype), pointer(np.float64), pointer(np.int64)]
    signature += [types.int64] * 3
    return Kernel(slopes, signature, (dtype.name, "coupled", int(by_maps)))


def _powers(size: Any, p: float) -> Any:
    """Return |r|^(p-2): at r = 0 there is no second derivative for p < 2, and the weight is 0."""
    if p < 2:
        return xp.where(size != 0, xp.where(size != 0, size, 1.0) ** (p - 2), 0.0)
    return size ** (p - 2)  # 0 ** 0 is 1, right for p = 2


def curvature(loss: Loss, products: Any, targets: Any) -> Any:
    """Second derivatives (n, k) of the values, over p (p - 1) for l_p; not of the cross-entropy."""
    kind, p = loss.kind, float(loss.p)
    if is_coupled(loss):
        raise ValueError(
            f"the curvature of {kind} is no number for each output, see curvature_along"
        )
    if kind == "exponential":
        return xp.exp(-targets * products) * targets**2
    if kind == "logistic":
        e = xp.exp(-xp.abs(targets * products))
        return e / (1 + e) ** 2
    r = products - targets
    size = xp.abs(r)
    if kind == "huber":
        return xp.where(size <= p, 1.0, xp.where(size > p, 0.0, size))
    if kind == "pinball":
        return 0 * r
    if kind == "expectile":
        return xp.where(r > 0, 2 * (1 - p), xp.where(r <= 0, 2 * p, r))
    if kind == "logcosh":
        e = xp.exp(-2 * size)
        return 4 * e / (1 + e) ** 2
    return _powers(size, p)


def curvature_along(loss: Loss, products: Any, targets: Any, moves: Any) -> Any:
    """Second derivatives of the values times ``moves`` (n, k) of the products."""
    if not is_coupled(loss):
        return curvature(loss, products, targets) * moves
    sizes = xp.exp(products - products.max(axis=1, keepdims=True))
    chances = sizes / sizes.sum(axis=1, keepdims=True)
    return chances * (moves - (chances * moves).sum(axis=1, keepdims=True))
