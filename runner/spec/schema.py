"""Generate, from the models, the JSON schemas for editors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from runner.spec.models import Experiment, Framework, Scenario

DOCUMENTS: Mapping[str, type[BaseModel]] = {"experiment": Experiment, "scenario": Scenario, "framework": Framework}
"""Kinds of file that a user writes, and the model of each."""


def schema_texts() -> dict[str, str]:
    """Return the text of each generated file by its name under config/schema/, JSON schema draft 2020-12."""
    return {f"{kind}.schema.json": json.dumps(_schema(model), indent=2) + "\n" for kind, model in DOCUMENTS.items()}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    plain = _without_titles(model.model_json_schema(mode="validation"))
    return {"$schema": GenerateJsonSchema.schema_dialect, **plain}


def _without_titles(schema: Any) -> Any:
    """Return a schema without its titles, which only repeat the keys; a property called title is no text and stays."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)
        }
    return [_without_titles(item) for item in schema] if isinstance(schema, list) else schema
