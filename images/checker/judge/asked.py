"""What is to be judged: `check.json`, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1


class Unreadable(ValueError):
    """The check is not what this program understands."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of an entity."""

    name: str
    type: str
    """text, integer, number, boolean, date, datetime, email, list or object."""
    examples: tuple[Any, ...] = ()
    invalid: tuple[Any, ...] = ()
    required: bool = True
    unique: bool = False


@dataclass(frozen=True, kw_only=True)
class Relation:
    """What an entity has to do with another: a field with the other's identifier, or a path that joins the two."""

    name: str
    to: str
    field: str | None = None
    path: str | None = None
    method: str = "PUT"
    listed_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A kind of thing that the application keeps."""

    name: str
    path: str | None = None
    identifier: str = "id"
    fields: tuple[Field, ...] = ()
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Start:
    """How the application is started, where that is not left to detection."""

    command: tuple[str, ...] | None = None
    folder: str = "."
    port: int | None = None
    timeout: float = 30.0
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check."""

    kind: str
    seed: str = "0"
    start: Start = Start()
    health: tuple[str, ...] = ()
    entities: tuple[Entity, ...] = ()
    persistence: bool = True
    timeout: float = 300.0
    """Seconds for everything."""


def read(path: Path) -> Check:
    """Read a check.

    Raises:
        Unreadable: if it is missing, or not of this program's format.
    """
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise Unreadable(f"{path} is of format {content['format']}; this program reads format {FORMAT}")
        return Check(
            kind=content["kind"],
            seed=str(content.get("seed", 0)),
            start=_start(content.get("start") or {}),
            health=tuple(content.get("health") or ()),
            entities=tuple(_entity(one) for one in content.get("entities") or ()),
            persistence=bool(content.get("persistence", True)),
            timeout=float(content.get("timeout_seconds") or 300.0),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{path} cannot be read as a check: {error}") from error


def _start(content: Mapping[str, Any]) -> Start:
    command = content.get("command")
    return Start(
        command=tuple(command) if command else None,
        folder=content.get("folder") or ".",
        port=content.get("port"),
        timeout=float(content.get("timeout") or 30.0),
    )


def _entity(content: Mapping[str, Any]) -> Entity:
    fields = content.get("fields") or {}
    relations = content.get("relations") or {}
    return Entity(
        name=content["name"],
        path=content.get("path"),
        identifier=content.get("identifier") or "id",
        fields=tuple(_field(name, one) for name, one in fields.items()),
        relations=tuple(_relation(name, one) for name, one in relations.items()),
    )


def _field(name: str, content: Mapping[str, Any]) -> Field:
    return Field(
        name=name,
        type=content.get("type") or "text",
        examples=tuple(content.get("examples") or ()),
        invalid=tuple(content.get("invalid") or ()),
        required=bool(content.get("required", True)),
        unique=bool(content.get("unique", False)),
    )


def _relation(name: str, content: Mapping[str, Any]) -> Relation:
    return Relation(
        name=name,
        to=content["to"],
        field=content.get("field"),
        path=content.get("path"),
        method=content.get("method") or "PUT",
        listed_at=content.get("listed_at"),
    )
