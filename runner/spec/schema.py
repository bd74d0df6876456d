"""Generate, from the models, the JSON schemas for editors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from runner.spec.models import Experiment, Framework
from runner.spec.scenario import Scenario, Workflow
from runner.spec.site import Site
from runner.spec.validate import models_within

DOCUMENTS: Mapping[str, type[BaseModel]] = {
    "experiment": Experiment,
    "scenario": Scenario,
    "workflow": Workflow,
    "framework": Framework,
    "site": Site,
}
"""Kinds of file that a user writes, and the model of each."""

_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def schema_texts() -> dict[str, str]:
    """Return the text of each generated file by its name under config/schema/, JSON schema draft 2020-12."""
    return {f"{kind}.schema.json": json.dumps(_schema(model), indent=2) + "\n" for kind, model in DOCUMENTS.items()}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    plain = _tidy(model.model_json_schema(mode="validation"))
    for one in (model, *models_within(model)):
        definition = plain if one is model else plain["$defs"][one.__name__]
        for name, info in one.model_fields.items():
            definition["properties"][name] |= _bounds(info)
    return {"$schema": GenerateJsonSchema.schema_dialect, **plain}


def _bounds(info: FieldInfo) -> dict[str, float]:
    """Return a field's bounds; beside `anyOf` they judge numbers only, as they should."""
    return {
        keyword: getattr(item, name)
        for item in info.metadata
        for name, keyword in _BOUNDS.items()
        if hasattr(item, name)
    }


def _tidy(schema: Any) -> Any:
    """Return a schema without what the dialect does not need or know.

    Titles only repeat the keys; a property called title is no text and stays. Bounds behind a validator of ours are
    lost by pydantic, or come under their Python names: `_bounds` puts them where they belong.
    """
    if isinstance(schema, dict):
        return {
            key: _tidy(value)
            for key, value in schema.items()
            if key not in _BOUNDS and (key != "title" or not isinstance(value, str))
        }
    return [_tidy(item) for item in schema] if isinstance(schema, list) else schema
