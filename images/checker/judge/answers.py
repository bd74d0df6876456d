"""Read answers fairly: records and lists in the envelopes that frameworks put them in, and values that mean the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from judge.asked import Entity
from judge.client import Exchange

_LISTS = ("items", "data", "results", "records", "rows", "content")
"""Keys under which frameworks put the entries of a list; the entity's own name in the plural comes before them."""
_PRECISION = 1e-6
"""Part of a number by which it may differ, since single precision is a common way to store one."""
_DATE = re.compile(r"^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)?.*)?$")

Record = Mapping[str, Any]


def record(body: Any, entity: Entity) -> Record | None:
    """Return the record in an answer: the body itself, or the one object in it that looks like one."""
    if not isinstance(body, Mapping):
        return None
    known = {entity.identifier, *(one.name for one in entity.fields)}
    if known & body.keys():
        return body
    inner = [one for one in body.values() if isinstance(one, Mapping) and known & one.keys()]
    return inner[0] if len(inner) == 1 else None


def records(body: Any, names: Sequence[str]) -> list[Record] | None:
    """Return the entries of a list: the body itself, the list under a usual key, or the only list in it.

    Args:
        body: what came.
        names: names of the entity, under which its entries may stand.

    Returns:
        entries that are objects; None if there is no list.
    """
    if isinstance(body, Mapping):
        by_name = {key.lower(): one for key, one in body.items() if isinstance(one, (list, Mapping))}
        lists = [one for one in body.values() if isinstance(one, list)]
        chosen = next((by_name[key] for key in (*names, *_LISTS) if key in by_name), None)
        if isinstance(chosen, Mapping):
            return records(chosen, names)
        body = chosen if chosen is not None else (lists[0] if len(lists) == 1 else None)
    return [one for one in body if isinstance(one, Mapping)] if isinstance(body, list) else None


def identifier(found: Record | None, entity: Entity) -> Any:
    """Return a record's identifier: the declared field, or what its name says; None if there is none."""
    if found is None:
        return None
    name = entity.name.lower()
    keys = (entity.identifier, "id", f"{name}_id", f"{name}Id", f"{name}id", "_id", "uuid", "pk")
    for key in keys:
        value = found.get(key)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return value
    return None


def located(answer: Exchange) -> str | None:
    """Return the last part of the path in an answer's Location, as an identifier."""
    location = answer.headers.get("location")
    return urlsplit(location).path.rstrip("/").rpartition("/")[2] or None if location else None


def same(sent: Any, got: Any) -> bool:
    """Tell whether a value that came back means what was sent.

    Blanks around a text and its case do not count, nor how a number or a date is written; a truth value may be 0 or 1.
    """
    match sent, got:
        case (bool(), int()) | (int(), bool()):
            return bool(sent == got)
        case (int() | float(), int() | float() | str()):
            return _same_number(float(sent), got)
        case (str(), str()):
            return _plain(sent) == _plain(got)
        case (list(), list()):
            return len(sent) == len(got) and all(same(one, other) for one, other in zip(sent, got, strict=True))
        case (dict(), dict()):
            return sent.keys() == got.keys() and all(same(sent[key], got[key]) for key in sent)
        case _:
            return bool(sent == got)


def equal_ids(one: Any, other: Any) -> bool:
    """Tell whether two identifiers are the same, one of them perhaps a text."""
    return one is not None and str(one) == str(other)


def _same_number(sent: float, got: float | str) -> bool:
    try:
        return abs(float(got) - sent) <= _PRECISION * max(1.0, abs(sent))
    except ValueError:
        return False


def _plain(text: str) -> str:
    text = text.strip().casefold()
    if found := _DATE.match(text.upper()):
        day, moment = found.groups()
        return f"{day} {moment or '00:00:00'}"
    return text
