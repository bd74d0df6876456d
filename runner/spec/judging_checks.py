"""Check what a scenario says of its checks, beyond the type of each field: names, paths, programs."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from runner.spec.complaints import Complaint, choose_from
from runner.spec.judging import ALL, LAST, Check, Entity, Relation, Start
from runner.spec.kinds import default_workspace
from runner.spec.located import KeyPath, Located
from runner.spec.scenario import Scenario, Step

_PATH = re.compile(r"/[!$&-;=@-Z_a-z~{}%]*")
"""Characters of a path by RFC 3986, section 3.3, and the braces of placeholders."""


def check_judging(scenario: Scenario, located: Located) -> Iterator[Complaint]:
    """Yield what is wrong with a scenario's checks.

    Args:
        scenario: the scenario.
        located: where it was written.
    """
    steps = {step.id: step for step in scenario.steps}
    first: dict[str, int] = {}
    for number, check in enumerate(scenario.checks):
        path: KeyPath = ("checks", number)
        if check.id in first:
            yield Complaint(
                what=f"the check id `{check.id}` stands here again",
                where=located.where((*path, "id")),
                why=f"the first is at {located.where(('checks', first[check.id], 'id'))}",
                hint="give each check its own id",
            )
        first.setdefault(check.id, number)
        yield from _check_after(check, path, steps, located)
        yield from _check_start(check.start, (*path, "start"), located)
        for place, url in enumerate(check.health):
            yield from _check_url(url, (*path, "health", place), located)
        yield from _check_entities(check.entities, path, steps, located)


def _check_after(check: Check, path: KeyPath, steps: Mapping[str, Step], located: Located) -> Iterator[Complaint]:
    listed = isinstance(located.at((*path, "after")), list)
    for place, name in enumerate(check.after):
        where = located.where((*path, "after", place) if listed else (*path, "after"))
        if name in (ALL, LAST) and name not in steps:
            if len(check.after) > 1:
                yield Complaint(what=f"after: `{name}` stands beside other steps", where=where, hint="write it alone")
        elif name in (ALL, LAST):
            yield Complaint(
                what=f"after: `{name}` is the id of a step, too",
                where=where,
                hint="it could mean either; give the step another id",
            )
        elif name in check.after[:place]:
            yield Complaint(what=f"after: `{name}` stands here again", where=where, hint="remove one of them")
        else:
            yield from _check_step("after", name, where, steps)
            step = steps.get(name)
            if step is not None and step.workflow is None and _workspace(step) == "none":
                what = f"after: the step `{name}` has no workspace to judge"
                yield Complaint(what=what, where=where, hint="name the step that left it")


def _workspace(step: Step) -> str:
    return step.workspace or default_workspace(step.kind)


def _check_step(key: str, name: str, where: str, steps: Mapping[str, Step]) -> Iterator[Complaint]:
    """Yield a complaint if a name is that of no step that takes part."""
    known = [one.id for one in steps.values() if one.enabled]
    if name not in steps:
        hint = choose_from(name, [*known, ALL, LAST] if key == "after" else known)
        yield Complaint(what=f"{key}: there is no step `{name}`", where=where, hint=hint)
    elif not steps[name].enabled:
        yield Complaint(what=f"{key}: the step `{name}` is disabled", where=where, hint="enable it, or name another")


def _check_start(start: Start, path: KeyPath, located: Located) -> Iterator[Complaint]:
    for number, argument in enumerate(start.command or ()):
        where = located.where((*path, "command", number))
        try:
            names = {name for _, name, _, _ in string.Formatter().parse(argument) if name is not None}
        except ValueError:
            names = {""}
        if names - {"port"}:
            what = f"start.command: `{argument}` has braces around what is no placeholder"
            yield Complaint(what=what, where=where, hint="write {port}; write {{ and }} for braces")
    pure = PurePosixPath(start.folder)
    if pure.is_absolute() or ".." in pure.parts:
        what = f"start.folder: `{start.folder}` leaves the workspace"
        yield Complaint(what=what, where=located.where((*path, "folder")), hint="write it relative to the workspace")


def _check_url(url: str, path: KeyPath, located: Located, placeholders: Iterable[str] = ()) -> Iterator[Complaint]:
    """Yield a complaint if a text is no path of a URL, or has other placeholders than it may have."""
    where, key = located.where(path), next(str(part) for part in reversed(path) if isinstance(part, str))
    if not _PATH.fullmatch(url) or url.startswith("//") or {".", ".."} & {*url.split("/")}:
        yield Complaint(
            what=f"{key}: `{url}` is no path of a URL",
            where=where,
            hint="write what comes after host and port, from its slash, without ? and #, like /students",
        )
        return
    allowed = sorted(placeholders)
    named = set(re.findall(r"\{([^{}]*)\}", url))
    rest = re.sub(r"\{[^{}]*\}", "", url)
    if named - {*allowed} or "{" in rest or "}" in rest:
        may = " and ".join(f"{{{one}}}" for one in allowed)
        hint = f"only {may} may stand in braces there" if may else "no placeholder may stand there"
        yield Complaint(what=f"{key}: `{url}` has braces around what is no placeholder", where=where, hint=hint)


def _check_entities(
    entities: tuple[Entity, ...], path: KeyPath, steps: Mapping[str, Step], located: Located
) -> Iterator[Complaint]:
    names = [entity.name for entity in entities]
    for number, entity in enumerate(entities):
        own: KeyPath = (*path, "entities", number)
        if entity.name in names[:number]:
            what = f"the entity `{entity.name}` stands here again"
            yield Complaint(what=what, where=located.where((*own, "name")), hint="put its fields together")
        if entity.path is not None:
            yield from _check_url(entity.path, (*own, "path"), located)
        yield from _check_since(entity.since, own, steps, located)
        for name, field in entity.fields.items():
            yield from _check_since(field.since, (*own, "fields", name), steps, located)
        for name, relation in entity.relations.items():
            yield from _check_relation(entity, relation, (*own, "relations", name), names, located)
            yield from _check_since(relation.since, (*own, "relations", name), steps, located)


def _check_since(since: str | None, path: KeyPath, steps: Mapping[str, Step], located: Located) -> Iterator[Complaint]:
    if since is not None:
        yield from _check_step("since", since, located.where((*path, "since")), steps)


def _check_relation(
    entity: Entity, relation: Relation, path: KeyPath, names: list[str], located: Located
) -> Iterator[Complaint]:
    if relation.to not in names:
        what = f"to: there is no entity `{relation.to}`"
        yield Complaint(what=what, where=located.where((*path, "to")), hint=choose_from(relation.to, {*names}))
    if relation.field is not None and relation.field not in entity.fields and relation.field == entity.identifier:
        what = f"field: `{relation.field}` is the identifier of `{entity.name}` itself"
        yield Complaint(
            what=what, where=located.where((*path, "field")), hint=f"name the field that holds {relation.to}'s"
        )
    if relation.path is not None:
        found = list(_check_url(relation.path, (*path, "path"), located, ("id", "other")))
        yield from found
        missing = [one for one in ("{id}", "{other}") if one not in relation.path]
        if missing and not found:
            what = f"path: `{relation.path}` has no {missing[0]}"
            hint = "{id} is the one entity, {other} the other, like /students/{id}/courses/{other}"
            yield Complaint(what=what, where=located.where((*path, "path")), hint=hint)
    if relation.listed_at is not None:
        yield from _check_url(relation.listed_at, (*path, "listed_at"), located, ("id", "other"))
