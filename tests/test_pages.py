"""What README and docs print runs: their Python as it stands, and the commands that they name."""

import json
import os
import re
import shlex
import tomllib
from importlib.util import find_spec

import pytest

from .children import ROOT, python

FOUND = (ROOT / "docs").rglob("*.md")
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in FOUND)]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = {page: BLOCK.findall((ROOT / page).read_text()) for page in PAGES}

#: In a page's Python, what is only true elsewhere: the page says so, or gives the choice.
INSTEAD = {
    'Client("tcp://scheduler:8786")': "Client(processes=False)",  # "or Client()"
    "/data/": "",
    "resamples=200": "resamples=3",  # of four fits each
}
#: A page's Python makes so many steps at most, but for README's.
STEPS = 300

#: Runs blocks one after the other in a namespace, from the file that is named.
RUNNER = """
import json, sys
import numpy as np
import accel

def capped(run):
    def short(*arguments, **keywords):
        arguments = [min(a, STEPS) if type(a) is int else a for a in arguments]
        for name in "steps", "record_every":
            if name in keywords:
                keywords[name] = min(keywords[name], STEPS)
        return run(*arguments, **keywords)
    return short

with open(sys.argv[1]) as file:
    blocks, STEPS = json.load(file)
if STEPS:
    for name in "train", "sweep", "grid_search":
        setattr(accel, name, capped(getattr(accel, name)))
    rng = np.random.default_rng(0)
    np.save("X.npy", rng.standard_normal((40, 3)))
    np.save("y.npy", rng.standard_normal(40))
if __name__ == "__main__":
    for i, block in enumerate(blocks):
        exec(compile(block, f"block {i}", "exec"), globals())
"""


def extra_of(block):
    """What a block needs that may not be installed; None where nothing is missing."""
    needs = {"accel.sklearn": "sklearn", "accel.torch": "torch", "torch": "torch",
             "accel.distributed": "distributed", "accel.theory": "scipy",
             "scipy.integrate": "scipy", "scipy": "scipy"}  # fmt: skip
    modules = re.findall(r"^ *(?:from|import) ([\w.]+)", block, re.MULTILINE)
    names = [needs[each] for each in modules if each in needs]
    names += ["pandas"] * ("to_pandas" in block) + ["matplotlib"] * (".plot(" in block)
    names += ["sklearn"] * ("load_diabetes" in block)
    return next((name for name in names if not find_spec(name)), None)


def run(folder, blocks, steps=None):
    """What Python prints for the blocks, by the NumPy kernels, since nothing is compiled for it."""

    for old, new in INSTEAD.items() if steps else ():
        blocks = [block.replace(old, new) for block in blocks]
    (folder / "blocks.json").write_text(json.dumps([blocks, steps]))
    (folder / "run.py").write_text(RUNNER)
    told = {"NUMBA_DISABLE_JIT": "1", "MPLBACKEND": "agg", "HOME": str(folder)}
    told |= {"ACCEL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    ignore = ("-W", "ignore:NUMBA_DISABLE_JIT")
    return python(*ignore, "run.py", "blocks.json", cwd=folder, limit=300, **told).stdout


def test_the_readmes_ten_lines_run_as_printed(tmp_path):
    (block,) = BLOCKS["README.md"]
    if missing := extra_of(block):
        pytest.skip(f"needs {missing}")
    first, best = run(tmp_path, [block]).splitlines()
    status, distance, _, gap = first.split()
    assert status == "completed"
    assert float(distance) > float(gap) > 0
    assert best.startswith("GradientDescent(")
    assert float(distance) > float(best.split()[-1]) > 0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_sweep_runs_as_printed(tmp_path):
    block = BLOCKS["docs/guide/sweeps.md"][0]
    if missing := extra_of(block):
        pytest.skip(f"needs {missing}")
    table = [line for line in run(tmp_path, [block]).splitlines() if line.split()[1:2] == ["gd"]]
    assert len(table) >= 17


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_repositorys_pages_lead_to_files(page):
    """Those of the site are followed when it is built."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text())
    assert links or page != "README.md"
    assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES[1:] if BLOCKS[page]])
def test_a_pages_python_runs(page, tmp_path):
    """With fewer steps than it says; the numbers beside it are those of whole runs."""
    missing = next(filter(None, map(extra_of, BLOCKS[page])), None)
    if missing:
        pytest.skip(f"needs {missing}")
    run(tmp_path, BLOCKS[page], STEPS)


def commands():
    """Every ``accel ...`` that a page names, in a line of code or within one of text."""
    for page in [*PAGES, "CONTRIBUTING.md"]:
        text = BLOCK.sub("", (ROOT / page).read_text())
        lines = re.findall(r"^    (.*)$", text, re.MULTILINE)
        spans = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", text)
        for code in [*lines, *spans]:
            for part in re.split(r"&&|#|;|\|", code):
                command, *rest = part.split() or [""]
                if os.path.basename(command) == "accel" and rest:
                    yield page, shlex.split(" ".join(rest).replace("'", ""))


def test_commands_and_their_options_exist():
    typer = pytest.importorskip("typer")
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    from accel.cli import app

    group = typer.main.get_command(app.app)
    found = list(commands())
    assert {words[0] for _, words in found} >= {"compare", "info", "reproduce", "train"}
    own = {one for each in group.params for one in each.opts}
    for page, (name, *words) in found:
        if name in own:
            continue
        assert name in group.commands, f"{page}: accel {name}"
        options = {"--help"} | {one for each in group.commands[name].params for one in each.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert used <= options, f"{page}: accel {name} {' '.join(words)}"


def test_no_line_of_text_is_a_comment():
    """MyST leaves out what begins with %, so that the rest of a sentence would be missing."""
    for page in PAGES:
        text = re.sub(
            r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE
        )
        assert not re.findall(r"^[> ]*%.*", text, re.MULTILINE), page


def test_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for page in [*PAGES, "CONTRIBUTING.md"]:
        named = re.findall(r"(?:\.|implicit-accel)\[([\w,]+)\]", (ROOT / page).read_text())
        used = {name for names in named for name in names.split(",")}
        assert used <= {*extras["optional-dependencies"]}, page
