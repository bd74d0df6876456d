"""A request's JSON object, read with the places of its members, so that one can be replaced and all others keep their bytes.

Reading and writing JSON again would change a framework's own text: `1.0e2`, long decimals, escapes, doubled names. Only
what is replaced is written anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, kw_only=True)
class JsonObject:
    """An object, and where the values of its members stand in its text."""

    text: str
    values: Mapping[str, Any]
    places: tuple[tuple[str, int, int], ...]
    """Name, start and end of each member's value, in order; a name may come twice, and the last one counts."""
    end: int
    """Where its closing brace stands."""


def read_object(data: bytes) -> JsonObject | None:
    """Return the object in `data`, or None if it is anything else, is broken, or is nested too deeply to read."""
    try:
        text = data.decode("utf-8-sig", "surrogatepass")
        return _read(text)
    except (ValueError, RecursionError):
        return None


def replace_members(body: JsonObject, changes: Mapping[str, Any]) -> bytes:
    """Return the object's text with these members replaced, or added at its end."""
    pieces: list[str] = []
    done = 0
    for name, start, end in body.places:
        if name in changes:
            pieces += [body.text[done:start], _write(changes[name])]
            done = end
    pieces.append(body.text[done : body.end])
    names = {name for name, _, _ in body.places}
    added = [f"{_write(name)}:{_write(value)}" for name, value in changes.items() if name not in names]
    pieces.append(("," if body.places and added else "") + ",".join(added))
    pieces.append(body.text[body.end :])
    return "".join(pieces).encode("utf-8", "surrogatepass")


def encode(content: object) -> bytes:
    """Write JSON as UTF-8, without spaces, keys in the order given."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def parse_object(data: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object in `data` without its text, or None if it is anything else."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _read(text: str) -> JsonObject:
    """Read an object member by member. Raises ValueError if the text is no object, or more than one value."""
    at = _after(text, _skip(text, 0), "{")
    values: dict[str, Any] = {}
    places: list[tuple[str, int, int]] = []
    while text[at : at + 1] != "}":
        if places:
            at = _after(text, at, ",")
        name, end = _DECODER.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError(f"no name stands at {at}")  # noqa: TRY004  as every other thing that is no JSON
        start = _after(text, _skip(text, end), ":")
        values[name], end = _DECODER.raw_decode(text, start)
        places.append((name, start, end))
        at = _skip(text, end)
    if _skip(text, at + 1) != len(text):
        raise ValueError("there is more than one value")
    return JsonObject(text=text, values=values, places=tuple(places), end=at)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found is not None else at


def _after(text: str, at: int, sign: str) -> int:
    """Return where the next thing begins after this sign. Raises ValueError if another stands there."""
    if text[at : at + 1] != sign:
        raise ValueError(f"there is no {sign} at {at}")
    return _skip(text, at + 1)


def _write(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
