"""What is in ``examples/`` runs as it is; scripts of an extra are run by its own tests."""

import json
import os
import re
import runpy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import accel

from ..children import python

FOLDER = Path(__file__).resolve().parents[2] / "examples"


def test_each_is_run_by_a_test():
    here = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    scripts = [path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".ipynb")]
    assert len(scripts) >= 6
    assert all(f'"{name}"' in here for name in scripts)


def test_the_sweep(tmp_path):
    picture = tmp_path / "picture.png"
    done = python(FOLDER / "sweep.py", picture, PATH="", MPLBACKEND="agg", HOME=str(tmp_path))
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "depth 1", "depth 2", "depth 3"
    ]  # fmt: skip
    assert picture.read_bytes().startswith(b"\x89PNG")


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
