"""``train``: one run of one model."""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._runs import checkpoints, checks, continuing, driver
from accel._runs.batching import Noise, batches_of, epoch_of
from accel._runs.checks import Limits, Record, RunOptions
from accel._runs.ends import End
from accel._runs.intervals import RecordEvery
from accel._runs.rates import stable_rate
from accel._runs.results import Result
from accel._runs.rules import Rate, rule_of
from accel._runs.run import Check
from accel._runs.saddles import warn
from accel._support.arrays import Array
from accel._support.keywords import helpful

Callback = Callable[[int, float], object]

_log = logging.getLogger("accel")


@helpful
def train(
    problem: BaseProblem,
    network: Network | None = None,
    optimizer: Optimizer | str | None = None,
    steps: float | None = None,
    *,
    learning_rate: Rate = None,
    start: Result | None = None,
    batch_size: int | None = None,
    shuffle: str = "epoch",
    seed: int = 0,
    label_noise: Noise = None,
    record: Record = None,
    validation: BaseProblem | None = None,
    record_every: RecordEvery = None,
    tol: float = 0.0,
    target: float | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    backend: str = "auto",
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = checkpoints.EVERY,
) -> Result:
    r"""Minimise :math:`L(W_N \cdots W_1)` over the factors by steps of one optimiser.

    Parameters
    ----------
    problem : Problem, DaskProblem, MatrixCompletion, MatrixFactorization or MatrixSensing
    network : LinearNetwork or DiagonalNetwork
        Where to start; not modified. Of the problem's features, outputs and dtype. May be left out
        with ``start``.
    optimizer : Optimizer or str
        ``EndToEnd`` needs a ``LinearNetwork`` of depth 1. A name, as ``"gd"`` or ``"adam"``, stands
        for the rule with its usual constants. May be left out with ``start``.
    steps : int, or a float without a fraction, such as 1e6
        Updates to make in this call, at least 1.
    learning_rate : float, Schedule or "auto", optional
        In place of the optimiser's own. By default a name has its usual rate, if it rescales the
        gradient, else ``"auto"``: a rate that follows the loss. It begins with
        ``accel.stable_rate``. The run is made in stretches, each a quarter as long as all
        before: one at whose end the loss has risen is taken back and made again at a third of the
        rate, after any other twice the rate is tried. With weight decay it is
        loss and penalty that count; a rule with momentum, or one that rescales the gradient, keeps
        its rate then. Steps that were taken back count in ``seconds`` only. The result's
        ``optimizer`` has the last rate. With batches or label noise the loss that counts is that of
        all rows as they are. Near the minimum the noise makes it rise, so that there the rate falls
        in the end, as it does for p < 2. A stretch is at least an epoch long then, and is kept if
        the loss still rises at a ninth of the rate.
    start : Result, optional
        Go on with the run that it is of, with the state of its optimiser, its count of steps (by
        which schedules, batches and noise go on) and its history: the result is that of one run of
        ``start.steps + steps`` steps, bit for bit but for the seconds. What makes up the run is
        taken from it: network, optimiser and rate, batches, noise, record, method and, for
        ``"auto"``, backend; given again they must be the same, and so must the data. ``tol``,
        ``target``, ``callback`` and ``threads`` are those of this call, and so is ``record_every``
        if it is given; a ``tol`` or ``target`` that the method of the run has not the digits for is
        refused. Any status will do but ``"diverged"``. One result of a sweep, or a search,
        goes on alone, with the rounding of ``train``. A loaded result will do as well, if what was
        recorded has names; else that must be given again.
    batch_size : int, optional
        Rows of the data, at most, that the gradient of a step is made of, 1 to n; by default all.
        Which rows a step takes, ``accel.Batches(n, batch_size, shuffle, seed).rows(step)`` says.
        The loss of the history, ``tol`` and ``target`` are those of all rows, and these two are
        looked at where an iterate is recorded. ``history["batch_loss"]`` has the loss of the batch.
        By passes over the data; the backend "auto" is the CPU then,
        unless the data are on a GPU.
    shuffle : {"epoch", "replacement", "none"}
        A random partition of the rows in each epoch, rows drawn one by one from all, or the rows in
        order; see ``Batches``. For batches only.
    seed : int
        Of the batches and of the noise.
    label_noise : float or LabelNoise, optional
        The standard deviation of Gaussian noise, fresh in every step, on the targets that the
        gradient is made of; or a ``LabelNoise``. The same for all models of a sweep.
    record : sequence, optional
        What to record of the iterates beside loss and norms, at the steps of the history: names
        such as ``"singular_values"``, ``"sharpness"`` and ``"schatten(0.5)"``, values of
        ``accel.recording``, where all are described, and functions ``f(step, network)`` that return
        a number or an array. ``result.history[name]`` has them. No bit of the run changes by it.
        What oscillates with a period of two steps shows only with an odd ``record_every``.
    validation : Problem, MatrixCompletion, MatrixFactorization or MatrixSensing, optional
        Held-out data: their loss is recorded as ``"validation_loss"``.
    record_every : int, sequence of int or "log", optional
        Steps between two records of the history; by default about 1000 records in all and, with
        batches, at most one in an epoch, since a record is a pass over all rows; of a run that
        goes on, what it was. A sequence names
        the steps to record, in any order; those beyond the end of the run count for nothing.
        ``"log"`` records at the whole numbers next to :math:`10^{i/100}`, i = 0, 1, 2, ...: at each
        of the first 40 steps or so, then a hundred times a decade, 480 times in a million. The
        first and the last iterate are recorded in any case. No bit of the run changes by it.
    tol : float
        Stop once the Frobenius norm of the gradient with respect to the end-to-end matrix is at
        most this; 0 never stops.
    target : float, optional
        Stop once the loss is at most this.
    callback : callable, optional
        ``callback(step, loss)``, called in the caller's thread about ten times a second with the
        newest iterate whose loss is known. A true return value stops the run. Where steps are taken
        back, ``step`` falls.
    progress : bool
        Show a progress bar: in a notebook, or on stderr if it is a terminal and rich is installed
        (extra ``cli``); else print a line to stderr now and then.
    backend : {"auto", "cpu", "cuda", "reference"}
        ``"auto"`` is ``"cuda"`` if there is a GPU that can be used and the data is on it, or the
        run is so long that starting up the GPU is small beside it: at least 1e6 multiply-adds a
        step and 1e12 in all. Else it is ``"cpu"``. ``"cuda"`` copies data on the host to the GPU
        once.
    threads : int, optional
        For the data passes; by default ``ACCEL_NUM_THREADS`` or, without it, the least of the CPUs
        that this process may use, ``NUMBA_NUM_THREADS`` and ``OMP_NUM_THREADS``. More threads than
        CPUs change the bits, not the speed. Not for ``"cuda"`` and ``"reference"``.
    checkpoint : path-like, optional
        A file to keep the progress in, written at the start, every ``checkpoint_every`` seconds, at
        an interruption and at the end, whole or not at all. If it is there, the run goes on from
        it, to as many ``steps`` as asked for: a run that was complete returns at once, or goes on
        if there are more now, as it would have gone on then. (With ``start``, whichever has more
        steps counts.) Once a run is on its way, a file that cannot be
        written (a full disk) does not end it: the log says so, what was saved last stays, and
        saving is tried again.
    checkpoint_every : float
        Seconds between two saves; 30 by default. 0 is about ten times a second.

    Returns
    -------
    Result
        Also after divergence, and after Ctrl-C (the work done so far; status ``"interrupted"``).
        What was trained on a GPU stays there until it is asked for, see ``LinearNetwork``.

    Warns
    -----
    SaddleWarning
        If the run made all its steps and stands at the saddle at which it began, as from factors
        much smaller than those of a default start; see ``Result.at_saddle``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, if problem, network and optimizer do
        not fit together, if the backend is not available (the message says what is missing), or if
        the checkpoint is damaged or belongs to another run, or has more steps than are asked for,
        or ``start`` is of another run, has diverged or was saved without the state.
    OSError
        If the checkpoint cannot be read, or not be written at the start.
    MemoryError
        If the run would need more memory than the machine has.
    KeyboardInterrupt
        Only before the first step, while the kernels are compiled.

    Notes
    -----
    Whatever the callback raises ends the run and is passed on. The same seed, backend, dtype and
    number of threads, those of NumPy's BLAS too, give the same bits.

    References
    ----------
    Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
    Overparameterization", arXiv 1802.06509.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> network = accel.LinearNetwork.for_problem(problem, depth=1)
    >>> result = accel.train(problem, network, accel.GradientDescent(0.01), steps=1000)
    >>> result.status
    'completed'
    >>> accel.train(problem, steps=500, start=result).steps
    1500
    """
    end: End | None = None
    if start is None:
        began = cast(Network, network)  # checked below
        rule, found = rule_of(optimizer, learning_rate)
    else:
        end = continuing.end_of(start)
        began, rule, found = continuing.model_to_go_on(
            start, end, network, optimizer, learning_rate
        )
        steps = continuing.total(start, end, steps)
    checks.check_model(problem, began, rule)
    if end is None:
        batches = batches_of(problem, batch_size, shuffle, seed, label_noise)
    else:
        batches = continuing.batches_to_go_on(end, problem, batch_size, shuffle, seed, label_noise)
        record, validation = continuing.record_to_go_on(end, record, validation), None
    limits = checks.limits(steps, record_every, tol, target, epoch_of(problem, batches))
    options = checks.options(
        callback,
        progress,
        backend,
        threads,
        checkpoint,
        checkpoint_every,
        record,
        validation,
        batches,
    )

    def report(step: int, losses: Array) -> object:
        assert callback is not None
        return callback(step, float(losses[0]))

    if callback is not None:
        options = replace(options, callback=report)
    result = train_until(problem, began, rule, limits, options, auto_rate=found, start=end)
    if result.at_saddle:
        warn(began, rule, result.history)
    return result


def train_until(
    problem: BaseProblem,
    network: Network,
    optimizer: Optimizer,
    limits: Limits,
    options: RunOptions,
    check: Check | None = None,
    *,
    auto_rate: bool = False,
    start: End | None = None,
) -> Result:
    """Like ``train``, for arguments that have been checked, with the caller's stopping rule.

    ``auto_rate`` says that ``train`` was called with ``learning_rate="auto"``, and ``start`` is the
    end of a run that goes on, with its models, batches and record.
    """

    def first_rate() -> float:
        batches: dict[str, Any] = {}
        if options.batches is not None:
            size, shuffle, seed = options.batches[:3]
            batches = {"batch_size": size, "shuffle": shuffle, "seed": seed}
        rate = stable_rate(problem, network, optimizer, **batches)
        _log.info("learning rate %.4g, from the curvature along the start of the run", rate)
        return rate

    (result,), _ = driver.run_models(
        problem, [(network, optimizer)], limits, options,
        check=check, first_rate=first_rate if auto_rate else None, start=start,
    )  # fmt: skip
    return result
