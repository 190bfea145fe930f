"""Values that a text names: ``name``, or ``name(1, other=2)``."""

import ast
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from accel._support import validation

__all__ = ["made", "name_in"]

_CALL = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(\(.*\))?\s*", re.DOTALL)


def _split(option: str, text: object, example: str) -> tuple[str, str]:
    match = _CALL.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        plain = example.partition("(")[0]
        raise ValueError(
            f"{option} must hold names, as {plain} or {example}, got {validation.shown(text)}"
        )
    return match[1], match[2] or "()"


def name_in(option: str, text: object, example: str) -> str:
    """Return the name without its constants."""
    return _split(option, text, example)[0]


def made(option: str, text: object, kinds: Mapping[str, type], example: str) -> Any:
    """Make the value that a text names, of one of these dataclasses.

    Raises
    ------
    TypeError, ValueError
        If there is no such name, or its constants are wrong; the message begins with ``option``.
    """
    name, constants = _split(option, text, example)
    if name not in kinds:
        validation.unknown(option, name, list(kinds))
    kind = kinds[name]
    try:
        call = ast.parse(f"f{constants}", mode="eval").body
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "f":
            raise ValueError
        given = [ast.literal_eval(value) for value in call.args]
        named = {str(part.arg): ast.literal_eval(part.value) for part in call.keywords}
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(
            f"{option} must hold names with numbers in parentheses, as {example}, "
            f"got {validation.shown(text)}"
        ) from None
    try:
        return kind(*given, **named)
    except TypeError as error:
        if not re.search(r"__init__\(\)", str(error)):
            raise
        taken = ", ".join(part.name for part in fields(kind) if part.init) or "nothing"
        raise TypeError(f"{name} takes {taken}, got {validation.shown(text)}") from None
