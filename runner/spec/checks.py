"""Check what no single field can tell: one part of an experiment against another, and against the project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from runner.spec.complaints import Complaint, choose_from
from runner.spec.loaded import Loaded
from runner.spec.located import Located
from runner.spec.models import Experiment, Framework
from runner.spec.project import Project
from runner.spec.scenario import Scenario, Workflow

_ARGUMENT_LIMIT = 128 * 1024 - 1
"""Bytes of one argument of a program: MAX_ARG_STRLEN of Linux, less the closing zero."""


def check_experiment(value: Experiment, located: Located, plain: Experiment) -> Iterator[Complaint]:
    """Yield what is wrong with an experiment; `plain` is what its file says without environment and flags."""
    for key, names in (("frameworks", plain.frameworks), ("scenarios", plain.scenarios)):
        for number, name in enumerate(names):
            if name in names[:number]:
                where = f"{located.shown}:{located.lines[(key, number)]}"
                yield Complaint(what=f"{key}: `{name}` stands here again", where=where, hint="remove one of them")
    for key in ("include", "exclude"):
        for number, cell in enumerate(getattr(value, key)):
            for part, names in (("framework", plain.frameworks), ("scenario", plain.scenarios)):
                name = getattr(cell, part)
                if name is not None and name not in names:
                    what = f"{key}: the experiment has no {part} `{name}`"
                    where = located.where((key, number, part))
                    yield Complaint(what=what, where=where, hint=choose_from(name, names))
    if value.model is not None and value.model.base_url is not None:
        yield from _check_base_url(value.model.base_url, located.where(("model", "base_url")))


def _check_base_url(base_url: str, where: str) -> Iterator[Complaint]:
    try:
        url = urlsplit(base_url)
    except ValueError:
        url = urlsplit("")
    if url.username or url.password:
        what = "model.base_url holds a user name or password, which every record would show"
        yield Complaint(what=what, where=where, hint="put the key into the variable that model.key_env names")
    elif url.scheme not in ("http", "https") or not url.hostname:
        what = f"model.base_url: `{base_url}` is no http(s) address"
        yield Complaint(what=what, where=where, hint="write it like https://host/v1")


def check_output(value: Experiment, located: Located, project: Project) -> Iterator[Complaint]:
    """Yield a complaint if the folder of run directories would mix with the project's own files."""
    output = project.output(value.output).resolve()
    kept = (project.config.resolve(), project.images.resolve())
    if any(output.is_relative_to(folder) or folder.is_relative_to(output) for folder in kept):
        yield Complaint(
            what=f"output: `{value.output}` holds, or is inside, the project's own files",
            where=located.where(("output",)),
            hint="name a folder of its own, like runs",
        )


def check_arguments(
    frameworks: Mapping[str, Loaded[Framework]], pages: Iterable[Loaded[Scenario] | Loaded[Workflow]]
) -> Iterator[Complaint]:
    """Yield a complaint for each prompt that is too long for a command line that carries it."""
    carrying = [one for one in frameworks.values() if any("{prompt}" in part for part in one.value.command)]
    for page in pages if carrying else ():
        for number, step in enumerate(page.value.steps):
            if len((step.prompt or "").encode()) > _ARGUMENT_LIMIT:
                yield Complaint(
                    what=f"the prompt of `{step.id}` is longer than an argument of a program may be (128KiB)",
                    where=page.located.where(("steps", number)),
                    why=f"{carrying[0].located.where(('command',))} passes it as {{prompt}}",
                    hint="use {prompt_file} there, or a shorter prompt",
                )
