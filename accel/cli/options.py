"""The options that commands share, and what their texts mean."""

import contextlib
from typing import Annotated, Any

import typer

from accel._core.optimizers import OPTIMIZERS
from accel._core.problem import LpProblem
from accel._core.standardize import standardize_checked
from accel._optimum.optimum import losses_at_zero
from accel._support import validation
from accel.cli.catalogue import NAMES, open_data
from accel.tuning import Grid, Model

MODEL, RUN, PROGRESS, OUTPUT = "Model", "Training", "Progress", "Output"  # the panels of --help
OPTIMIZER_NAMES = f"{', '.join(OPTIMIZERS)}."


def parse_whole(text: Any) -> int:
    """An integer, 1e6 and 100_000 included."""
    with contextlib.suppress(ValueError):
        return int(str(text))  # all digits: a float has none beyond 2^53
    try:
        number = float(text)
        if number != int(number):
            raise ValueError
    except (OverflowError, ValueError):
        raise typer.BadParameter(f"{validation.shown(text)} is not an integer.") from None
    return int(number)


def _one_of(*known: str) -> Any:
    """An option that takes one of these words, and says which one a misspelt one is close to."""

    def parse(text: str) -> str:
        if text not in known:
            raise typer.BadParameter(
                f"{validation.shown(text)} is not one of {', '.join(map(repr, known))}"
                f"{validation.suggestion(text, known)}"
            )
        return text

    return {"parser": parse, "metavar": f"[{'|'.join(known)}]"}


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help=f"{', '.join(NAMES)}, or the path of a .npz, .npy or .csv. The synthetic ones take "
        "settings, as in two-points:y1=10,y2=1.",
        show_default=True,
    ),
]
P = Annotated[float, typer.Option("--p", help="Exponent of the loss, at least 1.")]
Column = Annotated[
    str | None,
    typer.Option(help="Name or number of a file's target column; the last by default."),
]
Standardize = Annotated[
    bool | None,
    typer.Option(
        "--standardize/--no-standardize",
        help="Every column to mean 0 and variance 1; the default for all but two-points.",
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="By default that of the data.", **_one_of("float64", "float32")),
]
Threads = Annotated[int | None, typer.Option(help="By default $ACCEL_NUM_THREADS, or all CPUs.")]
BackendName = Annotated[
    str,
    typer.Option(
        help="Auto takes a GPU, if there is one, for runs that are long enough for it.",
        **_one_of("auto", "cpu", "cuda", "reference"),
    ),
]
Steps = Annotated[int, typer.Option(parser=parse_whole, metavar="INTEGER", rich_help_panel=RUN)]
Width = Annotated[
    int | None,
    typer.Option(help="Of hidden layers; min(d, k) by default.", rich_help_panel=MODEL),
]
Init = Annotated[
    str,
    typer.Option(
        help="How networks begin. Balanced ones are the same map at every depth.",
        rich_help_panel=MODEL,
        **_one_of("balanced", "near_zero", "identity", "orthogonal"),
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(help="Size of the initial weights; 0.01, orthogonal 1.", rich_help_panel=MODEL),
]
Seed = Annotated[int, typer.Option(help="Of the initial weights.", rich_help_panel=MODEL)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, only results.", rich_help_panel=OUTPUT)
]
Json = Annotated[
    bool, typer.Option("--json", help="Results as JSON on stdout.", rich_help_panel=OUTPUT)
]


class Task:
    """The data of a command, as a problem."""

    def __init__(
        self,
        data: str,
        p: float,
        column: str | None,
        standardized: bool | None,
        dtype: str | None,
    ) -> None:
        opened = open_data(data, column)
        self.path, self.name = opened.path, opened.dataset.name
        self.standardized = opened.standardize if standardized is None else standardized
        X, y = opened.dataset.X, opened.dataset.y
        if self.standardized:
            scaled = standardize_checked(X, y)  # the data were checked as they were read
            X, y = scaled.X, scaled.y
        self.problem = LpProblem(X, y, p=p, dtype=dtype)
        losses_at_zero(self.problem)  # refused now, and not by the optimum after some output

    def __str__(self) -> str:
        problem = self.problem
        size = f"{problem.n} x {problem.d}" + (f" to {problem.k}" if problem.k > 1 else "")
        scaled = ", standardised" if self.standardized else ""
        return f"{self.name} ({size}{scaled}), p = {problem.p:g}"

    @property
    def stem(self) -> str:
        """The beginning of the name of a file about it."""
        return f"{self.name}-p{self.problem.p:g}"

    def described(self) -> dict[str, Any]:
        """What JSON tells of it."""
        problem = self.problem
        return {
            "data": self.name,
            "n": problem.n,
            "d": problem.d,
            "k": problem.k,
            "standardized": self.standardized,
            "p": problem.p,
            "dtype": str(problem.dtype),
        }


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{name} must be integers such as 1,2,3, got {validation.shown(text)}"
        ) from None


def parse_models(depths: str, optimizers: str) -> list[Model]:
    """Every optimiser at every depth, or at the one after an @."""
    known = _numbers("--depths", depths)
    models = []
    for word in optimizers.split(","):
        name, at, depth = word.strip().partition("@")
        for chosen in _numbers(f"the depth of {name}", depth) if at else known:
            models.append(Model(name, chosen))
    return list(dict.fromkeys(models))


def parse_grid(text: str) -> Grid:
    """``POINTS``, ``LOW:HIGH`` or ``LOW:HIGH:POINTS``."""
    words = text.split(":")
    points, low, high = Grid.points, None, None
    try:
        if len(words) != 2:
            points = int(words[-1])
        if len(words) > 1:
            low, high = (float(word) for word in words[:2])
        if len(words) > 3:
            raise ValueError
    except ValueError:
        raise ValueError(
            "--grid must be POINTS, LOW:HIGH or LOW:HIGH:POINTS, such as 32, 1e-4:1 or "
            f"1e-4:1:16, got {validation.shown(text)}"
        ) from None
    return Grid(points, low, high)
