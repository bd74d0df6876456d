"""Exercise one entity with valid data: create, read, list, update, delete, each judged by what can be seen afterwards."""

from __future__ import annotations

from http import HTTPStatus

from judge.answers import Record, equal_ids, identifier, record, same
from judge.client import Exchange
from judge.expected import DEEDS, plain_fields
from judge.subject import Kept, Subject, summary

NOTHING_TO_WORK_ON = "nothing could be created, and there is no other record to try it on"
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


def exercise(subject: Subject) -> None:
    """Judge the five deeds with valid data, and what of the sent fields comes back.

    Raises:
        Gone: if the application ended too often.
        OutOfTime: if the check's time is up.
    """
    first = _create(subject)
    if first is None:
        for deed in DEEDS[1:]:
            subject.unjudged(f"{deed}.valid", NOTHING_TO_WORK_ON)
        return
    # With a second record beside it, an answer with just any record is told from the right one.
    subject.keep(besides=first.id)
    seen, answer = _read(subject, first)
    listed, listing = _list(subject, first)
    _fields(subject, first, seen or listed, answer if seen else listing)
    _update(subject)
    _delete(subject)


def _create(subject: Subject) -> Kept | None:
    one, answer = subject.make()
    if one is None:
        reason = f"{answer.said}; a new {subject.entity.name} was to be taken"
        subject.failed("create.valid", reason, answer)
        subject.unjudged("create.status", "nothing was created")
        return None
    subject.passed("create.valid", answer)
    if answer.status == HTTPStatus.CREATED:
        subject.passed("create.status", answer)
    else:
        reason = f"{answer.said}; for a new record the status is 201 (RFC 9110, section 9.3.3)"
        subject.failed("create.status", reason, answer)
    if one.id is None:
        for deed in DEEDS[1:]:
            subject.unjudged(f"{deed}.valid", "no answer told the identifier of what was created", answer)
        return None
    return one


def _read(subject: Subject, one: Kept) -> tuple[Record | None, Exchange]:
    found, answer = subject.read(one.id)
    if found is not None:
        subject.passed("read.valid", answer)
        return found, answer
    if answer.ok:
        what = "no JSON" if answer.json is None else f"not the {subject.entity.name} with the identifier {one.id}"
        subject.failed("read.valid", f"{answer.said}, but the answer is {what}", answer)
    else:
        subject.failed("read.valid", f"{answer.said}; it was created before", answer)
    return None, answer


def _list(subject: Subject, one: Kept) -> tuple[Record | None, Exchange]:
    there, answer = subject.listed(one)
    if there:
        subject.passed("list.valid", answer)
        entries, _ = subject.entries()
        mine = (each for each in entries or [] if equal_ids(identifier(each, subject.entity), one.id))
        return next(mine, None), answer
    if there is None:
        what = ", but the answer is no list" if answer.ok else ""
        subject.failed("list.valid", f"{answer.said}{what}", answer)
    else:
        reason = (
            f"the list does not hold the {subject.entity.name} with the identifier {one.id}, which was created before"
        )
        subject.failed("list.valid", reason, answer)
    return None, answer


def _fields(subject: Subject, one: Kept, seen: Record | None, answer: Exchange) -> None:
    for each in plain_fields(subject.entity):
        if seen is None:
            subject.unjudged(f"field.{each.name}", "no answer shows the record", answer)
        elif each.name not in seen:
            subject.failed(f"field.{each.name}", f"answers have no field {each.name}: {summary(seen)}", answer)
        elif same(one.sent[each.name], seen[each.name]):
            subject.passed(f"field.{each.name}", answer)
        else:
            reason = f"{one.sent[each.name]!r} was sent, and {seen[each.name]!r} came back"
            subject.failed(f"field.{each.name}", reason, answer)


def _update(subject: Subject) -> None:
    one = subject.keep()
    if one is None:
        subject.unjudged("update.valid", NOTHING_TO_WORK_ON)
        return
    changed = {**one.sent, **subject.values.changed(one.sent)}
    answer = change(subject, one, changed)
    subject.changes_by = answer.method if answer.ok else None
    if not answer.ok:
        subject.failed("update.valid", f"{answer.said}; the record was to be changed", answer)
        return
    visible = [each.name for each in plain_fields(subject.entity) if subject.holds(f"field.{each.name}")]
    moved = [name for name in visible if not same(one.sent[name], changed[name])]
    seen = subject.see(one)[0] or record(answer.json, subject.entity)
    if seen is None or not moved:
        subject.unjudged("update.valid", "no answer shows the fields that were changed", answer)
        return
    kept = [name for name in moved if not same(changed[name], seen.get(name))]
    subject.note(one, {**changed, **{name: one.sent[name] for name in kept}})
    if kept:
        found = ", ".join(f"{name} is {seen.get(name)!r}, not {changed[name]!r}" for name in kept)
        subject.failed("update.valid", f"{answer.said}, but afterwards {found}", answer)
    else:
        subject.passed("update.valid", answer)


def change(subject: Subject, one: Kept, body: dict[str, object]) -> Exchange:
    """Change a record by PUT with all fields, or by PATCH where that is what there is."""
    if subject.changes_by:
        return subject.on_item(subject.changes_by, one.id, body)
    methods = subject.place.item_methods
    first, second = ("PATCH", "PUT") if methods is not None and "PUT" not in methods else ("PUT", "PATCH")
    answer = subject.on_item(first, one.id, body)
    if not answer.no_route or (methods is not None and second not in methods):
        return answer
    other = subject.on_item(second, one.id, body)
    return answer if other.no_route else other


def _delete(subject: Subject) -> None:
    first = subject.keep()
    one = subject.keep(besides=first.id if first else None)
    if one is None:
        subject.unjudged("delete.valid", NOTHING_TO_WORK_ON)
        return
    answer = subject.on_item("DELETE", one.id)
    if not answer.ok:
        subject.failed("delete.valid", f"{answer.said}; the record was to be deleted", answer)
        return
    found, again = subject.read(one.id)
    there, entries = subject.listed(one)
    if found is not None and subject.holds("read.valid"):
        subject.failed("delete.valid", f"{answer.said}, but then {again.said} with the record", again)
    elif there and subject.holds("list.valid"):
        subject.failed("delete.valid", f"{answer.said}, but the record is still in the list", entries)
    elif not (subject.holds("read.valid") or subject.holds("list.valid")):
        subject.unjudged("delete.valid", "neither reading nor listing shows whether it is gone", answer)
    elif again.status in _GONE or there is False or again.ok:
        subject.passed("delete.valid", answer)
        subject.forget(one.id)
    else:
        subject.unjudged("delete.valid", f"whether it is gone cannot be seen: {again.said}", again)
