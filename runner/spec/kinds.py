"""Check that each step is of one kind, and says nothing that has no meaning for that kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from runner.spec.complaints import Complaint, choose_from
from runner.spec.page import Page
from runner.spec.recipes import check_argument
from runner.spec.scenario import Kind, Program, Step, WorkspaceMode

_DEEDS = ("prompt", "prompt_file", "command", "script", "script_file", "check", "model", "workflow", "approval")
"""Keys of which a step has exactly one."""
_ALWAYS = {
    *("id", "title", "enabled", "depends_on", "parallel_group", "inputs", "when", "for_each", "repeat"),
    *_DEEDS,
}
_ENDS = {"continue_on_failure"}
_TRIES = {"timeout", "retry", *_ENDS}
_CONTAINER = {"outputs", "workspace", "image", "stdin", "limits", "network", "allow", *_TRIES}
_FITTING: Mapping[Kind, set[str]] = {
    "prompt": {"expect_changes", "answers", *_CONTAINER},
    "command": {"expect_changes", "answers", *_CONTAINER},
    "check": _CONTAINER,
    "model": {"workspace", *_TRIES},
    "workflow": {"limits", "answers"},
    "approval": _ENDS,
}
"""Keys that have a meaning, by kind, besides those that always have one."""
_WORKSPACES: Mapping[Kind, tuple[WorkspaceMode, ...]] = {
    "prompt": ("own", "shared", "read-only", "none"),
    "command": ("own", "shared", "read-only", "none"),
    "check": ("read-only", "none"),
    "model": ("none", "read-only"),
    "workflow": (),
    "approval": ("none",),
}
"""Choices for the workspace by kind, the one that is taken by default first."""
_INSTEAD: Mapping[tuple[Kind, str], str] = {
    ("model", "outputs"): "name the answer with model.output and model.type",
    ("model", "limits"): "write `timeout` for the time it may take",
    ("model", "answers"): "only a framework asks questions",
    ("check", "answers"): "only a framework asks questions",
    ("check", "expect_changes"): "a check cannot change the workspace",
    ("workflow", "outputs"): "the workflow's own file says what it gives",
    ("approval", "timeout"): "write it below `approval`",
}
_AN = {"approval": "an approval"}


def check_kinds(page: Page) -> Iterator[Complaint]:
    """Yield what is wrong with what each step is."""
    for number, step in enumerate(page.steps):
        given = [key for key in _DEEDS if _says(step, key)]
        if len(given) == 1:
            yield from _check_fitting(page, number, step)
            yield from _check_workspace(page, number, step)
            yield from _check_program(page, number, step)
            yield from _check_paths(page, number, step)
        else:
            yield _unclear(page, number, step, given)
        if step.image is not None and step.image not in page.recipes:
            what, hint = f"image: there is no recipe `{step.image}`", choose_from(step.image, page.recipes)
            yield Complaint(what=what, where=page.where(number, "image"), hint=hint)
        if step.for_each is not None and step.repeat is not None:
            where = page.where(number, "repeat")
            hint = "repeat a step as often as its list has items, or a fixed number of times"
            yield Complaint(what=f"the step `{step.id}` has both for_each and repeat", where=where, hint=hint)


def default_workspace(kind: Kind) -> WorkspaceMode:
    """Return what a step that says nothing sees of the workspace; a workflow's own steps decide for themselves."""
    return next(iter(_WORKSPACES[kind]), "own")


def _says(step: Step, key: str) -> bool:
    return key in step.model_fields_set and getattr(step, key) is not None


def _unclear(page: Page, number: int, step: Step, given: list[str]) -> Complaint:
    if not given:
        what, hint = f"the step `{step.id}` says nothing that is to be done", f"write one of: {', '.join(_DEEDS)}"
        return Complaint(what=what, where=page.where(number), hint=hint)
    listed = f"both {given[0]} and {given[1]}" if given[2:] == [] else f"{', '.join(given[:-1])} and {given[-1]}"
    what = f"the step `{step.id}` has {listed}"
    return Complaint(what=what, where=page.where(number), hint="write exactly one of them")


def _check_fitting(page: Page, number: int, step: Step) -> Iterator[Complaint]:
    fitting = _ALWAYS | _FITTING[step.kind]
    for key in type(step).model_fields:
        if key in fitting or not _says(step, key):
            continue
        sort = _AN.get(step.kind, f"a {step.kind}")
        hint = _INSTEAD.get((step.kind, key), "")
        if not hint:
            hint = "say it at the steps of the workflow" if step.kind == "workflow" else "leave it out"
        yield Complaint(what=f"{key}: it has no meaning for {sort} step", where=page.where(number, key), hint=hint)


def _check_workspace(page: Page, number: int, step: Step) -> Iterator[Complaint]:
    choices = _WORKSPACES[step.kind]
    if step.workspace is not None and choices and step.workspace not in choices:
        yield Complaint(
            what=f"workspace: `{step.workspace}` is not for a {step.kind} step",
            where=page.where(number, "workspace"),
            hint=f"choose from: {', '.join(choices)}",
        )
    mode = step.workspace or default_workspace(step.kind)
    if step.expect_changes and mode in {"read-only", "none"} and "expect_changes" in _FITTING[step.kind]:
        what = f"expect_changes: the step `{step.id}` cannot change the workspace"
        hint = f"its workspace is {mode}; leave one of them out"
        yield Complaint(what=what, where=page.where(number, "expect_changes"), hint=hint)


def _check_program(page: Page, number: int, step: Step) -> Iterator[Complaint]:
    program: Program | Step = step.check or step
    before = ("check",) if step.check is not None else ()
    for place, argument in enumerate(program.command or ()):
        where = page.where(number, *before, "command", place)
        yield from check_argument(argument, where)
        if "\0" in argument:
            hint = "no program can be given it; remove it"
            yield Complaint(what="command: an argument holds a NUL character", where=where, hint=hint)


def _check_paths(page: Page, number: int, step: Step) -> Iterator[Complaint]:
    """Yield a complaint for each path that leaves its folder, or whose folder the step does not have."""
    for name, given in step.inputs.items():
        if given.workspace is not None:
            yield from _check_path(given.workspace, page.where(number, "inputs", name, "workspace"))
            yield from _check_sees(step, f"the input `{name}`", page.where(number, "inputs", name, "workspace"))
    for name, output in step.outputs.items():
        for key in ("file", "workspace"):
            path = getattr(output, key)
            if path is not None:
                yield from _check_path(path, page.where(number, "outputs", name, key))
        if output.workspace is not None:
            yield from _check_sees(step, f"the output `{name}`", page.where(number, "outputs", name, "workspace"))


def _check_path(path: str, where: str) -> Iterator[Complaint]:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or path.endswith("/") or "\0" in path:
        hint = "write it like report/summary.json, relative, without `..`"
        yield Complaint(what=f"`{path}` is no path of a file inside its folder", where=where, hint=hint)


def _check_sees(step: Step, what: str, where: str) -> Iterator[Complaint]:
    mode = step.workspace or default_workspace(step.kind)
    if mode == "none" and step.kind != "workflow":
        can = "read-only" in _WORKSPACES[step.kind]
        hint = "write `workspace: read-only`" if can else "let an earlier step give it as an output"
        yield Complaint(
            what=f"{what} is in the workspace, which the step `{step.id}` does not see", where=where, hint=hint
        )
