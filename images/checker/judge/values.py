"""Values to send: those that an application has to take, and those that it has to refuse."""

from __future__ import annotations

import datetime as dt
import random
import re
import string
from typing import Any

from judge.asked import Entity, Field

_WRONG: dict[str, Any] = {
    "text": {"not": "a text"},
    "integer": "not a number",
    "number": "not a number",
    "boolean": "not a truth value",
    "date": "not a date",
    "datetime": "not a date",
    "email": "not-an-address",
    "list": "not a list",
    "object": "not an object",
}
"""What is sent as a value of the wrong type where the check names none."""
_PLAIN: dict[str, Any] = {
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "date": "2024-01-15",
    "datetime": "2024-01-15T10:30:00",
    "list": ["one"],
    "object": {"key": "one"},
}
"""The first value of a type of which the check gives no example."""


_MOST_TRIES = 100
"""To make a value that has not been given: a form of few digits has few values."""


class Values:
    """Gives values for one entity: examples in their order, then values made from them, the same for the same seed."""

    def __init__(self, entity: Entity, seed: str) -> None:
        self._entity = entity
        # Not for secrets: the same seed has to give the same values.
        self._random = random.Random(f"{seed}/{entity.name}")  # noqa: S311
        self._used: dict[str, int] = {}
        self._given: dict[str, set[str]] = {}

    def valid(self) -> dict[str, Any]:
        """Return a body with every field; values of unique fields have not been used before."""
        return {one.name: self._next(one) for one in self._entity.fields}

    def spare(self) -> dict[str, Any]:
        """Return a valid body that uses up no example: its unique values are made."""
        return {one.name: self.made(one) if one.unique else _first(one, self._random) for one in self._entity.fields}

    def changed(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return a valid body in which every field that can have another value has one."""
        return {one.name: self._other(one, before.get(one.name)) for one in self._entity.fields}

    def wrong(self, one: Field) -> tuple[Any, ...]:
        """Return values of a field that have to be refused."""
        return one.invalid or ((_WRONG[one.type],) if one.type in _WRONG else ())

    def made(self, one: Field) -> Any:
        """Make a value like a field's first example that has not been given and is hardly used by anything."""
        given = self._given.setdefault(one.name, {str(value) for value in one.examples})
        value = self._like(one)
        for _ in range(_MOST_TRIES):
            if str(value) not in given:
                break
            value = self._like(one)
        given.add(str(value))
        return value

    def _like(self, one: Field) -> Any:
        first = _first(one, self._random)
        match first:
            case bool() | None | list() | dict():
                return first
            case int():
                return first + self._random.randint(1, 9) if not one.unique else self._random.randint(10**6, 10**9)
            case float():
                return first + self._random.randint(1, 9)
            case str() if one.type == "email" or "@" in first:
                local, _, domain = first.partition("@")
                return f"{local}.{self._letters()}@{domain}"
            case str() if one.type in ("date", "datetime"):
                return _later(first, self._random.randint(1, 300))
            case _:
                return self._text(str(first))

    def _next(self, one: Field) -> Any:
        number = self._used.get(one.name, 0)
        self._used[one.name] = number + 1
        if number < len(one.examples):
            return one.examples[number]
        if one.unique:
            return self.made(one)
        return one.examples[number % len(one.examples)] if one.examples else _first(one, self._random)

    def _other(self, one: Field, before: Any) -> Any:
        if one.unique:
            return self.made(one)
        rest = [value for value in one.examples if value != before]
        return rest[0] if rest else self._moved(one, before)

    def _moved(self, one: Field, before: Any) -> Any:
        match before:
            case bool():
                return not before
            case int() | float():
                return before + 1
            case list():
                return [*before, *before]
            case str():
                return _later(before, 1) if one.type in ("date", "datetime") else self.made(one)
            case _:
                return before

    def _text(self, first: str) -> str:
        """Keep the form of a text: digits are replaced by digits; where there are none, a word is added."""
        if re.search(r"\d", first):
            return re.sub(r"\d", lambda _: self._random.choice("123456789"), first)
        return f"{first} {self._letters().capitalize()}"

    def _letters(self) -> str:
        return "".join(self._random.choices(string.ascii_lowercase, k=5))


def _first(one: Field, chance: random.Random) -> Any:
    if one.examples:
        return one.examples[0]
    if one.type in _PLAIN:
        return _PLAIN[one.type]
    word = "".join(chance.choices(string.ascii_lowercase, k=5))
    return f"{word}@example.org" if one.type == "email" else f"{one.name.replace('_', ' ').capitalize()} {word}"


def _later(day: str, days: int) -> str:
    try:
        moved = dt.datetime.fromisoformat(day) + dt.timedelta(days=days)
    except ValueError:
        return day
    return moved.isoformat() if "T" in day else moved.date().isoformat()
