"""Numbers as people read them: three to four significant digits, units that fit."""

import math
from typing import Any

BYTES = ("B", "kB", "MB", "GB", "TB", "PB")


def short(value: Any, digits: int = 4) -> str:
    """Up to `digits` significant digits; thousands with commas; "–" for what is missing or not finite."""
    if value is None or isinstance(value, str):
        return value or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if float(value).is_integer() and size < 1e9:
        return f"{int(value):,}"
    if size >= 1e9 or size < 1e-4:
        return f"{value:.{digits - 1}g}"
    if size >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def like(spread: float, mean: float) -> str:
    """A spread with as many decimals as its mean is shown with."""
    text = short(mean)
    if "e" in text or "e" in short(spread):
        return short(spread, 2)
    decimals = len(text.partition(".")[2])
    return f"{spread:,.{decimals}f}" if round(spread, decimals) else short(spread, 1)


def size(count: float | None) -> str:
    """Bytes in decimal units."""
    if count is None:
        return "–"
    amount, unit = float(count), 0
    while abs(amount) >= 1000 and unit < len(BYTES) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.3g} {BYTES[unit]}" if amount < 1000 else f"{amount:,.0f} {BYTES[unit]}"


def size_like(spread: float, mean: float) -> str:
    """The spread of a size, in the mean's unit and without naming it again."""
    unit = BYTES.index(size(mean).partition(" ")[2])
    return f"{spread / 1000**unit:.2g}"


def duration(seconds: float | None) -> str:
    """Seconds as "0.31 s", "42 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{max(seconds, 0):.3g} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, name, lower, lower_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // lower
            return f"{whole // unit} {name}" + (f" {rest} {lower_name}" if rest else "")
    return f"{whole} s"


def about(seconds: float) -> str:
    """A duration as an estimate: "about 3 minutes"."""
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit * 0.9:
            count = max(1, round(seconds / unit))
            return f"about {count} {name}{'s' if count > 1 else ''}"
    count = max(1, round(seconds))
    return f"about {count} second{'s' if count > 1 else ''}"
