"""The options that commands share, and the parsing of their texts."""

import contextlib
from collections.abc import Callable
from typing import Annotated, Any

import typer

from accel._core.optimizers import OPTIMIZERS as KNOWN
from accel._support import validation
from accel._support.compiling import silenced
from accel.cli.catalogue import NAMES
from accel.kernels.specs import SHUFFLES
from accel.losses import NAMES as LOSSES
from accel.recording.naming import NAMES as QUANTITIES
from accel.tuning import Grid, Model

MODEL, RUN, PROGRESS, OUTPUT = "Model", "Training", "Progress", "Output"  # the panels of --help
DEPTHS, OPTIMIZERS = "1,2,3", "gd,adagrad@1,adam@1"  # what is compared by default
OPTIMIZER_NAMES = f"{', '.join(KNOWN)}."


def parse_whole(text: Any) -> int:
    """Parse an integer, also one like 1e6 or 100_000."""
    with contextlib.suppress(ValueError):
        return int(str(text))  # first, since a float cannot hold all integers above 2^53
    try:
        number = float(text)
        if number != int(number):
            raise ValueError
    except (OverflowError, ValueError):
        raise typer.BadParameter(f"{validation.shown(text)} is not an integer.") from None
    return int(number)


def parse_interval(text: Any) -> Any:
    """Parse ``INTEGER``, ``STEP,STEP,...`` or ``log``."""
    words = str(text).split(",")
    try:
        numbers = [word if word == "log" else parse_whole(word) for word in words if word]
    except typer.BadParameter:
        numbers = []
    if not numbers or ("log" in numbers and len(words) > 1):
        raise typer.BadParameter(
            f"{validation.shown(text)} is neither an integer, nor steps such as 1,10,100, nor log."
        )
    return numbers if len(words) > 1 else numbers[0]


def completed(*known: str, several: bool = False) -> Callable[[str], list[str]]:
    """Return what a shell calls to complete one of these words, or the last of several.

    Where nothing fits, shells offer files.
    """

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        return [f"{before}{comma}{word}" for word in known if word.startswith(last)]

    return complete


def _one_of(*known: str) -> Any:
    """Settings of an option that takes one of these words and suggests one for a misspelling."""

    def parse(text: str) -> str:
        if text not in known:
            raise typer.BadParameter(
                f"{validation.shown(text)} is not one of {', '.join(map(repr, known))}"
                f"{validation.suggestion(text, known)}"
            )
        return text

    return {
        "parser": parse,
        "metavar": f"[{'|'.join(known)}]",
        "autocompletion": completed(*known),
    }


def _column(text: str) -> str:
    """Refuse a distance, which this option meant before it named columns."""
    with contextlib.suppress(ValueError):
        int(text)
        return text
    with contextlib.suppress(ValueError):
        float(text)
        raise typer.BadParameter(
            f"{validation.shown(text)} is no column: --target names the target of a file; "
            f"--target-distance is the distance from the optimum."
        )
    return text


DataSource = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help=f"{', '.join(NAMES)}, or the path of a .csv, .tsv, .parquet, .npy or .npz. The "
        "synthetic ones take settings, as in two-points:y1=10,y2=1.",
        show_default=True,
        autocompletion=completed(*NAMES),
    ),
]
P = Annotated[
    float | None, typer.Option("--p", help="Exponent of the loss, at least 1; by default 4.")
]
LossName = Annotated[
    str | None,
    typer.Option(
        "--loss",
        metavar="NAME",
        autocompletion=completed(*(name for name in LOSSES if name != "lp")),
        help=f"In place of --p: {', '.join(name for name in LOSSES if name != 'lp')}; with its "
        "number as in huber(1.35) or pinball(0.9).",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "--target-column",
        parser=_column,
        metavar="NAME,...",
        help="Target of a file: column names, or numbers from 0; the last by default. Of a .npz "
        "the array that is y.",
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Features of a file: column names, or numbers from 0; all others by default. Of a "
        ".npz the array that is X.",
    ),
]
DropMissing = Annotated[
    bool,
    typer.Option("--drop-missing", help="Leave out rows of a file that lack a value."),
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
Depths = Annotated[str, typer.Option(help="Separated by commas.", rich_help_panel=MODEL)]
Optimizers = Annotated[
    str,
    typer.Option(
        help=f"{OPTIMIZER_NAMES} Separated by commas; NAME@DEPTH for that depth alone.",
        autocompletion=completed(*KNOWN, several=True),
        rich_help_panel=MODEL,
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
    typer.Option(
        help="Size of the initial weights; 0.01, orthogonal 1. By default near_zero nets of depth "
        "3 and more have it in their product, to leave the saddle at 0.",
        rich_help_panel=MODEL,
    ),
]
Seed = Annotated[int, typer.Option(help="Of the initial weights.", rich_help_panel=MODEL)]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Rows of the data that a step takes; all by default.", rich_help_panel=RUN),
]
Shuffle = Annotated[
    str,
    typer.Option(
        help="How batches are drawn: a random partition an epoch, row by row, or in order.",
        rich_help_panel=RUN,
        **_one_of(*SHUFFLES),
    ),
]
BatchSeed = Annotated[
    int, typer.Option(help="Of the batches and of the label noise.", rich_help_panel=RUN)
]
LabelNoise = Annotated[
    float,
    typer.Option(
        help="Standard deviation of Gaussian noise on the targets, fresh in every step.",
        rich_help_panel=RUN,
    ),
]
Record = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        autocompletion=completed(*QUANTITIES, several=True),
        help=f"What else to record: {', '.join(QUANTITIES)}; with constants as in schatten(0.5).",
        rich_help_panel=OUTPUT,
    ),
]
RecordEvery = Annotated[
    Any,
    typer.Option(
        parser=parse_interval,
        metavar="N|STEP,...|log",
        help="Steps between records, or the steps to record, or log for a hundred records a "
        "decade; by default about 1000 in all.",
        rich_help_panel=OUTPUT,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace files that are there already.", rich_help_panel=OUTPUT),
]


def _silence(context: typer.Context, quiet: bool) -> bool:
    """Say nothing of compilation either, until the command ends."""
    if quiet:
        context.with_resource(silenced())
    return quiet


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="No progress, only results.",
        rich_help_panel=OUTPUT,
        callback=_silence,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Results as JSON on stdout.", rich_help_panel=OUTPUT)
]


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{name} must be integers such as 1,2,3, got {validation.shown(text)}"
        ) from None


def parse_models(depths: str, optimizers: str) -> list[Model]:
    """Parse the models: every optimiser at every depth, or only at the depth after its @."""
    known = _numbers("--depths", depths)
    models = []
    for word in optimizers.split(","):
        name, at, depth = word.strip().partition("@")
        for chosen in _numbers(f"the depth of {name}", depth) if at else known:
            models.append(Model(name, chosen))
    return list(dict.fromkeys(models))


def parse_grid(text: str) -> Grid:
    """Parse ``POINTS``, ``LOW:HIGH`` or ``LOW:HIGH:POINTS``."""
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
