"""Keywords that a function does not have: the error says which one was meant."""

from collections.abc import Callable, Collection, Iterable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from accel._support import validation

__all__ = ["check_keywords", "helpful"]

P = ParamSpec("P")
T = TypeVar("T")

#: What other libraries call something, and what it is called here.
_ELSEWHERE = {
    "lr": ("learning_rate", "learning_rates"),
    "epochs": ("steps",),
}
_MORE = {"epochs": " That is a number of updates: an epoch has n / batch_size of them, rounded up."}


def check_keywords(function: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise TypeError for a keyword that is not among the known ones.

    Parameters
    ----------
    function : str
        What was called, for the message.
    given : iterable of str
    known : collection of str
    """
    for name in given:
        if name in known:
            continue
        meant = next((other for other in _ELSEWHERE.get(name, ()) if other in known), None)
        if meant is None:
            said = validation.suggestion(name, list(known))
        else:
            said = f"; did you mean {meant!r}?{_MORE.get(name, '')}"
        raise TypeError(f"{function}() has no parameter {validation.shown(name)}{said}")


def helpful(function: Callable[P, T]) -> Callable[P, T]:
    """Have a misspelt keyword of a function refused with the name that was meant."""
    known = signature(function).parameters

    @wraps(function)
    def checked(*arguments: P.args, **named: P.kwargs) -> T:
        check_keywords(function.__name__, named, known)
        return function(*arguments, **named)

    return checked
