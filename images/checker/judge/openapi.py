"""Read an application's description of itself, if it has one: OpenAPI 3, or Swagger 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLACES = ("/openapi.json", "/api/openapi.json", "/swagger.json", "/api/schema/?format=json", "/docs/openapi.json")
"""Where frameworks put it."""
_METHODS = ("get", "post", "put", "patch", "delete")
_MOST_PATHS = 1000


@dataclass(frozen=True, kw_only=True)
class Route:
    """A path, with what may be done there."""

    path: str
    methods: frozenset[str]
    """In capitals."""
    created_from: Mapping[str, Any]
    """Schema of what POST takes; empty if it says none."""


def routes(body: Any) -> tuple[Route, ...] | None:
    """Read the routes of a description; None if it is none."""
    if not isinstance(body, Mapping) or not isinstance(body.get("paths"), Mapping):
        return None
    if not ("openapi" in body or "swagger" in body):
        return None
    prefix = body.get("basePath")
    base = prefix.rstrip("/") if isinstance(prefix, str) else ""
    return tuple(
        Route(
            path=base + path,
            methods=frozenset(method.upper() for method in _METHODS if method in described),
            created_from=_schema(described.get("post"), body),
        )
        for path, described in list(body["paths"].items())[:_MOST_PATHS]
        if isinstance(path, str) and path.startswith("/") and isinstance(described, Mapping)
    )


def required(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a schema requires: a value that fits, by name."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    names = [one for one in schema.get("required") or () if isinstance(one, str)]
    return {name: _fitting(properties.get(name)) for name in names}


def _schema(operation: Any, body: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        found = operation["requestBody"]["content"]["application/json"]["schema"]
        if isinstance(found.get("$ref"), str):
            for part in found["$ref"].removeprefix("#/").split("/"):
                body = body[part]
            found = body
    except (KeyError, TypeError, AttributeError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _fitting(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return "text"
    for key in ("default", "example"):
        if key in schema:
            return schema[key]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    by_format = {"email": "someone@example.org", "date": "2024-01-15", "date-time": "2024-01-15T10:30:00"}
    if schema.get("format") in by_format:
        return by_format[schema["format"]]
    minimum = schema.get("minimum")
    number = minimum if isinstance(minimum, (int, float)) else 1
    by_type = {"integer": int(number), "number": float(number), "boolean": True, "array": [], "object": {}}
    return by_type.get(str(schema.get("type")), "text")
