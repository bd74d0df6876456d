#!/usr/bin/env python3
"""Render pydantic models and event classes as Markdown tables, for the reference pages."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", types.NoneType: "null"}


def model_section(model: type[BaseModel]) -> str:
    """Return a heading, what the model is, and a table of its fields."""
    rows = [(name, type_words(field.annotation), field.description or "") for name, field in model.model_fields.items()]
    return _section(model, rows)


def event_section(event: type) -> str:
    """Return the same for an event, whose fields are described by the strings below them in the source."""
    hints, notes = get_type_hints(event), _field_notes(event)
    rows = [
        (field.name, type_words(hints[field.name]), notes.get(field.name, "")) for field in dataclasses.fields(event)
    ]
    inherited = {field.name for base in event.__mro__[1:-1] for field in dataclasses.fields(base)}
    return _section(event, [row for row in rows if row[0] not in inherited])


def _section(owner: type, rows: Sequence[tuple[str, str, str]]) -> str:
    # A dataclass without a docstring is given its signature as one, which says nothing to a reader.
    about = owner.__dict__.get("__doc__") or ""
    text = "" if about.startswith(f"{owner.__name__}(") else inspect.cleandoc(about)
    columns = 3 if any(meaning for _, _, meaning in rows) else 2
    table = [("field", "type", "meaning"), ("---",) * 3]
    table += [(f"`{name}`", _cell(kind), _cell(meaning)) for name, kind, meaning in rows]
    lines = ["| " + " | ".join(cells[:columns]) + " |" for cells in table]
    return "\n".join([f"## {owner.__name__}", "", *([text, ""] if text else []), *lines]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def type_words(annotation: Any) -> str:
    """Return a type as a reader of JSON would say it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in {Union, types.UnionType}:
        return " or ".join(type_words(argument) for argument in arguments)
    if origin in {tuple, list}:
        return f"list of {type_words(arguments[0])}"
    if origin is not None and isinstance(origin, type) and len(arguments) == 2:  # noqa: PLR2004  key and value
        return f"map from {type_words(arguments[0])} to {type_words(arguments[1])}"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _field_notes(owner: type) -> dict[str, str]:
    """Return the string below each field of a class, by the field's name."""
    body = ast.parse(inspect.cleandoc(inspect.getsource(owner))).body[0]
    notes: dict[str, str] = {}
    previous = ""
    for node in body.body if isinstance(body, ast.ClassDef) else []:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and previous:
            notes[previous] = str(node.value.value)
        previous = node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else ""
    return notes
