"""Exercise one entity with what has to be refused: a 4xx is expected, never a 5xx, and nothing may be left behind."""

from __future__ import annotations

import uuid
from typing import Any

from judge.asked import Field
from judge.client import Exchange
from judge.crud import NOTHING_TO_WORK_ON, change
from judge.expected import plain_fields
from judge.subject import Kept, Subject

_FAR = 1_000_000_007
"""Added to an identifier that is a number, so that nobody has it; it still fits into 32 bits."""


def exercise(subject: Subject) -> None:
    """Judge what happens to invalid data and to identifiers that nobody has.

    A refusal says something only where the same with valid data worked: what refuses everything refuses nothing in
    particular. The assertions about such are left unjudged.

    Raises:
        Gone: if the application ended too often.
        OutOfTime: if the check's time is up.
    """
    _creations(subject)
    one = subject.keep()
    for deed in ("read", "update", "delete"):
        if not subject.holds(f"{deed}.valid"):
            subject.unjudged(f"{deed}.unknown", f"{deed}.valid does not hold, so that a refusal would tell nothing")
        elif one is None:
            subject.unjudged(f"{deed}.unknown", NOTHING_TO_WORK_ON)
        else:
            _unknown(subject, deed, one)


def unknown(like: Any) -> Any:
    """Return an identifier that nobody has, of the same form as another."""
    text = str(like)
    if text.isdigit():
        return int(text) % 1_000_000 + _FAR
    try:
        uuid.UUID(text)
    except ValueError:
        return "no-such-one"
    return str(uuid.UUID(int=uuid.UUID(text).int ^ (2**64 - 1)))


def _creations(subject: Subject) -> None:
    if not subject.holds("create.valid"):
        reason = "create.valid does not hold, so that a refusal would tell nothing"
        for due in subject.report.open():
            if due.entity == subject.entity.name and (due.operation == "create" or due.id.endswith(".unchanged")):
                subject.report.unjudged(due.id, reason)
        return
    generation = subject.service.generation
    before = _number(subject)
    taken = 0
    for one in subject.entity.fields:
        taken += _missing(subject, one) if one.required else 0
    for one in plain_fields(subject.entity):
        taken += _invalid(subject, one)
        taken += _duplicate(subject, one) if one.unique else 0
    after, answer = subject.entries()
    if before is None or after is None:
        subject.unjudged("refused.unchanged", "the records cannot be counted: there is no list", answer)
    elif generation != subject.service.generation:
        subject.unjudged("refused.unchanged", "the application ended in between", answer)
    elif len(after) == before + taken:
        subject.passed("refused.unchanged", answer)
    else:
        left = len(after) - before - taken
        subject.failed("refused.unchanged", f"requests that were not carried out changed the list by {left:+}", answer)


def _number(subject: Subject) -> int | None:
    found, _ = subject.entries()
    return None if found is None else len(found)


def _missing(subject: Subject, one: Field) -> int:
    body = subject.body(spare=True)
    body.pop(one.name, None)
    return _refuse(subject, f"create.missing.{one.name}", [body], f"without {one.name}")


def _invalid(subject: Subject, one: Field) -> int:
    wrong = subject.values.wrong(one)
    if not wrong:
        subject.unjudged(f"create.invalid.{one.name}", f"the check names no invalid value of {one.name}")
        return 0
    bodies = [{**subject.body(spare=True), one.name: value} for value in wrong]
    return _refuse(subject, f"create.invalid.{one.name}", bodies, f"with {one.name} = ", shown=one.name)


def _duplicate(subject: Subject, one: Field) -> int:
    kept = subject.keep()
    if kept is None or one.name not in kept.sent:
        subject.unjudged(f"create.duplicate.{one.name}", NOTHING_TO_WORK_ON)
        return 0
    body = {**subject.body(spare=True), one.name: kept.sent[one.name]}
    return _refuse(subject, f"create.duplicate.{one.name}", [body], f"with the {one.name} of another")


def _refuse(subject: Subject, suffix: str, bodies: list[dict[str, Any]], what: str, *, shown: str = "") -> int:
    """Send what has to be refused; return how many were taken."""
    taken, worst, said = 0, None, ""
    answer: Exchange | None = None
    for body in bodies:
        answer = subject.create(body)
        taken += answer.ok
        if not answer.refused and worst is None:
            worst = answer
            said = f"{what}{body[shown]!r}" if shown else what
    if worst is not None:
        subject.failed(suffix, f"a {subject.entity.name} {said} has to be refused with 4xx: {worst.said}", worst)
    elif answer is not None:
        subject.passed(suffix, answer)
    return taken


def _unknown(subject: Subject, deed: str, one: Kept) -> None:
    key = unknown(one.id)
    if deed == "read":
        answer = subject.on_item("GET", key)
    elif deed == "update":
        stranger = Kept(id=key, sent={}, generation=subject.service.generation)
        answer = change(subject, stranger, subject.body(spare=True))
    else:
        answer = subject.on_item("DELETE", key)
    if answer.refused:
        subject.passed(f"{deed}.unknown", answer)
    else:
        subject.failed(f"{deed}.unknown", f"nobody has the identifier {key}, so 4xx is expected: {answer.said}", answer)
