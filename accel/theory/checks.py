"""Checks of the arguments that all of the theory takes, and the import of SciPy."""

from importlib import import_module
from typing import Any

import numpy as np

from accel._core.base import BaseProblem, checked_problem
from accel._support import validation
from accel._support.arrays import Array
from accel.losses import Lp


def scipy_module(name: str) -> Any:
    """Import a part of SciPy.

    Raises
    ------
    ImportError
        If SciPy is not installed; the message says how to get it.
    """
    try:
        return import_module(f"scipy.{name}")
    except ImportError as error:
        raise ImportError("this needs SciPy: pip install 'implicit-accel[theory]'") from error


def problem(value: object, *, single_output: bool = False, smoothness: int = 0) -> BaseProblem:
    """Check for a float64 problem whose loss is so smooth, and one output if asked for.

    ``smoothness`` is that of ``accel.losses.Loss``.

    Raises
    ------
    TypeError
        If it is no problem, or in float32, too imprecise for tolerances of 1e-10.
    ValueError
        If the loss is less smooth, or the number of outputs is out of bounds.
    """
    checked = checked_problem(value)
    if checked.dtype != np.float64:
        raise TypeError(f"problem must be in float64, got {checked!r}")
    if single_output and checked.k != 1:
        raise ValueError(f"problem must have k = 1 output, got k = {checked.k}")
    loss = checked.loss_function
    if loss.smoothness < smoothness:
        power, gradient = {1: ("p > 1", "continuous"), 2: ("p >= 2", "Lipschitz")}[smoothness]
        if isinstance(loss, Lp):
            raise ValueError(f"problem must have {power}, got p = {loss.p:g}")
        raise ValueError(f"problem must have a loss with a {gradient} gradient, got {loss!r}")
    return checked


def _converted(name: str, array: Array, given: object) -> Array:
    """Convert to float64; raise if a number is not finite or an integer would be rounded."""
    advice = "convert it first if it may be rounded, as by astype(float)"
    validation.unrounded(name, array, np.dtype(np.float64), given, advice)
    converted = array.astype(np.float64)
    validation.all_finite(name, converted, array)
    return converted


def matrix(name: str, value: object, shape: tuple[int, int] | None = None) -> Array:
    """Convert to a finite float64 matrix of that shape (k, d), or a vector (d,) for k = 1.

    Raises
    ------
    TypeError, ValueError
        If it holds no real numbers, or integers that float64 would round, is not finite, or has
        another shape.
    """
    array = validation.numeric(name, value, ndim=(1, 2))
    if shape is not None and np.atleast_2d(array).shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return _converted(name, array, value)


def vector(name: str, value: object, size: int) -> Array:
    """Convert to a finite float64 vector of that size.

    Raises
    ------
    TypeError, ValueError
        If it is no vector of real numbers, holds integers that float64 would round, is not finite
        or of another size.
    """
    array = validation.numeric(name, value, ndim=(1,))
    if array.shape != (size,):
        raise ValueError(f"{name} must have shape {(size,)}, got {array.shape}")
    return _converted(name, array, value)
