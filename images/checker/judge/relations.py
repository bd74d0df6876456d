"""Exercise what an entity has to do with another: a field with its identifier, or a path that joins the two."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from judge.answers import equal_ids, identifier, records
from judge.asked import Relation
from judge.client import Exchange
from judge.refusals import unknown
from judge.routes import names
from judge.subject import Kept, Subject


def exercise(subject: Subject, relation: Relation) -> None:
    """Judge one relation: joined, unknown ones refused, listed, parted.

    Raises:
        Gone: if the application ended too often.
        OutOfTime: if the check's time is up.
    """
    other = subject.others.get(relation.to)
    target = other.keep() if other is not None else None
    own = subject.keep()
    if other is None or target is None:
        _not(subject, relation, f"there is no {relation.to} to relate to")
    elif own is None:
        _not(subject, relation, f"there is no {subject.entity.name} to relate from")
    elif relation.field is not None:
        joined = _by_field(subject, relation, relation.field, target)
        if joined is not None:
            _listed(subject, other, relation, joined, target)
    else:
        _by_path(subject, other, relation, own, target)


def _not(subject: Subject, relation: Relation, reason: str) -> None:
    """Say of everything of a relation about which nothing was said that it cannot be judged."""
    start = subject.id(f"relation.{relation.name}.")
    for one in subject.report.open():
        if one.id.startswith(start):
            subject.report.unjudged(one.id, reason)


def _by_field(subject: Subject, relation: Relation, name: str, target: Kept) -> Kept | None:
    """Create one with the other's identifier in its field, and look whether it is there; return it if it is."""
    start = f"relation.{relation.name}"
    body = {**subject.body(spare=True), name: target.id}
    answer = subject.create(body)
    if not answer.ok:
        reason = f"{answer.said}; {name} was the identifier of a {relation.to} that there is"
        subject.failed(f"{start}.valid", reason, answer)
        _not(subject, relation, f"{start}.valid does not hold")
        return None
    own = Kept(id=subject.identity(answer, body), sent=body, generation=subject.service.generation)
    seen = subject.see(own)[0] if own.id is not None else None
    if seen is None:
        _not(subject, relation, "no answer shows the record")
        return None
    if not equal_ids(seen.get(name), target.id):
        subject.failed(f"{start}.valid", f"{name} was {target.id!r}, and {seen.get(name)!r} came back", answer)
        _not(subject, relation, f"{start}.valid does not hold")
        return None
    subject.passed(f"{start}.valid", answer)
    _refused(subject, relation, subject.create({**subject.body(spare=True), name: unknown(target.id)}))
    return own


def _by_path(subject: Subject, other: Subject, relation: Relation, own: Kept, target: Kept) -> None:
    """Join two records, look whether the list says so, and part them again."""
    start = f"relation.{relation.name}"
    answer = _at(subject, relation, relation.method, own.id, target.id)
    if not answer.ok:
        subject.failed(f"{start}.valid", f"{answer.said}; the two were to be joined", answer)
        _not(subject, relation, f"{start}.valid does not hold")
        return
    subject.passed(f"{start}.valid", answer)
    _refused(subject, relation, _at(subject, relation, relation.method, own.id, unknown(target.id)))
    _listed(subject, other, relation, own, target)
    parted = _at(subject, relation, "DELETE", own.id, target.id)
    there, listing = _entries(subject, relation, own, target)
    if not parted.ok:
        subject.failed(f"{start}.parted", f"{parted.said}; the two were to be parted", parted)
    elif there and subject.holds(f"{start}.listed"):
        subject.failed(f"{start}.parted", f"{parted.said}, but the list still has them joined", listing)
    else:
        subject.passed(f"{start}.parted", parted)


def _refused(subject: Subject, relation: Relation, answer: Exchange) -> None:
    suffix = f"relation.{relation.name}.unknown"
    if answer.refused:
        subject.passed(suffix, answer)
    else:
        subject.failed(suffix, f"there is no such {relation.to}, so 4xx is expected: {answer.said}", answer)


def _listed(subject: Subject, other: Subject, relation: Relation, own: Kept, target: Kept) -> None:
    """Judge the list of a relation: what was joined is in it, and something that was not is not."""
    if relation.listed_at is None:
        return
    suffix = f"relation.{relation.name}.listed"
    of_others = "{id}" in relation.listed_at
    there, listing = _entries(subject, relation, own, target)
    lister, wanted = (other, target) if of_others else (subject, own)
    stranger = lister.keep(besides=wanted.id)
    if there is None:
        subject.failed(suffix, f"{listing.said}{', but the answer is no list' if listing.ok else ''}", listing)
    elif not there:
        subject.failed(suffix, f"the {lister.entity.name} {wanted.id} is not in the list, but was joined", listing)
    elif stranger is not None and _has(listing, lister, stranger.id):
        subject.failed(suffix, f"the {lister.entity.name} {stranger.id} is in the list, but was not joined", listing)
    else:
        subject.passed(suffix, listing)


def _entries(subject: Subject, relation: Relation, own: Kept, target: Kept) -> tuple[bool | None, Exchange]:
    """Ask for the list of a relation; tell whether what was joined is in it, None if no list came."""
    template = relation.listed_at or relation.path or ""
    listing = subject.service.ask("GET", _filled(based(subject, template), own.id, target.id))
    of_others = "{id}" in template
    lister = subject.others[relation.to] if of_others else subject
    if not listing.ok or records(listing.json, names(lister.entity.name)) is None:
        return None, listing
    return _has(listing, lister, target.id if of_others else own.id), listing


def _has(listing: Exchange, lister: Subject, key: Any) -> bool:
    entries = records(listing.json, names(lister.entity.name)) or []
    return any(equal_ids(identifier(entry, lister.entity), key) for entry in entries)


def _at(subject: Subject, relation: Relation, method: str, own: Any, target: Any) -> Exchange:
    return subject.service.ask(method, _filled(based(subject, relation.path or ""), own, target))


def based(subject: Subject, template: str) -> str:
    """Return a path with its first part replaced by where the entity of that name was found, behind a prefix perhaps."""
    first, slash, rest = template.removeprefix("/").partition("/")
    for one in subject.others.values():
        if first.lower() in names(one.entity.name):
            return f"{one.place.collection.rstrip('/')}{slash}{rest}"
    return template


def _filled(template: str, own: Any, target: Any) -> str:
    return template.replace("{id}", quote(str(own), safe="")).replace("{other}", quote(str(target), safe=""))
