"""``python -m tests.accel.killing WORK FOLDER TIMES``: work that is killed again and again.

Children are forked from a process that has everything loaded, so that they start at once. One child
does the work undisturbed. Others are killed at random moments, each resuming from the files of the
one before; a last one ends the work. Written to stdout: both results, and the number of unfinished
files that the killed children left.
"""

import json
import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

import accel
from accel import train
from accel._runs import run

from ..children import ROOT, python
from .problems import PROBLEM, make_problem, start


def killed(name, folder, times):
    """Run the module in a process of its own; return what it wrote."""
    done = python("-m", "tests.accel.killing", name, folder, times, cwd=ROOT)
    return json.loads(done.stdout)


def bits(results):
    return [
        [float(x).hex() for part in (result.network.params, result.history.loss) for x in part]
        for result in results
    ]


def train_one(folder):
    model = start(), accel.Adam(0.001)
    return bits([
        train(PROBLEM, *model, 120_000, record_every=6_000, threads=1, checkpoint_every=0,
              checkpoint=folder / "run.npz")
    ])  # fmt: skip


def sweep_many(folder):
    models = [(start(), accel.GradientDescent(rate)) for rate in (1e-4, 1e-3, 5.0)]
    return bits(
        accel.sweep(PROBLEM, models, 60_000, record_every=3_000, threads=1, checkpoint_every=0,
                    checkpoint=folder / "run.npz")
    )  # fmt: skip


def reproduce_a_figure(folder):
    from accel.experiments import reproduce, runner

    runner.sweep = partial(accel.sweep, checkpoint_every=0)
    reproduce.QUICK = 1000
    report = reproduce.reproduce(
        reproduce.Settings(("3r",), quick=True), folder, lambda p: make_problem(p=p),
        progress=lambda *stage: None, threads=1,
    )  # fmt: skip
    return report["figures"]


WORK = {work.__name__: work for work in (train_one, sweep_many, reproduce_a_figure)}


def begin(work, folder):
    """Fork a child that does the work; return its process id and the pipe of its result."""
    folder.mkdir(exist_ok=True)
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            text = json.dumps(work(folder)).encode()
            with os.fdopen(tell, "wb") as stream:
                stream.write(text)
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    return child, told


def end(child, told):
    """The result of the work, None if the child was killed, and the exit code of the child."""
    with os.fdopen(told, "rb") as stream:
        text = stream.read()
    status = os.waitpid(child, 0)[1]
    return json.loads(text) if text else None, os.waitstatus_to_exitcode(status)


def main(name, folder, times):
    run._CHUNK_SECONDS = 0.004
    work, moments = WORK[name], random.Random(0)
    train(PROBLEM, start(), accel.Adam(), 10, threads=1)  # loads and compiles everything
    began = time.perf_counter()
    whole, _ = end(*begin(work, folder / "whole"))
    seconds = time.perf_counter() - began
    codes, unfinished = [], 0
    for _ in range(times):
        # On average half of what the whole work takes, over all children together.
        life = begin(work, folder / "killed")
        time.sleep(moments.uniform(0, seconds / times))
        os.kill(life[0], signal.SIGKILL)
        codes.append(end(*life)[1])
        unfinished += bool(list((folder / "killed").rglob("*.part")))
    resumed, code = end(*begin(work, folder / "killed"))
    print(json.dumps({"seconds": seconds, "codes": codes, "unfinished": unfinished, "last": code,
                      "whole": whole, "resumed": resumed}))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
