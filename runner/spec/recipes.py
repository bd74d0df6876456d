"""Check what a framework's recipe says beyond the type of each field: commands, variables, paths, packages."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from runner.names import FRAMEWORK_DIR
from runner.spec.complaints import Complaint, choose_from
from runner.spec.located import KeyPath, Located
from runner.spec.models import Framework, LocalSource

PLACEHOLDERS = {
    "prompt": "the prompt's text, as one argument",
    "prompt_file": "the file that holds the prompt",
    "model": "name of the model; empty without one",
    "seed": "seed of the repetition",
    "step": "id of the step",
    "index": "1-based position of the step",
}
"""What may stand in braces in an argument of a framework's command; `{{` and `}}` are literal braces."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
"""Debian policy, section 5.6.1."""


def check_recipe(framework: Framework, located: Located, folder: Path) -> Iterator[Complaint]:
    """Yield what is wrong with a recipe.

    Args:
        framework: the recipe.
        located: where it was written.
        folder: folder of the recipe, whose name is the framework's.
    """
    if framework.name != folder.name:
        what = f"name: `{framework.name}` is not the name of its folder, `{folder.name}`"
        yield Complaint(what=what, where=located.where(("name",)), hint=f"write: name: {folder.name}")
    for number, argument in enumerate(framework.command):
        yield from check_argument(argument, located.where(("command", number)))
    for name, value in framework.environment.items():
        yield from _check_variable(name, value, located.where(("environment", name)))
    for number, path in enumerate(framework.writable):
        yield from _check_writable(path, located.where(("writable", number)))
    for number, package in enumerate(framework.system_packages):
        if not _PACKAGE.fullmatch(package):
            where = located.where(("system_packages", number))
            yield Complaint(what=f"system_packages: `{package}` is no name of a Debian package", where=where)
    if isinstance(framework.source, LocalSource):
        yield from _check_local(framework.source.path, located, ("source", "path"), folder)


def leaves_folder(folder: Path, relative: str) -> bool:
    """Tell whether a relative path leads out of a folder, by `..`, by being absolute, or by a symbolic link."""
    # Not Path.resolve(), which raises for links that go round in a circle; here those lead to nothing.
    led_to = Path(os.path.realpath(folder / relative))
    return Path(relative).is_absolute() or not led_to.is_relative_to(os.path.realpath(folder))


def check_argument(argument: str, where: str) -> Iterator[Complaint]:
    """Yield what is wrong with an argument of a command: placeholders that do not exist, stray braces."""
    hint = f"{choose_from('', PLACEHOLDERS)}; write {{{{ and }}}} for braces"
    try:
        parts = list(string.Formatter().parse(argument))
    except ValueError:
        yield Complaint(what=f"command: `{argument}` has a brace without its partner", where=where, hint=hint)
        return
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in PLACEHOLDERS:
            near = choose_from(name, PLACEHOLDERS)
            hint = f"{near}; write {{{{ and }}}} for braces"
            yield Complaint(what=f"command: unknown placeholder `{{{name}}}`", where=where, hint=hint)
        elif form or conversion:
            yield Complaint(what=f"command: `{argument}` formats a placeholder", where=where, hint=f"write {{{name}}}")


def _check_variable(name: str, value: str, where: str) -> Iterator[Complaint]:
    if not _VARIABLE.fullmatch(name):
        hint = "use letters, digits and underscores, beginning with no digit"
        yield Complaint(what=f"environment: `{name}` is no name of a variable", where=where, hint=hint)
    if "\0" in value:
        yield Complaint(what=f"environment: the value of {name} holds a NUL character", where=where)


def _check_writable(path: str, where: str) -> Iterator[Complaint]:
    pure = PurePosixPath(path)
    if pure.parent == pure or not pure.is_relative_to(FRAMEWORK_DIR) or ".." in pure.parts or path == FRAMEWORK_DIR:
        yield Complaint(
            what=f"writable: `{path}` is not below {FRAMEWORK_DIR}",
            where=where,
            why="only the framework's own folders are mapped to the run's storage; /workspace, /state, /out and /tmp "
            "are writable anyway",
            hint=f"write it as {FRAMEWORK_DIR}/...",
        )


def _check_local(path: str, located: Located, key: KeyPath, folder: Path) -> Iterator[Complaint]:
    where = located.where(key)
    if leaves_folder(folder, path):
        hint = "copy what is needed beside framework.yaml"
        yield Complaint(what=f"source.path: `{path}` leaves the recipe's folder", where=where, hint=hint)
    elif not (folder / path).is_dir():
        yield Complaint(what=f"source.path: `{path}` is no folder beside the recipe", where=where)
