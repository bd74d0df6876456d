"""What the user writes of a check: how a workspace is judged after a step, apart from the run that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, StringConstraints, model_validator

from runner.spec.base import LARGEST, LONGEST, Name, PathText, Spec
from runner.spec.units import Bytes, Number, Seconds, Whole

CheckKind = Literal["application", "imports", "tests", "static", "program"]
"""application: start it and call it; imports: import each module; tests: its own tests; static: ruff, bandit, radon;
program: a program of the scenario's author."""
FieldType = Literal["text", "integer", "number", "boolean", "date", "datetime", "email", "list", "object"]

Attribute = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]
"""Name of a field as it stands in requests and answers."""
UrlPath = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
"""Path of a URL, from its first slash; `{id}` and `{other}` in it stand for identifiers."""

ALL, LAST = "all", "last"
"""What `after` may say besides ids of steps."""


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


After = Annotated[tuple[Name, ...], BeforeValidator(_listed, json_schema_input_type=Name | list[Name])]
"""Steps after which something happens; a single one may stand without brackets."""

_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "application": ("start", "health", "entities", "persistence"),
    "program": ("command", "script", "script_file"),
}
"""Keys that belong to one kind of check only."""


class Start(Spec):
    """How the application is started, where that is not left to detection."""

    command: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Program and arguments, run in the workspace; `{port}` is replaced. By default it is found by the rules of detection.",
    )
    folder: PathText = Field(".", description="Folder below the workspace where it is run.")
    port: Whole | None = Field(
        None, ge=1024, le=65535, description="Port it listens on; by default the one it is told, or is found to use."
    )
    timeout: Seconds = Field(30.0, gt=0, le=LONGEST, description="Wall time from its start to its first good answer.")


class EntityField(Spec):
    """A field of an entity, with values that an application has to take and to refuse."""

    type: FieldType = Field("text", description="What it holds.")
    examples: tuple[JsonValue, ...] = Field(
        (), description="Values that have to be taken, in the order of their use; made from the seed when they run out."
    )
    invalid: tuple[JsonValue, ...] = Field((), description="Values that have to be refused.")
    required: bool = Field(True, description="Whether an entity without it has to be refused.")
    unique: bool = Field(False, description="Whether a second entity with the same value has to be refused.")
    since: Name | None = Field(None, description="Step from which it is expected; by default from the entity's.")


class Relation(Spec):
    """What an entity has to do with another: a field with the other's identifier, or a path that joins the two."""

    to: Name = Field(description="The other entity.")
    field: Attribute | None = Field(None, description="Field that holds the other's identifier.")
    path: UrlPath | None = Field(
        None, description="Path that joins the two, like `/students/{id}/courses/{other}`; DELETE there parts them."
    )
    method: Literal["POST", "PUT"] = Field("PUT", description="Method that joins them at `path`.")
    listed_at: UrlPath | None = Field(
        None, description="Path that lists the others of one, like `/students/{id}/courses`."
    )
    since: Name | None = Field(None, description="Step from which it is expected; by default from the entity's.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.field is None) == (self.path is None):
            raise ValueError("a relation has exactly one of field, path")
        return self


class Entity(Spec):
    """A kind of thing that the application keeps: created, read, changed and deleted in the check."""

    name: Name = Field(description="Name of the entity, in the singular.")
    path: UrlPath | None = Field(
        None, description="Path of all of them, like `/students`; one is below it. By default found from the name."
    )
    identifier: Attribute = Field("id", description="Field that holds the identifier in answers.")
    fields: dict[Attribute, EntityField] = Field(default_factory=dict, description="Its fields, by name.")
    relations: dict[Attribute, Relation] = Field(default_factory=dict, description="Its relations, by name.")
    since: Name | None = Field(None, description="Step from which it is expected; by default from the first.")


class CheckLimits(Spec):
    """Limits of one check's container; no time of it counts as the framework's."""

    timeout: Seconds = Field(300.0, gt=0, le=LONGEST, description="Wall time of the check.")
    cpus: Number = Field(1.0, gt=0, le=1024, description="CPU cores.")
    memory: Bytes = Field(1024**3, ge=64 * 1024**2, le=LARGEST, description="Memory, page cache included.")
    pids: Whole = Field(256, ge=16, le=4_194_304, description="Processes and threads at once.")
    tmp: Bytes = Field(128 * 1024**2, ge=1024**2, le=LARGEST, description="Size of /tmp, held in memory.")
    workspace: Bytes = Field(
        4 * 1024**3, ge=1024**2, le=LARGEST, description="Size of the copy it judges, and of what it writes there."
    )
    log: Bytes = Field(1024**2, ge=4096, le=LARGEST, description="Kept output per stream.")


class Check(Spec):
    """One way to judge what a framework built, each time in a clean container on a copy of the workspace."""

    id: Name = Field(description="Name of the check, unique in its scenario.")
    title: str = Field("", description="What it judges, in a few words.")
    kind: CheckKind = Field(
        description="`application`: start it, call it, restart it; `imports`: import each module; `tests`: its own tests; "
        "`static`: ruff, bandit and radon; `program`: a program of yours."
    )
    after: After = Field(
        ("last",), min_length=1, description="Steps after which it judges: a list of ids, one id, `all`, or `last`."
    )
    required: bool = Field(
        False, description="Whether a failed assertion fails the run; by default it is only measured."
    )
    limits: CheckLimits = Field(default_factory=CheckLimits, description="Limits of its container.")
    start: Start = Field(default_factory=Start, description="Of an application: how it is started.")
    health: tuple[UrlPath, ...] = Field(
        (), description="Of an application: paths of which one has to answer before it is called; by default any path."
    )
    entities: tuple[Entity, ...] = Field((), description="Of an application: what it keeps.")
    persistence: bool = Field(True, description="Of an application: whether what it keeps has to outlive a restart.")
    command: tuple[str, ...] | None = Field(None, min_length=1, description="Of a program: it and its arguments.")
    script: str | None = Field(
        None,
        min_length=1,
        description="Of a program: text of a script, run by what its `#!` line names, else by `sh -eu`.",
    )
    script_file: PathText | None = Field(
        None, description="Of a program: file with the script, relative to the scenario's file."
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for kind, keys in _OF_KIND.items():
            # By value, not by what was written: a planned check is read back with every key.
            strange = [key for key in keys if getattr(self, key) != _default(key)]
            if kind != self.kind and strange:
                raise ValueError(f"`{strange[0]}` belongs to checks of kind {kind}; this one is of kind {self.kind}")
        given = [key for key in _OF_KIND["program"] if getattr(self, key) is not None]
        if self.kind == "program" and len(given) != 1:
            found = f"it has {' and '.join(given)}" if given else "it has none of them"
            raise ValueError(f"a check of kind program has exactly one of command, script, script_file; {found}")
        return self


def _default(key: str) -> object:
    return Check.model_fields[key].get_default(call_default_factory=True, validated_data={})
