"""The files of the page, from wherever the package lies, and one file that holds them all."""

import base64
import json
import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

__all__ = ["INDEX", "TYPES", "content_type", "page_files", "single_file"]

INDEX = "index.html"
#: By suffix. Not from the module ``mimetypes``, which on Windows believes the registry: a browser
#: runs no module of the type text/plain.
TYPES = {
    "": "text/plain; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
_MODULES = re.compile(r'(\bfrom ")(\.{1,2}/[^"]+)(")')
_STYLES = re.compile(r'<link rel="stylesheet" href="([^"]+)">')
_SCRIPT = re.compile(r'<script type="module" src="([^"]+)"></script>')


def content_type(name: str) -> str:
    """Return the MIME type of a file of the page."""
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return TYPES[dot + suffix if stem else ""]


def _walk(folder: Traversable, before: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry, f"{before}{entry.name}/")
        else:
            yield before + entry.name, entry.read_bytes()


def page_files() -> dict[str, bytes]:
    """Return the bytes of all files of the page by their path from its folder, such as "main.js".

    They may lie in an archive that the package is imported from.
    """
    return dict(_walk(resources.files("accel._live").joinpath("page"), ""))


def single_file(files: dict[str, bytes]) -> bytes:
    """Put the page into one file of HTML, which a browser opens without a server.

    A browser loads no modules from files. Here they stand in the page itself, as addresses of the
    kind ``data:`` in an import map, under names of their own; the styles stand in it as they are.

    Parameters
    ----------
    files : dict
        As ``page_files`` returns them.
    """

    def style(match: re.Match[str]) -> str:
        return f"<style>\n{files[match[1]].decode()}</style>"

    def module(name: str) -> str:
        text = files[name].decode()
        named = _MODULES.sub(lambda match: f"{match[1]}live/{match[2][2:]}{match[3]}", text)
        return f"data:text/javascript;base64,{base64.b64encode(named.encode()).decode()}"

    def script(match: re.Match[str]) -> str:
        names = [name for name in files if name.endswith(".js")]
        imports = {f"live/{name}": module(name) for name in names}
        begin = f'<script type="module">import "live/{match[1]}";</script>'
        text = json.dumps({"imports": imports}, indent=1)
        return f'<script type="importmap">\n{text}\n</script>\n  {begin}'

    page = _STYLES.sub(style, files[INDEX].decode())
    return _SCRIPT.sub(script, page).encode()
