"""Sizes and durations as people write them: `512MiB`, `10m`; and whole numbers, which true and false are not."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from runner.spec.base import HintedError

_SIZES = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base ** (power + 1)
    for power, letter in enumerate("KMGT")
    for suffix, base in (("iB", 1024), ("B", 1000), ("", 1024))
}
_DURATIONS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHOWN = 80
"""Characters of a value that a message shows."""
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_bytes(value: object) -> int:
    """Turn `512MiB`, `1.5GB`, `64k` or a whole number into bytes.

    Raises:
        ValueError: for anything else, naming the units that exist.
    """
    match = _NUMBER.fullmatch(str(value)) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    unit = match[2][:1].upper() + match[2][1:] if match else ""
    if match is None or unit not in _SIZES:
        raise ValueError(f"{_shown(value)} is not a size; write a number with B, KiB, MiB, GiB or TiB, like 512MiB")
    return int(float(match[1]) * _SIZES[unit]) if "." in match[1] else int(match[1]) * _SIZES[unit]


def parse_seconds(value: object) -> float:
    """Turn `90`, `1.5h`, `10m` or `250ms` into seconds.

    Raises:
        ValueError: for anything else, naming the units that exist.
    """
    if isinstance(value, float):
        return value
    match = _NUMBER.fullmatch(str(value)) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    if match is None or match[2] not in _DURATIONS:
        raise ValueError(f"{_shown(value)} is not a duration; write a number with ms, s, m, h or d, like 10m")
    return float(match[1]) * _DURATIONS[match[2]]


def _shown(value: object) -> str:
    """Write a value that is no number with a unit: as it stands in the file, or in words if it is no scalar."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"`{str(value).lower()}`"
        case dict() | list():
            return "a mapping" if isinstance(value, dict) else "a list"
        case _:
            return f"`{shorten(str(value))}`"


def shorten(text: str) -> str:
    """Cut a value of the user's for a message, so that it takes one line of a terminal at most."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def show_bytes(value: float) -> str:
    """Return a size with the largest binary unit that keeps it whole: 16777216 is `16MiB`."""
    whole = int(value)
    for unit, size in (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}B"


def show_seconds(value: float) -> str:
    """Return a duration with the largest unit that keeps it whole: 600.0 is `10m`, 0.5 is `500ms`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if value and value % size == 0:
            return f"{int(value // size)}{unit}"
    if value == int(value):
        return f"{int(value)}s"
    return f"{int(value * 1000)}ms" if value * 1000 == int(value * 1000) else f"{value}s"


def parse_number(value: object) -> object:
    """Refuse true and false where a number is asked for; everything else is left to the field.

    Raises:
        ValueError: for a truth value, which Python counts among the numbers.
    """
    if isinstance(value, bool):
        raise HintedError(f"{str(value).lower()} is not a number", "write a number, like 1")
    return value


_SIZE_TEXT = Annotated[str, Field(pattern=r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtT](i?B)?|[bB])?\s*$")]
_DURATION_TEXT = Annotated[str, Field(pattern=r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?\s*$")]

Bytes = Annotated[int, BeforeValidator(parse_bytes, json_schema_input_type=int | _SIZE_TEXT)]
"""A size in bytes; in YAML also with a unit."""

Seconds = Annotated[float, BeforeValidator(parse_seconds, json_schema_input_type=float | _DURATION_TEXT)]
"""A duration in seconds; in YAML also with a unit."""

Whole = Annotated[int, BeforeValidator(parse_number, json_schema_input_type=int)]
"""A whole number."""

Number = Annotated[float, BeforeValidator(parse_number, json_schema_input_type=float)]
"""A number."""
