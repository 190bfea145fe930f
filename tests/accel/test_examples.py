"""What is in ``examples/`` runs as it is; scripts of an extra are run by its own tests."""

import json
import os
import re
import runpy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import accel

from ..children import python
from .pictures import collisions, covered

FOLDER = Path(__file__).resolve().parents[2] / "examples"


def check_drawing(script, path, *arguments):
    """Of what a script draws no legend covers a curve, and nothing else overlaps."""
    import matplotlib.pyplot as plt

    script["draw"](*arguments, path)
    figure = plt.gcf()
    try:
        assert covered(figure) == []
        assert collisions(figure) == []
        assert path.read_bytes().startswith(b"\x89PNG")
    finally:
        plt.close(figure)


def test_each_is_run_by_a_test():
    here = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    scripts = [path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".ipynb")]
    assert len(scripts) >= 8
    assert all(f'"{name}"' in here for name in scripts)


def test_the_sweep(tmp_path):
    picture = tmp_path / "picture.png"
    done = python(FOLDER / "sweep.py", picture, PATH="", MPLBACKEND="agg", HOME=str(tmp_path))
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "depth 1", "depth 2", "depth 3"
    ]  # fmt: skip
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "rows", "options"),
    [
        ("sparsity.py", 16, []),
    ],
)
def test_a_phenomenon_is_printed_and_drawn(name, rows, options, tmp_path):
    """In the current folder, unless another path is given."""
    done = python(
        FOLDER / name, *options, limit=300, cwd=tmp_path, MPLBACKEND="agg", HOME=str(tmp_path)
    )
    numbers = [line for line in done.stdout.splitlines() if re.match(r" *[\d.]+ .*\d%?$", line)]
    assert len([line for line in numbers if "/" not in line]) == rows
    picture = tmp_path / name.replace(".py", ".png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_small_starts_are_sparse_and_large_ones_have_the_least_l2_norm(tmp_path):
    script = runpy.run_path(str(FOLDER / "sparsity.py"))
    problem, truth = script["data"]()
    least = script["least"](problem)
    assert least[0] == pytest.approx(np.abs(truth).sum())  # the data are enough for the l1 norm
    results = list(script["train"](problem))
    assert {result.status for result in results} == {"target"}
    w = np.array([result.network.end_to_end()[0] for result in results])
    norms = np.abs(w).sum(axis=1) / least[0] - 1, np.linalg.norm(w, axis=1) / least[1] - 1
    for l1, l2 in zip(*(np.split(values, 2) for values in norms), strict=True):
        assert (np.diff(l1) < 0).all()
        assert (np.diff(l2) > -1e-6).all()
        assert l1[-1] < 0.1
        assert abs(l2[0]) < 1e-4
    assert (norms[0][8:] < norms[0][:8]).all()  # the deeper, the sparser

    check_drawing(script, tmp_path / "picture.png", problem, truth, norms)
    steps, path = script["follow"](problem, 3)
    halves = [
        steps[np.argmax(abs(path[:, i]) > abs(truth[i]) / 2)] for i in np.argsort(-abs(truth))
    ]
    assert 0 < halves[0] <= halves[1] < halves[2]  # the largest weight first


def test_depth_completes_a_matrix(monkeypatch, tmp_path):
    """At a smaller size: deeper is better, later, faster, and better than least nuclear norm."""
    monkeypatch.setattr(sys, "argv", ["matrix_completion.py"])
    script = runpy.run_path(str(FOLDER / "matrix_completion.py"))
    made = accel.datasets.make_low_rank((50, 50), 3, 600, seed=0)
    results = list(script["train"](made, 6000, rate=5e-3))
    assert [result.network.depth for result in results] == [2, 3, 4]
    assert max(result.loss for result in results) < 1e-5
    errors = [result.history["recovery_error"][-1] for result in results]
    assert errors[0] > 5 * errors[1] > 10 * errors[2]
    least = accel.minimum_nuclear_norm(made.problem)
    truth = np.linalg.norm(made.truth)
    assert errors[1] < 0.2 * np.linalg.norm(least.W - made.truth) / truth
    assert least.nuclear_norm < np.linalg.norm(made.truth, "nuc")
    low, high = np.array([script["rises"](result, 3) for result in results]).transpose(1, 0, 2)
    assert (np.diff(low[:, 1:], axis=0)[0] > 0).all()  # depth 3 after depth 2
    assert (np.diff(high - low, axis=0) < 0).all()
    check_drawing(script, tmp_path / "picture.png", results, made.truth)


def test_candidates_for_the_factor_of_four(capsys, monkeypatch):
    """On a small problem: a row each, of which some must agree."""
    script = runpy.run_path(str(FOLDER / "factor_of_four.py"))
    made = accel.datasets.make_ill_conditioned(300, 4, condition=1e4)
    data = accel.standardize(made)
    rows = script["table"](data.X, data.y, steps=20_000)
    assert len(rows) == len(list(script["candidates"]())) + 7
    by_name = {(name, depth): distances for name, depth, distances, _ in rows}
    plain = by_name["plain descent", 1]
    assert plain == sorted(plain, reverse=True)
    assert by_name["loss with 1/p, four times the rate", 1] == pytest.approx(plain, rel=1e-9)
    assert by_name["float32", 1] == pytest.approx(plain, rel=1e-2)
    fast = by_name["momentum 0.9", 1]
    for other in ("Nesterov, momentum 0.9", "momentum 0.7"):  # one effective rate
        assert by_name[other, 1][-1] == pytest.approx(fast[-1], rel=0.1)
    assert fast[-1] < plain[-1]
    assert by_name["cosine decay from the plain rate", 1][-1] > plain[-1]

    monkeypatch.setattr(accel.datasets, "load_gas_ethanol", lambda: made)
    script["main"].__globals__["table"] = lambda X, y: rows
    script["main"]()
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 1 + len(rows)
    assert len({len(line) for line in told}) == 1


NOTEBOOK = FOLDER / "notebook.ipynb"
CODE_CELLS = 8
KERNEL = """if True:
    import os
    with open("kernel", "w") as file:
        file.write(str(os.getpid()))
    from ipykernel.kernelapp import launch_new_instance
    launch_new_instance()
"""


def cells(path):
    """The cells with code of a notebook."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_kept_without_outputs():
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells(NOTEBOOK)] == [
        ([], None)
    ] * CODE_CELLS


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(find_spec, ("nbclient", "ipykernel", "rich", "pandas", "matplotlib"))),
    reason="needs nbclient, ipykernel and the extra cli",
)
def test_the_notebook(tmp_path):
    """Headless, in a kernel of this interpreter, of which nothing is left behind."""
    spec = tmp_path / "kernels" / "here" / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [sys.executable, "-c", KERNEL, "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "here", "language": "python"}))
    copy = Path(shutil.copy(NOTEBOOK, tmp_path))
    python(
        "-c", "from nbclient.cli import main; main()", "--inplace", "--kernel_name=here",
        "--timeout=540", copy, limit=600, HOME=str(tmp_path), IPYTHONDIR=str(tmp_path),
        JUPYTER_PATH=str(tmp_path), MPLBACKEND=None,
    )  # fmt: skip
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "kernel").read_text()), 0)

    shown = [
        [output["data"] for output in cell["outputs"] if "data" in output] for cell in cells(copy)
    ]
    texts = [["".join(data.get("text/html", [])) for data in outputs] for outputs in shown]
    assert len(shown) == CODE_CELLS
    for (html,), fact in zip(texts[:2], (">(442,)<", "the proven distance"), strict=True):
        assert fact in html
    (trained, result), (swept, sweep) = texts[2], texts[4]
    for line, steps in ((trained, 1_000_000), (swept, 2000)):
        assert re.fullmatch(rf"training: {steps} steps, loss 0\.60811\d, [\d.:]+( s)?", line)
    assert ">gradient norm</th>" in result
    assert sweep.count("<td>gd</td>") == 21
    assert texts[6][0].count("<tr>") > 5  # the rates that did not diverge at once
    for place in (3, 5, 7):
        assert "image/png" in shown[place][-1]
