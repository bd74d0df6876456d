"""Sizes and durations as people write them: `512MiB`, `10m`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_SIZES = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base ** (power + 1)
    for power, letter in enumerate("KMGT")
    for suffix, base in (("iB", 1024), ("B", 1000), ("", 1024))
}
_DURATIONS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_bytes(value: object) -> int:
    """Turn `512MiB`, `1.5GB`, `64k` or a whole number into bytes.

    Raises:
        ValueError: for anything else, naming the units that exist.
    """
    match = _NUMBER.fullmatch(str(value)) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    unit = match[2][:1].upper() + match[2][1:] if match else ""
    if match is None or unit not in _SIZES:
        raise ValueError(f"{value!r} is not a size; write a number with B, KiB, MiB, GiB or TiB, like 512MiB")
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
        raise ValueError(f"{value!r} is not a duration; write a number with ms, s, m, h or d, like 10m")
    return float(match[1]) * _DURATIONS[match[2]]


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
"""A size in bytes; in YAML also with a unit."""

Seconds = Annotated[float, BeforeValidator(parse_seconds)]
"""A duration in seconds; in YAML also with a unit."""
