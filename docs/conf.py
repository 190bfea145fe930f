"""Sphinx's settings: ``python -m sphinx -W docs build/site`` makes the site.

It needs the extra ``docs``, and runs every script of the gallery.
"""

import importlib
import importlib.metadata
import inspect
import os
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_extensions")]
from numpydoc.xref import DEFAULT_LINKS  # noqa: E402
from public_names import public_names  # noqa: E402

project = "implicit-accel"
author = "implicit-accel developers"
copyright = f"2026, {author}"
metadata = importlib.metadata.metadata("implicit-accel")
version = release = metadata["Version"]
urls = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL") or ())
SOURCE = urls.get("Source", "")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.linkcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "live_page",
    "commands",
    "public_names",
]
templates_path = ["_templates"]

myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# What is not installed is left out of signatures; PyTorch is large, and no other page needs it.
autodoc_mock_imports = [name for name in ("torch",) if find_spec(name) is None]
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
# Our own names only: those of Python and NumPy need their sites' lists, and with them a network.
numpydoc_xref_aliases = {name: name for name in DEFAULT_LINKS} | {
    name: full if name != full else f".{full}" for name, full in public_names().items()
}
numpydoc_xref_ignore = "all"
# What scikit-learn adds to every estimator, in its own words.
autodoc_default_options = {
    "exclude-members": "get_metadata_routing,set_fit_request,set_predict_request,set_score_request"
}

html_theme = "pydata_sphinx_theme"
html_title = f"implicit-accel {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
# Pages that have no others below them.
ALONE = ("start", "live", "gpu", "numerics", "distributed", "changes", "contributing")
html_sidebars = {page: [] for page in ALONE}
html_theme_options = {
    "logo": {"text": "implicit-accel"},
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py$",
    "within_subsection_order": "FileNameSortKey",
    "plot_gallery": "True",
    "abort_on_example_error": True,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 1,
    "write_computation_times": False,
    "parallel": int(os.environ.get("ACCEL_DOCS_JOBS", "1")),
    "doc_module": ("accel",),
    "reference_url": {"accel": None},
    "backreferences_dir": "gallery/backreferences",
    "image_scrapers": ("legible.scrape",),
    "reset_modules": ("matplotlib", "quiet.quiet"),
}


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Return the address of a name's source in the repository."""
    thing = importlib.import_module(info["module"])
    for part in info["fullname"].split("."):
        thing = getattr(thing, part, None)
    thing = inspect.unwrap(getattr(thing, "fget", None) or thing)
    try:
        path = Path(inspect.getsourcefile(thing)).resolve().relative_to(HERE.parent)
        lines, first = inspect.getsourcelines(thing)
    except (OSError, TypeError, ValueError):  # a constant, or what a base class of others has
        return None
    return f"{SOURCE}/blob/v{release}/{path.as_posix()}#L{first}-L{first + len(lines) - 1}"
