"""Render, from the models, the reference of everything a user may write in YAML."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from runner.spec.judging import Check, CheckLimits, Entity, EntityField, Relation, Start
from runner.spec.model import Model
from runner.spec.models import (
    Cell,
    Experiment,
    Framework,
    GitSource,
    Limits,
    LimitsPatch,
    LocalSource,
    NpmSource,
    PypiSource,
    SmokeTest,
)
from runner.spec.overrides import ENDPOINTS, VARIABLES
from runner.spec.recipes import PLACEHOLDERS
from runner.spec.scenario import (
    Approval,
    CannedAnswer,
    ForEach,
    Input,
    ModelCall,
    Output,
    Program,
    Retry,
    Scenario,
    Step,
    Workflow,
    WorkflowInput,
    WorkflowOutput,
)
from runner.spec.site import Share, Site, Sources
from runner.spec.units import show_bytes, show_seconds
from runner.spec.validate import annotation_of, unit_of

_SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("Experiment", "`config/experiments/<name>.yaml`", Experiment),
    ("limits", "in an experiment", Limits),
    ("model", "in an experiment", Model),
    ("include, exclude", "each item, in an experiment", Cell),
    ("Scenario", "`config/scenarios/<name>.yaml`", Scenario),
    ("steps", "each item, in a scenario or a workflow", Step),
    ("inputs", "each by its name, in a step", Input),
    ("outputs", "each by its name, in a step", Output),
    ("check", "in a step", Program),
    ("model of a step", "in a step", ModelCall),
    ("approval", "in a step", Approval),
    ("for_each", "in a step", ForEach),
    ("retry", "in a step", Retry),
    ("answers", "each item, in a scenario or a step", CannedAnswer),
    ("checks", "each item, in a scenario", Check),
    ("start", "in a check", Start),
    ("entities", "each item, in a check", Entity),
    ("fields", "each by its name, in an entity", EntityField),
    ("relations", "each by its name, in an entity", Relation),
    ("limits of a check", "in a check", CheckLimits),
    ("Workflow", "`config/workflows/<name>.yaml`", Workflow),
    ("inputs of a workflow", "each by its name", WorkflowInput),
    ("outputs of a workflow", "each by its name", WorkflowOutput),
    ("Framework", "`images/<name>/framework.yaml`", Framework),
    ("source: pypi", "in a framework", PypiSource),
    ("source: npm", "in a framework", NpmSource),
    ("source: git", "in a framework", GitSource),
    ("source: path", "in a framework", LocalSource),
    ("smoke_test", "in a framework", SmokeTest),
    ("limits of a framework or step", "what is absent stays as the experiment has it", LimitsPatch),
    ("Site", "`/etc/codegen-runner/site.yaml`, for all users of a machine", Site),
    ("per_user, users", "in the site's file; under `users` each by its login name", Share),
    ("sources", "in the site's file", Sources),
)
_WORDS: dict[object, str] = {str: "text", int: "whole number", float: "number", bool: "true or false"}

_SETTINGS = {
    "RUNNER_SITE": "file with the rules of this machine, instead of `/etc/codegen-runner/site.yaml`; it has to be there",
    "RUNNER_CACHE": "folder of fetched artifacts and records of images; by default `codegen-runner` in `$XDG_CACHE_HOME`, "
    "else in `~/.cache`",
    "RUNNER_DEBIAN_MIRROR": "addresses of a Debian mirror, separated by spaces, that packages of images are locked and "
    "fetched from; by default this machine's apt sources",
    "RUNNER_DEBIAN_SNAPSHOT": "addresses of an archive of past states of Debian, separated by spaces, with `@SNAPSHOTID@` "
    "in the place of the date; for packages that the mirror has dropped",
    "RUNNER_GATEWAY_TOKEN": "token of `runner gateway serve`, 16 characters or more; by default a random one",
}
"""Variables that replace no key of a file, and what they say."""

_INTRODUCTION = """\
# Configuration

Everything is YAML in UTF-8. Unknown keys and repeated keys are refused. Sizes are written like `512MiB` (B, KiB, MiB,
GiB, TiB; KB, MB, GB, TB are powers of 1000; a bare number is bytes), durations like `10m` (ms, s, m, h, d; a bare
number is seconds).

A value comes from, a later one winning: the built-in default, the file, the environment, a flag of the command.
`runner plan --explain` shows each value with its source.
"""


def configuration_reference() -> str:
    """Return the reference as Markdown, for docs/reference/configuration.md."""
    parts = [_INTRODUCTION]
    parts += [_section(title, place, model) for title, place, model in _SECTIONS]
    parts += [_variables(), _placeholders()]
    return "\n".join(parts)


def _section(title: str, place: str, model: type[BaseModel]) -> str:
    summary = (model.__doc__ or "").strip().split("\n")[0]
    rows = [_row(name, info) for name, info in model.model_fields.items()]
    return "\n".join([f"## {title}\n", f"{summary} ({place})\n", *_table("Key | Type | Default | Meaning", rows)])


def _variables() -> str:
    rows = [f"`{name}` | `{key}`" for name, key in VARIABLES.items()]
    rows += [
        f"`{name}` | `model.base_url`, where the provider is {provider} and the file names none"
        for provider, name in ENDPOINTS.items()
    ]
    further = [f"`{name}` | {meaning}" for name, meaning in _SETTINGS.items()]
    return "\n".join(["## Environment\n", "An empty variable counts as absent. Lists are separated by commas.\n",
                      *_table("Variable | Replaces", rows), "These replace no key:\n",
                      *_table("Variable | Meaning", further)])  # fmt: skip


def _placeholders() -> str:
    rows = [f"`{{{name}}}` | {meaning}" for name, meaning in PLACEHOLDERS.items()]
    note = "In an argument of a framework's `command`; `{{` and `}}` are literal braces.\n"
    return "\n".join(["## Placeholders\n", note, *_table("Placeholder | Replaced by", rows)])


def _table(head: str, rows: list[str]) -> Iterator[str]:
    yield f"| {head} |"
    yield "|" + " --- |" * (head.count("|") + 1)
    yield from (f"| {row} |" for row in rows)
    yield ""


def _row(name: str, info: FieldInfo) -> str:
    return f"`{name}` | {_type(annotation_of(info))} | {_default(info)} | {_cell(info.description or '')}"


def _cell(text: str) -> str:
    """Return text for a cell of a Markdown table, in which angle brackets and bars mean something else."""
    return text.replace("<", "&lt;").replace("|", "\\|")


def _type(annotation: object) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    unit = unit_of(annotation)
    if unit is not None:
        words: str = unit
    elif origin is Literal:
        words = " or ".join(f"`{choice}`" for choice in arguments)
    elif annotation is JsonValue:
        words = "any value"
    elif origin is dict:
        words = "mapping of text to text" if arguments[1] is str else "mapping of names to mappings"
    elif origin is tuple:
        inner = _type(arguments[0])
        words = f"list of {inner}s" if inner.isalpha() else f"list of {inner}"
    elif origin is Annotated:
        words = _type(arguments[0])
    elif arguments:
        words = " or ".join(dict.fromkeys(_type(one) for one in arguments if one is not type(None)))
    else:
        words = _WORDS.get(annotation, "mapping")
    return words


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "needed"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), "", {}) or isinstance(value, BaseModel):
        return "none"
    unit = unit_of(annotation_of(info))
    if unit is None:
        return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"
    return f"`{show_bytes(value) if unit == 'size' else show_seconds(value)}`"
