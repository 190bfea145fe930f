"""Data to train on: gas sensors, scikit-learn's diabetes data, synthetic data and your own files.

Only NumPy is needed to import this module; pooch and scikit-learn are imported where they are used.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accel._files import paths
from accel._support import memory, showing, validation
from accel._support.arrays import Array
from accel.datasets import columns, gas, readers

__all__ = [
    "Dataset",
    "load_diabetes",
    "load_file",
    "load_gas_ethanol",
    "make_ill_conditioned",
    "two_points",
]

_GAS_FEATURES = (
    *("dR", "dR_norm", "EMAi_0.001", "EMAi_0.01", "EMAi_0.1"),
    *("EMAd_0.001", "EMAd_0.01", "EMAd_0.1"),
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A regression problem in the units of its source.

    Attributes
    ----------
    X : (n, d) array
    y : (n,) or (n, k) array
        Of the dtype of X.
    name : str
    feature_names : tuple of d str
    description, source : str
        One line each.
    target_names : tuple of k str
        Where none are given: "y", or "y0", "y1" and so on for a y of two dimensions.
    """

    X: Array
    y: Array
    name: str
    feature_names: tuple[str, ...]
    description: str
    source: str
    target_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.target_names:
            object.__setattr__(self, "target_names", columns.names_of("y", self.y))

    def __repr__(self) -> str:
        return showing.line(
            self,
            name=repr(self.name),
            X=showing.shape(self.X),
            y=showing.shape(self.y),
            dtype=getattr(self.X, "dtype", None),
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the main facts."""
        return showing.table(
            {
                "name": self.name,
                "X": f"{showing.shape(self.X)} {getattr(self.X, 'dtype', '')}",
                "y": showing.shape(self.y),
                "features": validation.listed(self.feature_names),
                "description": self.description,
                "source": self.source,
            }
        )


def load_gas_ethanol(path: str | os.PathLike[str] | None = None) -> Dataset:
    """Load the "Ethanol" problem: 2565 samples of 128 features of a gas-sensor array.

    It is read from ``path``, else from where the environment variable ``ACCEL_DATA`` points, else
    from pooch's cache, else it is downloaded from UCI.

    Parameters
    ----------
    path : path, optional
        ``gas_ethanol.npz`` (arrays X and y), the zip from UCI, a folder with either of them, or a
        folder with its ten ``batchN.dat`` files. ``ACCEL_DATA`` may be any of these, too.

    Returns
    -------
    Dataset
        X (2565, 128) raw features, y (2565,) ethanol concentrations in ppmv, both float64. Rows
        are in the order of the source.

    Raises
    ------
    ValueError
        If ``path`` or ``ACCEL_DATA`` names something else.
    FileNotFoundError
        If it is not there and cannot be downloaded; the message says what to do.

    Notes
    -----
    A download must have the sha256 of the published archive. Of a file of your own the content is
    checked: its shape, the mean and deviation of y, and the mean response of each of the 16
    sensors, to 1e-4. A hash would not do, since copies in use, such as ``gas_ethanol.npz``, round
    UCI's six decimals to five digits, and are the same problem.

    References
    ----------
    Vergara et al. (2012), Rodriguez-Lujan et al. (2014), "Gas Sensor Array Drift at Different
    Concentrations", UCI Machine Learning Repository, doi 10.24432/C5MK6M, CC BY 4.0.

    Examples
    --------
    >>> import accel
    >>> accel.datasets.load_gas_ethanol().X.shape  # doctest: +SKIP
    (2565, 128)
    """
    given = paths.named("path", path, "ACCEL_DATA")
    X, y = gas.download_gas() if given is None else gas.read_gas(given)
    return Dataset(
        X,
        y,
        "gas_ethanol",
        tuple(f"sensor{s:02d}_{feature}" for s in range(1, 17) for feature in _GAS_FEATURES),
        "Ethanol concentration (ppmv) from 128 features of 16 gas sensors over 36 months",
        "UCI 270, Gas Sensor Array Drift at Different Concentrations, doi 10.24432/C5MK6M, "
        "CC BY 4.0",
        ("ethanol",),
    )


def load_diabetes() -> Dataset:
    """Load the diabetes data that comes with scikit-learn, 442 patients and 10 features.

    Returns
    -------
    Dataset
        X (442, 10) as scikit-learn gives it, every column centred and of norm 1; y (442,) the
        progression of the disease after a year, raw, from 25 to 346. Both float64.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.

    References
    ----------
    Efron, Hastie, Johnstone, Tibshirani (2004), "Least Angle Regression", Annals of Statistics 32.

    Examples
    --------
    >>> import accel
    >>> data = accel.datasets.load_diabetes()
    >>> data.X.shape, data.feature_names[:4]
    ((442, 10), ('age', 'sex', 'bmi', 'bp'))
    """
    try:
        from sklearn.datasets import load_diabetes as load
    except ImportError as error:
        raise ImportError(
            "the diabetes data comes with scikit-learn: pip install 'implicit-accel[cli]'"
        ) from error
    bunch = load()
    X, y = columns.checked("scikit-learn's diabetes data", bunch.data, bunch.target)
    return Dataset(
        X,
        y,
        "diabetes",
        tuple(bunch.feature_names),
        "Progression of diabetes after a year from 10 measurements of 442 patients",
        "scikit-learn, load_diabetes (Efron et al. 2004)",
        ("progression",),
    )


def make_ill_conditioned(
    n: int,
    d: int,
    condition: float = 1e6,
    seed: int = 0,
    noise: float = 0.1,
    k: int = 1,
    dtype: Any = np.float64,
) -> Dataset:
    r"""Synthetic regression whose singular values fall geometrically, as those of the gas data do.

    ``X = U diag(s) V'`` with Haar-random U (n, d) and V (d, d), both with orthonormal columns, and

    .. math:: s_j = s_1 \, \kappa^{-\frac{j-1}{2(d-1)}}, \qquad j = 1 \dots d,

    so that the condition number of ``X'X`` is exactly :math:`\kappa` = ``condition``, that of X its
    square root. s_1 is such that the mean square of the entries of X is 1, as in standardised data.
    The targets are ``Y = X W' + noise * E`` with Gaussian W and E: each row of W is scaled so that
    its signal has mean square 1, the entries of E have variance 1.

    Parameters
    ----------
    n, d, k : int
        Numbers of samples, features and outputs, n >= d.
    condition : float
        Of ``X'X``, at least 1; 1 if d = 1.
    seed : int
        The same arguments give the same bits.
    noise : float
        At least 0.
    dtype : {float64, float32}
        Of X and y, which are computed in float64. Rounding to float32 preserves a ``condition`` up
        to about 1e12.

    Returns
    -------
    Dataset
        X (n, d); y (n,) for k = 1, else (n, k).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of bounds.
    MemoryError
        If the machine has not enough memory.

    Examples
    --------
    >>> import accel
    >>> import numpy as np
    >>> data = accel.datasets.make_ill_conditioned(50, 3, condition=100.0)
    >>> float(np.linalg.cond(data.X.T @ data.X).round(6))
    100.0
    """
    d = validation.integer("d", d, least=1)
    n = validation.integer("n", n, least=d)
    k = validation.integer("k", k, least=1)
    seed = validation.integer("seed", seed, least=0)
    condition = validation.real("condition", condition, least=1)
    noise = validation.real("noise", noise, least=0)
    dtype = validation.float_dtype("dtype", dtype)
    if d == 1 and condition != 1:
        raise ValueError(f"condition must be 1 for d = 1, got {condition:g}")
    memory.require(f"data of shape {(n, d)} to {k}", 32 * n * d + 32 * d * d + 24 * n * k)
    rng = np.random.default_rng(seed)
    U, V = _orthonormal(rng, n, d), _orthonormal(rng, d, d)
    spectrum = condition ** (-np.arange(d) / (2 * max(d - 1, 1)))
    spectrum *= np.sqrt(n * d / np.sum(spectrum**2))
    X = (U * spectrum) @ V.T
    signal = X @ rng.standard_normal((d, k))
    signal /= np.sqrt(np.mean(signal**2, axis=0))
    with np.errstate(over="ignore", invalid="ignore"):
        Y = (signal + noise * rng.standard_normal((n, k))).astype(dtype)
    if not np.isfinite(Y).all():
        raise ValueError(f"noise must leave y finite in {dtype}, got {noise:g}")
    return Dataset(
        X.astype(dtype, copy=False),
        Y[:, 0] if k == 1 else Y,
        "ill_conditioned",
        tuple(f"x{j}" for j in range(d)),
        f"Synthetic, {n} x {d} to {k}, condition number of X'X {condition:g}, seed {seed}",
        "accel.datasets.make_ill_conditioned",
    )


def _orthonormal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A matrix with orthonormal columns, drawn from the uniform (Haar) distribution."""
    Q, R = np.linalg.qr(rng.standard_normal((rows, columns)))
    signed: Array = Q * np.sign(np.diag(R))  # else Q would depend on LAPACK's choice of signs
    return signed


def two_points(y1: float, y2: float) -> Dataset:
    """Two points on the axes: ``([1, 0], y1)`` and ``([0, 1], y2)``, the paper's illustration.

    For p > 2 and y1 much larger than y2 plain gradient descent crawls along the second coordinate;
    the factors couple it to the first.

    Parameters
    ----------
    y1, y2 : float

    Returns
    -------
    Dataset
        X (2, 2), the identity; y (2,).

    Raises
    ------
    TypeError, ValueError
        If a target is not a finite number.

    References
    ----------
    Arora, Cohen, Hazan (2018), arXiv 1802.06509, section 6.

    Examples
    --------
    >>> import accel
    >>> accel.datasets.two_points(8.0, 1.0).y
    array([8., 1.])
    """
    y = np.array([validation.real("y1", y1), validation.real("y2", y2)])
    return Dataset(
        np.eye(2),
        y,
        "two_points",
        ("x0", "x1"),
        f"Two points on the axes with targets {y[0]:g} and {y[1]:g}",
        "Arora, Cohen, Hazan (2018), arXiv 1802.06509",
    )


def load_file(
    path: str | os.PathLike[str],
    target: str | int | Sequence[str | int] | None = None,
    features: str | int | Sequence[str | int] | None = None,
    drop_missing: bool = False,
) -> Dataset:
    """Load a table of your own.

    Parameters
    ----------
    path : path
        ``.csv``, ``.tsv``: numbers, or columns of True and False, which are 1 and 0, separated by
        commas, semicolons or tabs; the first line is a header if one of its cells is neither a
        number nor missing. If others are numbers, that is logged, and refused if the next line has
        text below all text and no column is chosen by its name. Lines in front that begin with #
        are skipped. Files may be compressed, as in ``.csv.gz``, ``.bz2``, ``.xz``, ``.zip``.
        A first column without a name that counts the rows from 0 or 1 is an index, as pandas and R
        write it: it is left out, unless it is asked for, and a warning is logged.
        ``.parquet``: columns of numbers, read by Polars or pandas. ``.npy``: a 2-D array with the
        target in a column. ``.npz``: arrays X (n, d) and y (n,) or (n, k), or of other usual names,
        such as X_train and y_train or data and target, if exactly one such pair fits. Pickled
        objects are never loaded.
    target : str, int, or sequence of these, optional
        The columns that are targets: names in the header, or numbers (from 0, or from the end if
        negative); the last column by default. An index is counted as a column. For a ``.npz`` the
        name of the array that is y, or of several to be put side by side.
    features : str, int, or sequence of these, optional
        The columns that are features, in this order; all but the targets by default. Columns that
        are neither are not looked at, and may hold text. For a ``.npz`` the name of the array that
        is X, or of several.
    drop_missing : bool
        Whether to leave out the rows in which a feature or a target is missing, and log how many.
        Else they are refused. Missing is a NaN, a null, and in text an empty cell, and in any case
        of letters NA, N/A, NaN, null, none and ?.

    Returns
    -------
    Dataset
        float64, or float32 if the file is. y is (n,) for one target, else (n, k).

    Raises
    ------
    ValueError
        If the file is missing, damaged, not numeric or not finite, or has no such columns. The
        message is one line that starts with the path. For text it has the number of the line, from
        1, header included, and the name of the column, or its number from 1 if it has no name.
    TypeError
        If target or features are neither names nor numbers.
    ImportError
        If nothing that reads .parquet is installed.

    Examples
    --------
    >>> import accel
    >>> import numpy as np
    >>> table = [[3, 10, 250], [4, 2, 390], [2, 31, 140]]
    >>> np.savetxt("houses.csv", table, delimiter=",", header="rooms,age,price", comments="")
    >>> data = accel.datasets.load_file("houses.csv", target="price")
    >>> data.feature_names, data.y
    (('rooms', 'age'), array([250., 390., 140.]))
    """
    X, y, names, targets = readers.read(path, target, features, drop_missing)
    file = Path(path)
    size = f"{X.shape[0]} x {X.shape[1]} from {file.name}"
    return Dataset(X, y, readers.stem(file), names, size, str(path), targets)
