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
from runner.spec.hints import choice_hint, list_hint, mapping_hint, number_hint
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
    "date_type": "a date",
    "date_parsing": "a date",
    "date_from_datetime_parsing": "a date",
    "date_from_datetime_inexact": "a date",
}
_ALWAYS = {"a date": "write a day, like 2026-01-31", "true or false": "write true or false"}
"""What to write instead, where nothing but what is wanted decides it."""
_BOUNDS = {
    "greater_than": ("gt", "too small", "more than"),
    "greater_than_equal": ("ge", "too small", "at least"),
    "less_than": ("lt", "too large", "less than"),
    "less_than_equal": ("le", "too large", "at most"),
}
_NOTHING = "nothing"
"""How a key without a value is shown."""
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
    value, loc = _as_written(located, path), detail["loc"]
    what = _sentence(kind, context, value, _bound_format(model, loc))
    hint = _hint(located, model, detail, path)
    if kind == "value_error":
        what = str(context.get("error", detail["msg"]))
        hint = getattr(context.get("error"), "hint", "")
    elif kind not in _KNOWN:
        what = f"{value}: {detail['msg'][:1].lower()}{detail['msg'][1:]}" if kind != "source_kind" else detail["msg"]
    return Complaint(what=before + what, where=where, hint=hint)


def _sentence(kind: str, context: Mapping[str, Any], value: str, show: Callable[[float], str]) -> str:
    if kind in _WANTED:
        return f"it has no value; {_WANTED[kind]} is needed" if value == _NOTHING else f"{value} is not {_WANTED[kind]}"
    if kind in _BOUNDS:
        name, size, words = _BOUNDS[kind]
        return f"{value} is {size}; it must be {words} {show(context[name])}"
    match kind:
        case "literal_error":
            return "it has no value" if value == _NOTHING else f"{value} is not one of the choices"
        case "string_pattern_mismatch":
            pattern = str(context["pattern"]).removeprefix("^").removesuffix("$")
            return f"{value} is not {_PATTERNS.get(pattern, f'of the form {pattern}')}"
        case "string_too_short" | "too_short":
            return "it is empty; at least one is needed" if kind == "too_short" else "it is empty"
        case _:
            return ""


def _hint(located: Located, model: type[BaseModel], detail: ErrorDetails, path: KeyPath) -> str:
    """Return what to write instead of a value."""
    kind, loc, value = detail["type"], detail["loc"], located.at(path)
    info, context, hint = _field(model, loc), detail.get("ctx", {}), _ALWAYS.get(_WANTED.get(kind, ""), "")
    key = path[-1] if path and isinstance(path[-1], str) else ""
    match _WANTED.get(kind, kind):
        case "text" if value is not None and not isinstance(value, (list, Mapping)):
            hint = "write it in quotes"
        case "a list":
            hint = list_hint(value, key, _models_at(model, loc[:-1]), _inner(info))
        case "a mapping of keys to values":
            hint = mapping_hint(value, key, _models_at(model, loc) if kind != "dict_type" else [])
        case "a whole number" | "a number" as wanted:
            spare = value is None and info is not None and not info.is_required()
            hint = number_hint(info, whole=wanted == "a whole number") + ", or leave the key out" * spare
        case "literal_error":
            choices = [choice.strip("'") for choice in str(context["expected"]).replace(" or ", ", ").split(", ")]
            written = _as_written(located, path).strip("`")
            hint = choice_hint(written, info) + choose_from(written, choices)
        case "greater_than_equal":
            hint = f"write {_bound_format(model, loc)(context['ge'])} or more"
        case "less_than_equal":
            hint = f"write {_bound_format(model, loc)(context['le'])} or less"
        case "too_short":
            hint = _example(info, key)
    return hint


def _field(model: type[BaseModel], loc: tuple[int | str, ...]) -> FieldInfo | None:
    """Return the field at a location, if it is one."""
    name = str(loc[-1]) if loc else ""
    return next((one.model_fields[name] for one in _models_at(model, loc[:-1]) if name in one.model_fields), None)


def _inner(info: FieldInfo | None) -> list[type[BaseModel]]:
    """Return the models that a field's annotation mentions."""
    return list(_models_in(info.annotation)) if info is not None else []


def _example(info: FieldInfo | None, key: str) -> str:
    """Return what to do about a list with nothing in it, by what it is for."""
    meaning = info.description.rstrip(".") if info is not None and info.description else ""
    return f"write {key}: [...]; {meaning[:1].lower()}{meaning[1:]}" if meaning else ""


_KNOWN = {*_WANTED, *_BOUNDS, "literal_error", "string_pattern_mismatch", "string_too_short", "too_short"}


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in path)


def _as_written(located: Located, path: KeyPath) -> str:
    """Return a value for a message: as it stands in the file, shortened, or in words if it is no scalar."""
    value = located.at(path)
    text = located.texts.get(path) if path not in located.origins else None
    if value is None:
        return _NOTHING
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
