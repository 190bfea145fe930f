"""Numbers as reports show them: times for people, finite values for JSON."""

import math

__all__ = ["duration", "finite"]


def duration(seconds: float) -> str:
    """A time to three significant digits, in the unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def finite(value: float) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None
