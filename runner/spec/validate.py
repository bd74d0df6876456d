"""Turn located plain values into a model, and everything pydantic finds wrong into sentences with file and line."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from runner.spec.complaints import Complaint, SpecError, choose_from
from runner.spec.egress import HOST_FORM
from runner.spec.located import KeyPath, Located
from runner.spec.units import parse_bytes, parse_seconds, shorten, show_bytes, show_seconds

M = TypeVar("M", bound=BaseModel)

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number that could be meant",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "mapping_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
_BOUNDS = {
    "greater_than": ("gt", "too small", "more than"),
    "greater_than_equal": ("ge", "too small", "at least"),
    "less_than": ("lt", "too large", "less than"),
    "less_than_equal": ("le", "too large", "at most"),
}
_NAME_PATTERN = "[a-z0-9][a-z0-9._-]{0,62}"
_VALUE_PATTERN = "[a-z][a-z0-9_]{0,62}"
_FULL_COMMIT = "[0-9a-f]{40}"
_PATTERNS = {
    _NAME_PATTERN: "a name: lower-case letters, digits, dots, dashes and underscores, at most 63, "
    "beginning with a letter or digit",
    _VALUE_PATTERN: "a name of a value: lower-case letters, digits and underscores, at most 63, beginning with a letter",
    HOST_FORM: "a host in lower case, like example.org, example.org:8443 or *.example.org",
    _FULL_COMMIT: "a full commit id of 40 hexadecimal digits; `git rev-parse REVISION` prints it",
}


def validate(located: Located, model: type[M]) -> M:
    """Return the model that located plain values describe.

    Args:
        located: what `load_yaml` returned.
        model: what it should be.

    Raises:
        ConfigError: one error that lists everything wrong, each with file, line and what may stand there.
    """
    try:
        return model.model_validate(located.value)
    except ValidationError as error:
        details = [detail for detail in error.errors(include_url=False) if not _is_echo(located, model, detail)]
        raise SpecError([_complaint(located, model, detail) for detail in details]) from None


def _is_echo(located: Located, model: type[BaseModel], detail: ErrorDetails) -> bool:
    """Tell whether a list is called too short only because its items, which have complaints of their own, are wrong."""
    return detail["type"] == "too_short" and bool(located.at(_real_path(located, detail["loc"], model)))


def _complaint(located: Located, model: type[BaseModel], detail: ErrorDetails) -> Complaint:
    kind, context = detail["type"], detail.get("ctx", {})
    path = _real_path(located, detail["loc"], model)
    key = _dotted(path)
    before = f"{key}: " if key else ""
    where = located.where(path)
    if kind == "extra_forbidden":
        known = [name for one in _models_at(model, detail["loc"][:-1]) for name in one.model_fields]
        holder = _dotted(path[:-1])
        what = f"unknown key `{path[-1]}`" + (f" in {holder}" if holder else "")
        return Complaint(what=what, where=where, hint=choose_from(str(path[-1]), known))
    if kind == "missing":
        return Complaint(what=f"{before}missing", where=located.where(path[:-1]), hint=_meaning(model, detail["loc"]))
    value = _as_written(located, path)
    what, hint = _sentence(kind, context, value, _bound_format(model, detail["loc"]))
    if kind == "value_error":
        what = str(context.get("error", detail["msg"]))
    elif kind not in _KNOWN:
        what = f"{value}: {detail['msg'][:1].lower()}{detail['msg'][1:]}" if kind != "source_kind" else detail["msg"]
    return Complaint(what=before + what, where=where, hint=hint)


def _sentence(kind: str, context: Mapping[str, Any], value: str, show: Callable[[float], str]) -> tuple[str, str]:
    if kind in _WANTED:
        hint = (
            "write it in quotes" if kind == "string_type" else f"write [{value[1:-1]}]" if kind == "tuple_type" else ""
        )
        return f"{value} is not {_WANTED[kind]}", hint if value.startswith("`") else ""
    if kind in _BOUNDS:
        name, size, words = _BOUNDS[kind]
        return f"{value} is {size}; it must be {words} {show(context[name])}", ""
    match kind:
        case "literal_error":
            choices = [choice.strip("'") for choice in str(context["expected"]).replace(" or ", ", ").split(", ")]
            return f"{value} is not one of the choices", choose_from(value.strip("`"), choices)
        case "string_pattern_mismatch":
            pattern = str(context["pattern"]).removeprefix("^").removesuffix("$")
            return f"{value} is not {_PATTERNS.get(pattern, f'of the form {pattern}')}", ""
        case "string_too_short" | "too_short":
            return "it is empty; at least one is needed" if kind == "too_short" else "it is empty", ""
        case _:
            return "", ""


_KNOWN = {*_WANTED, *_BOUNDS, "literal_error", "string_pattern_mismatch", "string_too_short", "too_short"}


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in path)


def _as_written(located: Located, path: KeyPath) -> str:
    """Return a value for a message: as it stands in the file, shortened, or in words if it is no scalar."""
    value = located.at(path)
    text = located.texts.get(path) if path not in located.origins else None
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    shown = str(value) if text is None else text
    return f"`{shorten(shown)}`"


def _real_path(located: Located, loc: tuple[int | str, ...], model: type[BaseModel]) -> KeyPath:
    """Return the keys in the file for pydantic's location, which also names union members and `[key]`."""
    names = {one.__name__ for one in models_within(model)}
    path: KeyPath = ()
    for part in loc:
        if part == "[key]" or (part in names and not located.holds((*path, part))):
            continue
        path = (*path, part)
    return path


def models_within(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Return every model that a model's fields mention, at any depth."""
    found: set[type[BaseModel]] = set()
    waiting = [model]
    while waiting:
        for info in waiting.pop().model_fields.values():
            new = set(_models_in(info.annotation)) - found
            found |= new
            waiting += new
    return found


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models an annotation mentions, through unions, lists and mappings."""
    if isinstance(annotation, type) and typing.get_origin(annotation) is None and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _models_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """Return the models that may stand at a location; a union member named in it decides."""
    found = [model]
    for part in loc:
        named = [one for one in found if one.__name__ == part]
        fields = [one.model_fields[str(part)].annotation for one in found if part in one.model_fields]
        found = named or [inner for annotation in fields for inner in _models_in(annotation)] or found
    return found


def _meaning(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    for one in _models_at(model, loc[:-1]):
        info = one.model_fields.get(str(loc[-1]))
        if info is not None and info.description:
            return f"`{loc[-1]}` is needed: {info.description}"
    return f"`{loc[-1]}` is needed"


def _bound_format(model: type[BaseModel], loc: tuple[int | str, ...]) -> Callable[[float], str]:
    """Return how to write a bound of the field at a location: as a size, a duration or a number."""
    for one in _models_at(model, loc[:-1]):
        info = one.model_fields.get(str(loc[-1])) if loc else None
        match unit_of(annotation_of(info)) if info is not None else None:
            case "size":
                return show_bytes
            case "duration":
                return show_seconds
            case None:
                continue
    return lambda bound: f"{bound:g}" if isinstance(bound, float) else str(bound)


def annotation_of(info: FieldInfo) -> object:
    """Return a field's annotation with its metadata, which pydantic keeps apart."""
    return Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation


def unit_of(annotation: object) -> Literal["size", "duration"] | None:
    """Tell whether values of an annotation are written with a unit, and of which kind."""
    if _parsed_by(annotation, parse_bytes):
        return "size"
    return "duration" if _parsed_by(annotation, parse_seconds) else None


def _parsed_by(annotation: object, parser: Callable[[object], object]) -> bool:
    metadata = getattr(annotation, "__metadata__", ())
    if any(isinstance(item, BeforeValidator) and item.func is parser for item in metadata):
        return True
    return any(_parsed_by(argument, parser) for argument in typing.get_args(annotation))
