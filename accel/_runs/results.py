"""The result of a run: the trained network, its history and how it ended."""

import itertools
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from accel._core.diagonal_network import FORMS, DiagonalNetwork
from accel._core.network import LinearNetwork, Network, checked_widths
from accel._core.optimizers import Optimizer
from accel._core.scaling import Scaling
from accel._files import archives, paths
from accel._runs.curves import Least, draw, label_of
from accel._runs.ends import End, State, described_rule, rule_in
from accel._runs.history import HISTORY, History
from accel._runs.predicting import Predicts
from accel._support import showing, validation
from accel._support.arrays import Array
from accel.kernels.specs import Entrywise
from accel.losses import NAMES, Loss, Lp
from accel.losses.having import HasLoss

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Status = Literal["completed", "target", "converged", "diverged", "dropped", "interrupted"]

_FORMAT = 3
_WITHOUT_STATE = 2  # the format before, without what a run goes on from
_ANY = tuple(range(1, 65))  # dimensions that an array of NumPy's may have
INSTALL = 'pip install "implicit-accel[cli]"'


def table(columns_or_rows: Any) -> "pd.DataFrame":
    """Make a pandas table, or say how to install pandas."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"to_pandas() needs pandas: {INSTALL}") from error
    return pd.DataFrame(columns_or_rows)


def _zero(widths: tuple[int, ...], diagonal: Any, params: Array) -> Network:
    """A network of zeros for these parameters, diagonal or not, if they fit."""
    if diagonal is None:
        size, what = sum(a * b for a, b in itertools.pairwise(widths)), f"widths {widths}"
    else:
        structure = Entrywise(str(diagonal["form"]), validation.depth(diagonal["depth"]))
        validation.choice("form", structure.form, FORMS)
        size, what = structure.vectors * widths[0], f"widths {widths} and {structure}"
    if params.shape != (size,) or (diagonal is not None and widths[1:] != (1,)):
        raise ValueError(f"its params, {params.shape}, do not fit its {what}")
    if diagonal is None:
        return LinearNetwork(widths, scale=0, dtype=params.dtype)
    return DiagonalNetwork(
        widths[0], structure.depth, structure.form, scale=0, dtype=params.dtype
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Result(HasLoss, Predicts):
    """The outcome of ``train``.

    Attributes
    ----------
    network : LinearNetwork or DiagonalNetwork
        The last iterate; for a diverged run the last one with a finite loss. Trained on a GPU, its
        factors stay there until they are asked for.
    history : History
    status : {"completed", "target", "converged", "diverged", "dropped", "interrupted"}
        All steps made, or as many as the method has digits for, which the log says; loss at most
        ``target``; gradient norm at most ``tol``; loss or gradient not finite; given up by a grid
        search with ``halving``; stopped by Ctrl-C or by the callback.
    steps : int
        Updates that led to ``network``.
    seconds : float
        Time spent on training, without compilation.
    diverged_at : int or None
        The first step whose loss or gradient was not finite.
    optimizer : Optimizer
    loss_function : accel.losses.Loss
    method : {"direct", "gram", "spectral", "rowspace"}
        How the loss was evaluated, see ``Problem``.
    backend : str
    threads : int
        1 where that is not ours to say: on the GPU, and for ``"reference"``.
    at_saddle : bool
        Whether the run made all its steps and stands at a saddle, where it began or to which its
        product shrank: the gradient with respect to the factors is next to nothing, that with
        respect to their product is not.
        ``train`` warns of it (``SaddleWarning``), ``sweep`` and ``grid_search`` do not.
    scaling : Scaling or None
        The units and names of the problem's data, in which ``predict`` and ``coefficients`` are;
        None where the problem was made of arrays, whose units these are then.
    """

    network: Network
    history: History
    status: Status
    steps: int
    seconds: float
    diverged_at: int | None
    optimizer: Optimizer
    loss_function: Loss
    method: str
    backend: str
    threads: int
    at_saddle: bool = False
    scaling: Scaling | None = None
    _state: State | None = field(default=None, repr=False)  # what a run goes on from

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_state": None if self._state is None else self._state.portable()}

    @property
    def loss(self) -> float:
        """Loss of ``network``."""
        return float(self.history.loss[-1])

    @property
    def _shown_loss(self) -> str:
        loss = self.loss_function
        return f"p={loss.p:g}" if isinstance(loss, Lp) else f"loss_function={loss!r}"

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.network.dtype

    def __repr__(self) -> str:
        saddle = "at_saddle=True, " if self.at_saddle else ""
        return (
            f"Result(status={self.status!r}, {saddle}steps={self.steps}, loss={self.loss:.6g}, "
            f"seconds={self.seconds:.3g}, optimizer={self.optimizer.name!r}, "
            f"widths={showing.widths(self.network.widths)}, {self._shown_loss})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the main facts."""
        facts: dict[str, object] = {"status": self.status}
        if self.diverged_at is not None:
            facts["diverged at step"] = self.diverged_at
        if self.at_saddle:
            facts["at the saddle"] = "where it began: a larger start leaves it"
        facts["steps"] = self.steps
        facts["loss"] = f"{self.loss:.6g}"
        facts["gradient norm"] = f"{self.history.gradient_norm[-1]:.3g}"
        facts["seconds"] = f"{self.seconds:.3g}"
        if self.steps:
            facts["microseconds a step"] = f"{1e6 * self.seconds / self.steps:.3g}"
        facts["optimizer"] = self.optimizer
        facts["widths"] = f"{showing.widths(self.network.widths)}, depth {self.network.depth}"
        if isinstance(self.network, DiagonalNetwork):
            facts["widths"] = f"{facts['widths']}, diagonal: {self.network.form}"
        name, _, value = self._shown_loss.partition("=")
        facts[name] = value
        facts["method"] = self.method
        facts["backend"] = f"{self.backend}, threads: {self.threads}, {self.dtype}"
        return showing.table(facts)

    def to_pandas(self) -> "pd.DataFrame":
        """Return the history as a table, one row a record, columns as ``History.columns`` has them.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return table(self.history.columns())

    def plot(
        self,
        ax: "Axes | None" = None,
        optimum: Least = 0.0,
        what: str = "loss",
        **style: Any,
    ) -> "Axes":
        r"""Draw the distance of the loss from the optimum against the step, or what was recorded.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.
        optimum : float or Optimum
            The least loss; records at or below it are left out.
        what : str
            A name in ``history``. Axes are logarithmic, and zeros are left out, but for ranks,
            alignments, what has negative values, and a rate that is zero somewhere or falls by more
            than six decades. So is the axis of iterations if half of the records are of the first
            quarter of the run, as with ``record_every="log"``. Beside ``"sharpness"`` stands the
            limit of stability, :math:`2 / \eta` or that of the rule with momentum: along a schedule
            at the rate of every record, with ``learning_rate="auto"`` at the last rate.
        **style
            Passed to ``ax.plot``. The label is by default the optimiser, the depth and the learning
            rate, of a schedule the name of its class.

        Returns
        -------
        matplotlib axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If nothing of that name was recorded, or matrices.
        """
        style.setdefault("label", label_of(self.optimizer, self.network.depth))
        return draw(ax, self.history, self.optimizer, what, optimum, style, INSTALL)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything to one file: NumPy's npz format with a JSON text and a checksum.

        Also what a run needs that goes on from it, as by ``train(start=...)``: the state of the
        optimiser, where the run began and, for the methods "spectral" and "rowspace", their
        rotation. Of quantities that were recorded there are the names.

        Parameters
        ----------
        path : path-like
            Taken as it is, no suffix is added. An existing file is replaced, and only once the new
            one is complete.

        Returns
        -------
        Path

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        path = paths.given("path", path)
        described = {
            "format": _FORMAT,
            "optimizer": described_rule(self.optimizer),
            "widths": self.network.widths,
            **_described(self.loss_function),
        }
        if isinstance(self.network, DiagonalNetwork):
            described["diagonal"] = {"form": self.network.form, "depth": self.network.depth}
        for name in _PLAIN:
            described[name] = getattr(self, name)
        described["recorded"] = list(self.history.recorded)
        arrays = {name: getattr(self.history, name) for name in HISTORY}
        for i, values in enumerate(self.history.recorded.values()):
            arrays[f"recorded{i}"] = values
        if self.scaling is not None:
            described["scaling"], scaling = self.scaling.parts()
            arrays |= scaling
        if self._state is not None and (state := self._state.portable()) is not None:
            described["state"], of_state = state.end.described()
            arrays |= of_state
        archives.write(path, described, {"params": self.network.params, **arrays})
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Result":
        """Read what ``save`` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Result

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is no such file, or is damaged, cut short or from a later version.
        """
        path = paths.given("path", path)
        with archives.reading("result", path):
            return cls._from_arrays(*archives.read(path, _FORMAT, _WITHOUT_STATE), path)

    @classmethod
    def _from_arrays(
        cls, described: dict[str, Any], arrays: dict[str, Array], path: Path
    ) -> "Result":
        recorded = {
            str(name): validation.numeric(f"recorded{i}", arrays[f"recorded{i}"], ndim=_ANY)
            for i, name in enumerate(described.get("recorded", []))
        }
        own = {name: validation.numeric(name, arrays[name], ndim=(1,)) for name in HISTORY}
        history = History(**own, recorded=recorded)
        if len({len(column) for column in (*own.values(), *recorded.values())}) != 1:
            raise ValueError("the columns of its history differ in length")
        params, widths = arrays["params"], checked_widths(described["widths"])
        zero = _zero(widths, described.get("diagonal"), params)
        for name, least in (("steps", 0), ("threads", 1), ("diverged_at", 0)):
            if described[name] is not None or name != "diverged_at":
                validation.integer(name, described[name], least=least)
        validation.real("seconds", described["seconds"], least=0)
        described.setdefault("at_saddle", False)  # files of earlier versions do not have it
        validation.flag("at_saddle", described["at_saddle"])
        for name, known in _NAMED.items():
            validation.choice(name, described[name], known)
        state = described.get("state")
        return cls(
            network=zero.with_params(params),
            history=history,
            optimizer=rule_in(described["optimizer"]),
            loss_function=_loss(described),
            scaling=(
                Scaling.of_parts(described["scaling"], arrays, widths[0], widths[-1])
                if "scaling" in described
                else None
            ),
            **{name: described[name] for name in _PLAIN},
            _state=None if state is None else State(End.read(state, arrays, zero, path)),
        )


#: The attributes that are one of so many names.
_NAMED = {
    "status": get_args(Status),
    "method": ("direct", "gram", "spectral", "rowspace"),
}
#: The attributes of a result that JSON holds as they are.
_PLAIN = tuple(
    field.name
    for field in fields(Result)
    if field.name not in ("network", "history", "optimizer", "loss_function", "scaling", "_state")
)


def _described(loss: Loss) -> dict[str, Any]:
    """A loss in JSON: an l_p loss as files have it since the first version."""
    if isinstance(loss, Lp):
        return asdict(loss)
    return {"loss_function": {"name": loss.name, **asdict(loss)}}


def _loss(described: dict[str, Any]) -> Loss:
    """The loss of a file."""
    if "loss_function" not in described:
        return Lp(described["p"], described["scale"])
    constants = dict(described["loss_function"])
    return NAMES[validation.choice("loss", constants.pop("name"), NAMES)](**constants)
