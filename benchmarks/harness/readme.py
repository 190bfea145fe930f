"""``python -m benchmarks readme``: the figures of README and docs, from the committed results.

What lies between two markers is generated; ``--check`` exits with 1 if it is not current.
"""

import argparse
import sys

from benchmarks import RESULTS, ROOT
from benchmarks.harness import records, registry

_XEON = "intel-xeon-processor-family-6-model-207-2cpu-2026-11-{}.json".format
_EPYC = "amd-epyc-family-26-model-2-2cpu-2026-11-25-{}.json".format
_PERFORMANCE = ROOT / "docs" / "performance"

#: What is quoted between the markers of each name, by page: files in benchmarks/results/.
SOURCES = {
    ROOT / "README.md": {"brief": (_XEON("29-targets"),)},
    ROOT / "docs" / "gpu.md": {"gpu": ("nvidia-h200-2026-11-28.json",)},
    _PERFORMANCE / "steps.md": {"benchmarks": (_XEON("29-targets"), _XEON("29-convergence"))},
    _PERFORMANCE / "square.md": {"matrix": (_XEON("29-matrix"),)},
    _PERFORMANCE / "problems.md": {
        "completion": (_XEON("29-completion"),),
        "losses": (_XEON("29-losses"),),
        "methods": (_XEON("29-methods"),),
    },
    _PERFORMANCE / "recording.md": {"recording": (_XEON("29-recording"),)},
    _PERFORMANCE / "estimators.md": {"estimators": (_XEON("29-estimators"),)},
    _PERFORMANCE / "startup.md": {"startup": (_XEON("30-startup"),)},
    _PERFORMANCE / "scaling.md": {"step": (_EPYC("step"),), "scaling": (_EPYC("scaling"),)},
    ROOT / "docs" / "guide" / "minibatches.md": {"minibatches": (_XEON("29-minibatches"),)},
    ROOT / "docs" / "distributed.md": {
        "measured": ("distributed-amd-epyc-family-26-model-2-2cpu-2026-11-25.json",),
    },
}


def markers(name: str) -> tuple[str, str]:
    """Between which lines a section lies."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def section(sources: tuple[str, ...], brief: bool = False) -> str:
    """The text that these results give; of a few cases only if it is to be ``brief``."""
    parts = []
    option, text = ("--brief ", registry.brief) if brief else ("", registry.summary)
    for source in sources:
        command = f"python -m benchmarks table {option}benchmarks/results/{source}"
        parts += [text(records.read(RESULTS / source)), f"`{command}` prints this."]
    return "\n\n".join(parts)


def renewed(text: str, sources: dict[str, tuple[str, ...]]) -> str:
    """A page's text with current sections.

    Raises
    ------
    ValueError
        If the markers are not there, once each and in order.
    """
    for name, files in sources.items():
        begin, end = markers(name)
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise ValueError(f"the markers {begin} and {end} must be there, once each and in order")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{section(files, name == 'brief')}\n{end}{rest.split(end)[1]}"
    return text


def main(arguments: list[str]) -> int:
    """Exit code 1 if a page is not current and only checked, 2 if it cannot be renewed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    code = 0
    for path, sources in SOURCES.items():
        try:
            text = path.read_text(encoding="utf-8")
            current = renewed(text, sources)
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 2
        if current == text:
            continue
        if options.check:
            print(f"{path} is not current: run `python -m benchmarks readme`", file=sys.stderr)
            code = 1
        else:
            path.write_text(current, encoding="utf-8")
    return code
