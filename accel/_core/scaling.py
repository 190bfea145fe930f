"""The units and names of the data that a problem was made of, and the way back to them."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from accel._core import units
from accel._core.checks import checked_weights
from accel._core.units import Units
from accel._support import frames, validation
from accel._support.arrays import Array

__all__ = ["Scaling", "given_data", "named"]

_X, _Y = ("x_mean", "x_scale", "x_rest"), ("y_mean", "y_scale", "y_rest")
_JSON = ("feature_names", "target_names", "source")


@dataclass(frozen=True, eq=False)
class Scaling:
    """The units in which a problem has its data, beside those of its user; and names in both.

    ``accel.standardize`` makes one. A problem of a data set or of a data frame has one, too, whose
    units are those of the user. ``Problem.scaling`` and ``Result.scaling`` hold it.

    Attributes
    ----------
    x_mean, x_scale, x_rest : (d,) float64 array
        ``X = (X_user - x_mean - x_rest) / x_scale``. The rest is the rounding error of x_mean, at
        most half a unit in its last place: it matters where the mean of a column is very large
        beside its spread. The scale of a column that was constant is infinite: whatever its values
        are later, it is 0 in standard units, and has the coefficient 0.
    y_mean, y_scale, y_rest : float64 array, 0-D or (k,)
        Likewise; means 0 and scales 1 for labels.
    feature_names : tuple of d str, or None
        Of the columns of X, where they have names.
    target_names : tuple of k str, or None
        Of the outputs, likewise.
    source : str
        What the data are, in a line; empty where nobody said so.
    """

    x_mean: Array
    x_scale: Array
    y_mean: Array
    y_scale: Array
    x_rest: Array
    y_rest: Array
    feature_names: tuple[str, ...] | None = field(default=None, kw_only=True)
    target_names: tuple[str, ...] | None = field(default=None, kw_only=True)
    source: str = field(default="", kw_only=True)

    def __repr__(self) -> str:
        d, k = self.x_mean.size, self.y_mean.size
        kind = "the user's units" if self.trivial else "standard units"
        source = f", source={validation.shown(self.source)}" if self.source else ""
        return f"{type(self).__name__}(d={d}, k={k}, {kind}{source})"

    @property
    def trivial(self) -> bool:
        """Whether the problem's units are the user's."""
        return all(part.trivial for part in self._units)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features, else x0, x1, ..."""
        return self.feature_names or tuple(f"x{j}" for j in range(self.x_mean.size))

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the outputs, else y, or y0, y1, ..."""
        k = self.y_mean.size
        return self.target_names or (("y",) if k == 1 else tuple(f"y{c}" for c in range(k)))

    @property
    def _units(self) -> tuple[Units, Units]:
        return (
            Units(self.x_mean, self.x_rest, self.x_scale),
            Units(self.y_mean, self.y_rest, self.y_scale),
        )

    def _matrix(self, W: Any) -> Array:
        k, d = self.y_mean.size, self.x_mean.size
        given = checked_weights(W, k, d).astype(np.float64)
        validation.all_finite("W", given)
        return given.reshape((k, d) if self.y_mean.ndim else d)

    def predict(self, W: Any, X_new: Any) -> Array:
        """Predict targets in the user's units.

        Parameters
        ----------
        W : (k, d) array_like, or (d,) for k = 1
            A map fitted to the data in the problem's units.
        X_new : (m, d) array_like, or data frame of pandas or Polars
            Samples in the user's units. The columns of a frame are found by their names, where both
            have names; columns beside them are left out.

        Returns
        -------
        (m,) or (m, k) float64 array
            With as many dimensions as y had. For a loss of labels the outputs themselves.

        Raises
        ------
        TypeError, ValueError
            If W or X_new has the wrong shape, is not finite or does not hold real numbers, if a
            column is missing, or if X_new is the standardised X itself.
        """
        X_new = self.checked("X_new", X_new)
        x, y = self._units
        return y.user(x.standard(X_new, np.empty(X_new.shape)) @ self._matrix(W).T)

    def coefficients(self, W: Any) -> tuple[Array, Array]:
        """Coefficients and intercept in the user's units: ``y = X_user @ coef.T + intercept``.

        Parameters
        ----------
        W : (k, d) array_like, or (d,) for k = 1

        Returns
        -------
        coef : (d,) or (k, d) float64 array
        intercept : float64 array, 0-D or (k,)

        Raises
        ------
        TypeError, ValueError
            If W has the wrong shape, is not finite or holds no real numbers.
        """
        x, y = self._units
        coef = units.coefficients(self._matrix(W), x, y)
        return coef, units.intercept(coef, x, y)

    def checked(self, name: str, X: Any) -> Array:
        """Return samples in the user's units as an array (m, d), columns in the model's order."""
        if self.feature_names is not None:
            X = _chosen(name, X, self.feature_names)
        samples = validation.numeric(name, X, ndim=(2,))
        if samples.shape[1] != self.x_mean.size:
            raise ValueError(f"{name} must have {self.x_mean.size} columns, got {samples.shape}")
        known = any(np.may_share_memory(samples, X) for X in self.standard_arrays)
        if known and not self.trivial:
            raise ValueError(
                f"{name} must be in the user's units, as X was before it was standardised, got "
                "the standardised X itself"
            )
        validation.all_finite(name, samples)
        return samples

    def standard_targets(self, y: Array) -> Array:
        """Return targets (m,) or (m, k) in the problem's units, float64."""
        return self._units[1].standard(y, np.empty(y.shape))

    @property
    def standard_arrays(self) -> tuple[Array, ...]:
        """Every X in the problem's units that still lives: what ``predict`` must not be given."""
        held: tuple[weakref.ref[Array], ...] = self.__dict__.get("_held", ())
        return tuple(X for each in held if (X := each()) is not None)

    def holding(self, *given: Any) -> "Scaling":
        """Return this scaling, plain, with weak references to every X in the problem's units.

        These are the X that the user gave, and the problem's own, which may be a copy in another
        dtype, or have its rows weighted.
        """
        parts: dict[str, Any] = {name: getattr(self, name) for name in (*_X, *_Y)}
        plain = Scaling(
            **parts, feature_names=self.feature_names, target_names=self.target_names,
            source=self.source,
        )  # fmt: skip
        held = tuple(weakref.ref(X) for X in given if isinstance(X, np.ndarray))
        object.__setattr__(plain, "_held", held)  # the class is frozen
        return plain

    def parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what a file holds of it: JSON, and arrays by their names."""
        described = {name: getattr(self, name) for name in _JSON}
        return described, {name: getattr(self, name) for name in (*_X, *_Y)}

    @classmethod
    def of_parts(
        cls, described: dict[str, Any], arrays: dict[str, Array], d: int, k: int
    ) -> "Scaling":
        """Return the scaling of a file, for d features and k outputs.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the file is damaged.
        """
        of_y = () if k == 1 and np.ndim(arrays["y_mean"]) == 0 else (k,)
        held: dict[str, Any] = {}
        for name in (*_X, *_Y):
            shape = (d,) if name in _X else of_y
            held[name] = validation.numeric(name, arrays[name], ndim=(len(shape),))
            if held[name].shape != shape or held[name].dtype != np.float64:
                raise ValueError(
                    f"{name} must be float64 of shape {shape}, got {held[name].dtype} of shape "
                    f"{held[name].shape}"
                )
            if name != "x_scale":
                validation.all_finite(name, held[name])
        for name in ("x_scale", "y_scale"):
            if not (held[name] > 0).all():
                raise ValueError(f"{name} must be above 0, got {held[name].min():g}")
        names = {
            name: None if described[name] is None else tuple(map(str, described[name]))
            for name in ("feature_names", "target_names")
        }
        for (name, given), count in zip(names.items(), (d, k), strict=True):
            if given is not None and len(given) != count:
                raise ValueError(f"{name} must hold {count} names, got {len(given)}")
        return cls(
            **held,
            feature_names=names["feature_names"],
            target_names=names["target_names"],
            source=str(described["source"]),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the weak references, which pickle cannot take."""
        return {name: value for name, value in self.__dict__.items() if name != "_held"}

    def of_outputs(self, k: int) -> "Scaling":
        """Return this scaling for k outputs: those of labels have one for each class."""
        if k == self.y_mean.size:
            return self
        names = self.target_names
        if names is not None and len(names) == 1:
            names = tuple(f"{names[0]}={c}" for c in range(k))
        zeros, ones = np.zeros(k), np.ones(k)
        return replace(self, y_mean=zeros, y_rest=zeros, y_scale=ones, target_names=names)


class _Given(NamedTuple):
    """What a user calls data: X and y, as they were given, and what is known of them.

    ``scaled`` has the units of X, and those of y if ``own``; it is None for the user's units.
    """

    X: Any
    y: Any
    names: Sequence[str] | None
    targets: Sequence[str] | None
    source: str
    scaled: Scaling | None
    own: bool

    @property
    def standard_labels(self) -> bool:
        """Whether y has been standardised."""
        return self.scaled is not None and self.own and not self.scaled._units[1].trivial

    def scaling(self, X: Array, y: Array, k: int | None = None) -> Scaling | None:
        """Return the scaling of X (n, d) and y (n,) or (n, k), as checked, for k outputs.

        None for arrays, of which nobody knows the units.
        """
        if self.scaled is None and self.names is None:
            return None
        d, of_y = X.shape[1], y.shape[1:]
        parts: dict[str, Any] = {name: np.full(d, float(name == "x_scale")) for name in _X}
        parts |= {name: np.full(of_y, float(name == "y_scale")) for name in _Y}
        if self.scaled is not None:
            x_scale = self.scaled._units[0].scale
            parts |= {name: getattr(self.scaled, name) for name in _X} | {"x_scale": x_scale}
        if self.scaled is not None and self.own:  # y may be the column (n, 1) where it was (n,)
            parts |= {name: getattr(self.scaled, name).reshape(of_y) for name in _Y}
        made = Scaling(
            **parts,
            feature_names=named(self.names, d),
            target_names=named(self.targets, *(of_y or (1,))),
            source=self.source,
        )
        return made.of_outputs(made.y_mean.size if k is None else k).holding(self.X, X)


def _chosen(name: str, X: Any, wanted: Sequence[str]) -> Any:
    """Return a frame's columns of these names, in this order; X itself if it has no names."""
    held = frames.names(X)
    if held is None or not hasattr(X, "columns"):
        return X
    missing = [each for each in wanted if each not in held]
    if missing:
        raise ValueError(
            f"{name} must have the columns {validation.listed(wanted)}, which the model was fitted "
            f"to, got {validation.listed(held)}: {validation.listed(missing)} missing"
        )
    return X[list(wanted)]


def named(names: Sequence[str] | None, count: int) -> tuple[str, ...] | None:
    """The names of so many columns, where all have one."""
    return tuple(names) if names is not None and len(names) == count else None


def _is_own(y: Any, standard: Array) -> bool:
    """Whether y is the standardised one, itself or a view or a copy of it."""
    if y is standard:
        return True
    try:
        given = np.asarray(y)
    except Exception:  # an array on a GPU, or what is refused later
        return False
    if given.dtype.kind not in "fiub":
        return False
    shared = np.may_share_memory(given, standard)
    if given.size == standard.size and given.shape[1:] in (standard.shape[1:], (), (1,)):
        rounded = standard.astype(given.dtype, copy=False) if given.dtype.kind == "f" else standard
        return shared or np.array_equal(given.ravel(), rounded.ravel())
    if shared:
        raise ValueError(
            f"y must be the whole of the standardised y, of shape {standard.shape}, or in units of "
            f"its own, got a part of it, of shape {given.shape}: standardise that part by itself"
        )
    return False


def given_data(X: Any, y: Any) -> _Given:
    """Take apart what a user calls data.

    Parameters
    ----------
    X : (n, d) array_like, data frame, or what holds X, y and their names
        The latter is a ``Standardized`` or a ``Dataset``.
    y : (n,) or (n, k) array_like, column or data frame, or None
        In place of the y that X holds, in units of its own; None for that one, of which a copy or
        a view, a column, or one in float32, is the same.

    Raises
    ------
    ValueError
        If y is some outputs of a standardised y only, of which nobody can tell the units.
    """
    if frames.is_frame(X) or not all(hasattr(X, name) for name in ("X", "y", "feature_names")):
        return _Given(X, y, frames.names(X), frames.names(y), "", None, own=False)
    scaled = X if isinstance(X, Scaling) else None
    own = y is None or (y is X.y if scaled is None else _is_own(y, X.y))
    targets = X.target_names if y is None or y is X.y else frames.names(y) or X.target_names
    source = X.name if scaled is None else scaled.source
    return _Given(X.X, X.y if y is None else y, X.feature_names, targets, source, scaled, own)
