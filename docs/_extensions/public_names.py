"""Links every public name that text or a docstring sets as code to its page of the reference.

Code such as ``accel.theory.curl``, ``LpProblem`` or ``train(...)`` becomes a link. A bare name is
linked if it means one thing only: one of ``accel`` itself, or a class that one other module has.
"""

import importlib
import re
from collections import Counter
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

REFERENCE = Path(__file__).resolve().parents[1] / "api"
#: Those that have a page there.
MODULES = [
    re.search(r"automodule:: (\S+)", page.read_text(encoding="utf-8"))[1]
    for page in sorted(REFERENCE.glob("*.rst"))
]


@cache
def public_names() -> dict[str, str]:
    """Full names of what is public, by every way of writing them that means one thing only."""
    names, bare = {}, Counter()
    for module in MODULES:
        try:
            public = importlib.import_module(module).__all__
        except ImportError:  # an extra is not installed
            continue
        for name in public:
            if f"{module}.{name}" not in MODULES:
                names[f"{module}.{name}"] = f"{module}.{name}"
                bare[name] += 1
    for full in [*names]:
        module, _, name = full.rpartition(".")
        if module == "accel" or (bare[name] == 1 and name[0].isupper() and not name.isupper()):
            names[name] = full
    return names | {module: module for module in MODULES if module != "accel"}


class Links(SphinxPostTransform):
    """Makes the links, before references are resolved."""

    default_priority = 5

    def run(self, **kwargs: object) -> None:
        """Replace code that is a public name, with or without arguments, by a reference."""
        if self.env.docname == "guide/command_line":  # commands are called as functions are
            return
        for code in list(self.document.findall(nodes.literal)):
            if isinstance(code.parent, addnodes.pending_xref | nodes.reference | nodes.title):
                continue
            called = re.fullmatch(r"([\w.]+)(\(.*\))?", code.astext(), re.DOTALL)
            target = public_names().get(called[1]) if called else None
            if target is None:
                continue
            link = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=target, refexplicit=True,
                refwarn=True, refdoc=self.env.docname,
            )  # fmt: skip
            code.replace_self(link)
            link += code


def setup(app: object) -> dict[str, bool]:
    """Say what this adds to Sphinx."""
    app.add_post_transform(Links)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True, "parallel_write_safe": True}
