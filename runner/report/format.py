"""Write numbers for people: sizes, durations, counts, prices; what was not measured is a dash, never a nought."""

from __future__ import annotations

DASH = "\N{EN DASH}"
"""Stands for a value that was not measured."""

_SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_COUNT_UNITS = ("", "k", "M", "G", "T")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TENTHS_BELOW = 10.0
"""Durations shorter than this many seconds are shown with a tenth."""


def size(value: float | None) -> str:
    """Write bytes in binary units with three digits, like `1.44 GiB`."""
    if value is None:
        return DASH
    number, unit = _scaled(value, 1024.0, _SIZE_UNITS)
    return f"{value:.0f} B" if unit == "B" else f"{_three_digits(number)} {unit}"


def duration(seconds: float | None) -> str:
    """Write seconds as `4.2 s`, `42 s`, `3m05s`, `2h07m` or `3d04h`."""
    if seconds is None:
        return DASH
    if seconds < _TENTHS_BELOW - 0.05:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02d}h"


def clock(seconds: float) -> str:
    """Write elapsed seconds as `00:42`, `12:05` or `1:02:33`, which keeps its width while it counts."""
    whole = max(int(seconds), 0)
    head = f"{whole // _HOUR}:{whole % _HOUR // _MINUTE:02d}" if whole >= _HOUR else f"{whole // _MINUTE:02d}"
    return f"{head}:{whole % _MINUTE:02d}"


def count(value: float | None) -> str:
    """Write a number with thousands separators, fractions with one digit."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def short_count(value: float | None) -> str:
    """Write a number in about four characters, like `950`, `12.3k` or `4.56M`."""
    if value is None:
        return DASH
    number, unit = _scaled(value, 1000.0, _COUNT_UNITS)
    return count(value) if not unit else f"{_three_digits(number)}{unit}"


def usd(value: float | None) -> str:
    """Write a price in US dollars, with four decimals below one dollar."""
    if value is None:
        return DASH
    return f"${value:,.2f}" if value >= 1 else f"${value:.4f}"


def share(value: float | None) -> str:
    """Write a share of 1 as per cent, like `75 %`; what is not quite all or nothing is not rounded to it."""
    if value is None:
        return DASH
    rounded = round(100 * value)
    whole = rounded if rounded not in {0, 100} or value in {0, 1} else None
    return f"{100 * value:.1f} %" if whole is None else f"{whole} %"


def plural(number: int, noun: str) -> str:
    """Write `1 run`, `2 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _scaled(value: float, base: float, units: tuple[str, ...]) -> tuple[float, str]:
    """Return the number and the largest unit in which it does not round up to the next one."""
    number = float(value)
    for unit in units[:-1]:
        if abs(number) < base - 0.5:
            return number, unit
        number /= base
    return number, units[-1]


def _three_digits(number: float) -> str:
    """Write three significant digits without an exponent."""
    if number >= 99.95:  # noqa: PLR2004  from here on no decimal is among the first three digits
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"  # noqa: PLR2004  as above, for one decimal
