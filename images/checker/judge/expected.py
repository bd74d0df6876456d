"""Announce what a check of an application asserts, before anything is started."""

from __future__ import annotations

from judge.asked import Check, Entity, Field
from judge.report import Report

DEEDS = ("create", "read", "list", "update", "delete")
"""What one does with an entity; an application that cannot be reached does none of it."""


def plain_fields(entity: Entity) -> tuple[Field, ...]:
    """Return the fields of an entity that hold no other's identifier."""
    joined = {relation.field for relation in entity.relations}
    return tuple(one for one in entity.fields if one.name not in joined)


def announce(check: Check, report: Report) -> None:
    """Announce every assertion about the application and its entities."""
    report.expect("application.start", "start")
    if check.start.port is not None:
        report.expect("application.port", "port")
    report.expect("application.health", "health")
    for entity in check.entities:
        _of_entity(entity, report)
    for entity in check.entities:
        _of_relations(entity, report)
    if check.persistence:
        report.expect("application.restart", "restart")
        for entity in check.entities:
            report.expect(f"{entity.name}.persist", "persist", entity=entity.name, valid=True)


def _of_entity(entity: Entity, report: Report) -> None:
    name = entity.name
    for deed in DEEDS:
        report.expect(f"{name}.{deed}.valid", deed, entity=name, valid=True)
    report.expect(f"{name}.create.status", "status", entity=name, valid=True)
    for one in plain_fields(entity):
        report.expect(f"{name}.field.{one.name}", "field", entity=name, valid=True)
    for one in entity.fields:
        if one.required:
            report.expect(f"{name}.create.missing.{one.name}", "create", entity=name, valid=False)
    for one in plain_fields(entity):
        report.expect(f"{name}.create.invalid.{one.name}", "create", entity=name, valid=False)
        if one.unique:
            report.expect(f"{name}.create.duplicate.{one.name}", "create", entity=name, valid=False)
    for deed in ("read", "update", "delete"):
        report.expect(f"{name}.{deed}.unknown", deed, entity=name, valid=False)
    report.expect(f"{name}.refused.unchanged", "list", entity=name, valid=False)


def _of_relations(entity: Entity, report: Report) -> None:
    for one in entity.relations:
        start = f"{entity.name}.relation.{one.name}"
        report.expect(f"{start}.valid", "relation", entity=entity.name, valid=True)
        report.expect(f"{start}.unknown", "relation", entity=entity.name, valid=False)
        if one.listed_at is not None:
            report.expect(f"{start}.listed", "relation", entity=entity.name, valid=True)
        if one.path is not None:
            report.expect(f"{start}.parted", "relation", entity=entity.name, valid=True)
