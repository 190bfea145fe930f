"""Check that a tag can be released, and print its notes: ``release.py TAG``.

The tag is "v" and the version; pyproject.toml, CITATION.cff and the newest section of CHANGELOG.md
have that version, the last two its date. The notes are that section without its heading.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def newest(changelog):
    """Version, date and text of the first section of a changelog; Nones without one."""
    heading = r"^## (\d\S*) \((\d{4}-\d\d-\d\d)\)$"
    parts = re.split(heading, changelog, maxsplit=1, flags=re.MULTILINE)
    if len(parts) == 1 or re.search("^## ", parts[0], re.MULTILINE):
        return None, None, None
    _, version, date, rest = parts
    return version, date, re.split("^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].strip()


def cited(citation, key):
    """The value of one of CITATION.cff's own keys, which needs no reader of YAML."""
    found = re.findall(rf"^{key}: (\S+)$", citation, re.MULTILINE)
    return found[0] if len(found) == 1 else None


def main():
    """Exit with a list of complaints, or print the notes."""
    (tag,) = sys.argv[1:]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    version, date, notes = newest((ROOT / "CHANGELOG.md").read_text())
    expected = {
        "the tag": (tag, f"v{project['version']}"),
        "CHANGELOG.md's newest section": (version, project["version"]),
        "CITATION.cff's version": (cited(citation, "version"), project["version"]),
        "CITATION.cff's date-released": (cited(citation, "date-released"), date),
    }
    complaints = [
        f"{what} is {found}, not {right}"
        for what, (found, right) in expected.items()
        if found != right
    ]
    if not notes:
        complaints.append("CHANGELOG.md's newest section is empty")
    if complaints:
        sys.exit("\n".join(complaints))
    print(notes)


main()
