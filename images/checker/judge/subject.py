"""One entity under judgement: what can be done with its records, and which of them the check made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from judge.answers import Record, equal_ids, identifier, located, record, records, same
from judge.asked import Entity
from judge.client import Exchange
from judge.expected import plain_fields
from judge.report import Report
from judge.routes import Place, names
from judge.service import Service
from judge.values import Values

_FULL_PAGE = 10
"""Entries from which a list may be one page of several."""
_LARGE_PAGE = "?limit=100"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A record that the check made."""

    id: Any
    sent: dict[str, Any]
    generation: int
    """Start of the application in which it was made."""


@dataclass(kw_only=True)
class Subject:
    """An entity with its place in the application, and what is known of it so far."""

    entity: Entity
    place: Place
    service: Service
    report: Report
    values: Values
    kept: list[Kept] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that the application asks for, though the check does not know them."""
    item: str | None = None
    """Path of one record, with `{id}`, once one has answered."""
    changes_by: str | None = None
    """Method that changed a record, once one has."""
    others: dict[str, Subject] = field(default_factory=dict)
    """All subjects, by the name of their entity."""

    def id(self, suffix: str) -> str:
        """Return an assertion's id."""
        return f"{self.entity.name}.{suffix}"

    def passed(self, suffix: str, *exchange: Exchange) -> None:
        """Say that an assertion holds."""
        self.report.passed(self.id(suffix), **_evidence(exchange))

    def failed(self, suffix: str, reason: str, *exchange: Exchange) -> None:
        """Say that an assertion does not hold; what the application printed goes along."""
        self.report.failed(self.id(suffix), reason, **_evidence(exchange), log_tail=self.service.tail())

    def unjudged(self, suffix: str, reason: str, *exchange: Exchange) -> None:
        """Say why an assertion cannot be judged."""
        self.report.unjudged(self.id(suffix), reason, **_evidence(exchange))

    def holds(self, suffix: str) -> bool:
        """Tell whether an assertion was found to hold."""
        return self.report.has_passed(self.id(suffix))

    def body(self, *, spare: bool = False) -> dict[str, Any]:
        """Return a valid body; a required field that holds another's identifier gets one.

        Args:
            spare: whether to use up no example.
        """
        plain = self.values.spare() if spare else self.values.valid()
        return {**self.extra, **plain, **self._joined()}

    def create(self, body: dict[str, Any]) -> Exchange:
        """Ask for a new record."""
        return self.service.ask("POST", self.place.collection, body)

    def make(self) -> tuple[Kept | None, Exchange]:
        """Create a record that counts as ours, if the application takes it.

        A refusal is answered once with made values, since a file of data may lie in the workspace that has the examples
        already, and once with what the application's own description asks for besides.
        """
        body = self.body()
        answer = self.create(body)
        if answer.refused and any(one.unique for one in self.entity.fields):
            body = self.body(spare=True)
            answer = self.create(body)
        asked = {name: one for name, one in self.place.asks_for if name not in body}
        if answer.refused and asked:
            body = {**asked, **body}
            answer = self.create(body)
            if answer.ok:
                self.extra = asked
                what = f"{self.entity.name}: a new one is taken only with {', '.join(asked)}, which nobody asked for"
                self.report.find("judge", "asks-for-more", what)
        if not answer.ok:
            return None, answer
        one = Kept(id=self.identity(answer, body), sent=body, generation=self.service.generation)
        self.kept.append(one)
        return one, answer

    def keep(self, *, besides: Any = None) -> Kept | None:
        """Return a record of ours that lives, made if need be; None if none can be made.

        Args:
            besides: identifier of one that it must not be.
        """
        now = self.service.generation
        alive = [one for one in self.kept if one.generation == now and not equal_ids(one.id, besides)]
        found = alive[0] if alive else self.make()[0]
        return found if found is not None and found.id is not None else None

    def forget(self, gone: Any) -> None:
        """Remember no longer a record that was deleted."""
        self.kept = [one for one in self.kept if not equal_ids(one.id, gone)]

    def note(self, changed: Kept, sent: dict[str, Any]) -> Kept:
        """Remember what a record holds since it was changed."""
        new = replace(changed, sent=sent)
        self.kept = [new if equal_ids(one.id, changed.id) else one for one in self.kept]
        return new

    def on_item(self, method: str, key: Any, body: Any = None) -> Exchange:
        """Ask for something to be done with one record, at the path that worked before, or where it should be."""
        paths = [self.item] if self.item else self._item_paths()
        answer = self.service.ask(method, paths[0].replace("{id}", quote(str(key), safe="")), body)
        for path in paths[1:]:
            if not answer.no_route:
                break
            other = self.service.ask(method, path.replace("{id}", quote(str(key), safe="")), body)
            answer = answer if other.no_route else other
        if answer.ok and self.item is None:
            self.item = next(path for path in paths if _is_at(answer.path, path))
        return answer

    def read(self, key: Any) -> tuple[Record | None, Exchange]:
        """Read one record; None if what came is not that one."""
        answer = self.on_item("GET", key)
        found = record(answer.json, self.entity) if answer.ok else None
        own = identifier(found, self.entity)
        return (found if found is not None and (own is None or equal_ids(own, key)) else None), answer

    def entries(self) -> tuple[list[Record] | None, Exchange]:
        """List the records; None if what came is no list."""
        answer = self.service.ask("GET", self.place.collection)
        found = records(answer.json, names(self.entity.name)) if answer.ok else None
        return found, answer

    def listed(self, one: Kept) -> tuple[bool | None, Exchange]:
        """Tell whether a record is in the list, asking for a large page if the first is full; None if there is none."""
        found, answer = self.entries()
        if found is not None and not self._among(one, found) and len(found) >= _FULL_PAGE:
            larger = self.service.ask("GET", f"{self.place.collection}{_LARGE_PAGE}")
            found = (records(larger.json, names(self.entity.name)) if larger.ok else None) or found
        return (None if found is None else self._among(one, found) is not None), answer

    def see(self, one: Kept) -> tuple[Record | None, Exchange]:
        """Return a record as the application shows it: by reading it, or else from the list."""
        found, answer = self.read(one.id)
        if found is None:
            entries, listing = self.entries()
            found = self._among(one, entries or [])
            answer = answer if found is None else listing
        return found, answer

    def _among(self, one: Kept, entries: list[Record]) -> Record | None:
        return next((entry for entry in entries if equal_ids(identifier(entry, self.entity), one.id)), None)

    def identity(self, answer: Exchange, body: dict[str, Any]) -> Any:
        """Return a new record's identifier: from the answer, its Location, the list, or its own unique field."""
        found = identifier(record(answer.json, self.entity) or _only(answer.json), self.entity)
        if found is None:
            found = located(answer)
        if found is None:
            entries, _ = self.entries()
            alike = [entry for entry in entries or [] if self._alike(body, entry)]
            found = identifier(alike[-1], self.entity) if alike else None
        unique = next((one.name for one in plain_fields(self.entity) if one.unique), None)
        return body.get(unique) if found is None and unique else found

    def _alike(self, body: dict[str, Any], entry: Record) -> bool:
        shared = [name for name in body if name in entry]
        return bool(shared) and all(same(body[name], entry[name]) for name in shared)

    def _joined(self) -> dict[str, Any]:
        needed = {one.name for one in self.entity.fields if one.required}
        joined = {}
        for relation in self.entity.relations:
            other = self.others.get(relation.to)
            if relation.field in needed and other is not None and other is not self and (one := other.keep()):
                joined[str(relation.field)] = one.id
        return joined

    def _item_paths(self) -> list[str]:
        if self.place.item:
            return [self.place.item]
        bare = f"{self.place.collection.rstrip('/')}/{{id}}"
        return [f"{bare}/", bare] if self.place.collection.endswith("/") else [bare, f"{bare}/"]


def _only(body: Any) -> Record | None:
    """Return an answer that is an object, or the one object in it, whatever its fields."""
    if not isinstance(body, dict):
        return None
    inner = [one for one in body.values() if isinstance(one, dict)]
    return inner[0] if len(inner) == 1 and not any(isinstance(one, int) for one in body.values()) else body


def _is_at(path: str, template: str) -> bool:
    start, _, end = template.partition("{id}")
    path = path.partition("?")[0]
    return path.startswith(start) and path.endswith("/") == end.endswith("/")


def _evidence(exchange: tuple[Exchange, ...]) -> dict[str, Any]:
    return exchange[-1].evidence() if exchange else {}


def summary(record_: Record) -> str:
    """Return a record as text, for a reason."""
    return json.dumps(record_, default=str)[:200]
