"""Find where an entity's records are: declared, by the application's own description, or by how paths are named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from judge.openapi import Route, required

PREFIXES = ("", "/api", "/api/v1", "/v1")
"""Before the entity's name, in the order in which they are tried."""
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PARAMETER = re.compile(r"^(?:\{[^}]*\}|<[^>]*>|:\w+)$")
_SIBILANT = ("s", "x", "z", "ch", "sh")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where records are."""

    collection: str
    item: str | None = None
    """Path of one record with `{id}` for its identifier; None if nobody has said."""
    rule: str
    """How it was found."""
    item_methods: frozenset[str] | None = None
    """What its description says may be done with one record; None if there is none."""
    asks_for: tuple[tuple[str, object], ...] = ()
    """Fields that its description requires for a new record, each with a value that fits."""


def plural(word: str) -> str:
    """Return the English plural of a word by its regular rules."""
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(_SIBILANT) else f"{word}s"


def names(entity: str) -> tuple[str, ...]:
    """Return an entity's name as paths have it: in the plural, then in the singular, in each way of joining words."""
    words = [word.lower() for word in re.split(r"[_\-\s]+", _CAPITAL.sub("_", entity)) if word]
    many = [*words[:-1], plural(words[-1])] if words else []
    return tuple(dict.fromkeys(joint.join(part) for part in (many, words) for joint in ("-", "_", "")))


def candidates(entity: str) -> tuple[str, ...]:
    """List the paths that an entity may have where nobody says which."""
    return tuple(f"{prefix}/{name}" for name in names(entity) for prefix in PREFIXES)


def described(entity: str, routes: Sequence[Route], declared: str | None = None) -> Place | None:
    """Find an entity among described routes: the shortest path that ends with its name, those that create first.

    Args:
        entity: its name.
        routes: what the application says of itself.
        declared: path that the check names; then only this one, with or without a slash at its end.

    Returns:
        where its records are; None if no route is named like it.
    """
    wanted = {_letters(name) for name in names(entity)}
    found = [
        route
        for route in routes
        if (
            _bare(route.path) == _bare(declared)
            if declared
            else _letters(route.path.rstrip("/").rpartition("/")[2]) in wanted and "{" not in route.path
        )
        and route.methods & {"POST", "GET"}
    ]
    if not found:
        return None
    best = min(found, key=lambda one: ("POST" not in one.methods, "GET" not in one.methods, len(one.path), one.path))
    item = _item(best.path, routes)
    return Place(
        collection=best.path,
        item=None if item is None else f"{_bare(best.path)}/{{id}}{'/' if item.path.endswith('/') else ''}",
        item_methods=None if item is None else item.methods,
        rule="the path that the check names" if declared else "the application's OpenAPI description",
        asks_for=tuple(required(best.created_from).items()),
    )


def _item(collection: str, routes: Sequence[Route]) -> Route | None:
    below = [
        route
        for route in routes
        if _bare(route.path).rpartition("/")[0] == _bare(collection)
        and _PARAMETER.match(_bare(route.path).rpartition("/")[2])
    ]
    if not below:
        return None
    first = min(below, key=lambda one: (-len(one.methods), one.path))
    # The same path is described more than once where its parameter has several names.
    methods = frozenset().union(*(route.methods for route in below))
    return Route(path=first.path, methods=methods, created_from={})


def _bare(path: str | None) -> str:
    return (path or "").rstrip("/")


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
