"""Load workflows, with those that they use themselves, and judge files of steps in their light."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.errors import ConfigError
from runner.spec.complaints import Complaint, SpecError, choose_from, complaints_of, raise_if_any
from runner.spec.egress_checks import check_step_ways
from runner.spec.expression_checks import check_expressions
from runner.spec.kinds import check_kinds
from runner.spec.loaded import Loaded, sources_of
from runner.spec.located import Located
from runner.spec.order_checks import check_order
from runner.spec.page import Page, outputs_of
from runner.spec.project import RECIPE, Project, yaml_files
from runner.spec.scenario import Step, Workflow
from runner.spec.texts import read_texts, text_sources
from runner.spec.validate import validate
from runner.spec.value_checks import check_values, fits, has_default, type_of
from runner.spec.yaml import load_yaml

Workflows = Mapping[str, Loaded[Workflow]]
"""Workflows by name."""


def workflow_names(project: Project) -> list[str]:
    """Return the names of the workflows under config/workflows/."""
    return sorted(path.stem for path in yaml_files(project.workflows))


def load_workflow(
    project: Project, name: str, *, named_at: str = "", above: tuple[str, ...] = ()
) -> dict[str, Loaded[Workflow]]:
    """Read a workflow and all that it uses, with the text of every file that its steps name.

    Args:
        project: where it is looked up: config/workflows/<name>.yaml.
        name: name of the workflow.
        named_at: `file:line` that asks for it.
        above: workflows that are being read and use it, the outermost first.

    Returns:
        each of them by its name.

    Raises:
        ConfigError: with everything that is wrong in any of them.
    """
    if name in above:
        what = f"the workflow `{name}` uses itself: {' -> '.join((*above[above.index(name) :], name))}"
        raise SpecError([Complaint(what=what, where=named_at, hint="take it out of one of them")])
    known = workflow_names(project)
    if name not in known:
        hint = choose_from(name, known, "there are none; write config/workflows/<name>.yaml")
        raise SpecError([Complaint(what=f"unknown workflow `{name}`", where=named_at, hint=hint)])
    file = next(path for path in yaml_files(project.workflows) if path.stem == name)
    located = load_yaml(file, root=project.root)
    workflow = validate(located, Workflow)
    inner, complaints = workflows_of(project, workflow.steps, located, above=(*above, name))
    page = page_of(project, workflow.steps, located, inner, workflow)
    complaints += [*check_name(workflow.name, located), *check_page(page), *_check_interface(workflow, page)]
    steps, refused = read_texts(workflow.steps, located)
    raise_if_any(complaints + refused)
    loaded = Loaded(
        value=workflow.model_copy(update={"steps": steps}),
        file=file,
        sources={**sources_of(workflow, located), **text_sources(workflow.steps, located, project.root)},
        located=located,
    )
    return {**inner, name: loaded}


def workflows_of(
    project: Project, steps: tuple[Step, ...], located: Located, *, above: tuple[str, ...] = ()
) -> tuple[dict[str, Loaded[Workflow]], list[Complaint]]:
    """Return every workflow that steps use, at any depth, and what is wrong with those that cannot be used.

    Args:
        project: where they are looked up.
        steps: steps of one file.
        located: where these were written.
        above: workflows that are being read, the outermost first.
    """
    found: dict[str, Loaded[Workflow]] = {}
    complaints: list[Complaint] = []
    for number, step in enumerate(steps):
        if not step.enabled or step.workflow is None or step.workflow in found:
            continue
        where = located.where(("steps", number, "workflow"))
        try:
            found |= load_workflow(project, step.workflow, named_at=where, above=above)
        except ConfigError as error:
            complaints += complaints_of(error)
    return found, complaints


def page_of(
    project: Project,
    steps: tuple[Step, ...],
    located: Located,
    workflows: Workflows,
    workflow: Workflow | None = None,
) -> Page:
    """Return a file of steps with all that is needed to judge it; `workflow` is the file's own, if it is one."""
    return Page(
        steps=steps,
        located=located,
        takes=workflow.inputs if workflow is not None else {},
        workflows={name: one.value for name, one in workflows.items()},
        recipes=frozenset({"base", *(path.parent.name for path in project.images.glob(f"*/{RECIPE}"))}),
    )


def check_page(page: Page) -> Iterator[Complaint]:
    """Yield everything that is wrong with a file's steps, but for the texts they name."""
    yield from check_kinds(page)
    yield from check_step_ways(page)
    order = list(check_order(page))
    yield from order
    if not order:
        # Who comes before whom is known only now.
        yield from check_values(page)
        yield from check_expressions(page)


def check_name(name: str, located: Located) -> Iterator[Complaint]:
    """Yield a complaint if a file's name is not what it says in it."""
    stem = located.path.stem
    if name != stem:
        what = f"name: `{name}` is not the name of its file, `{stem}`"
        yield Complaint(what=what, where=located.where(("name",)), hint=f"write: name: {stem}")


def _check_interface(workflow: Workflow, page: Page) -> Iterator[Complaint]:
    """Yield what is wrong with what a workflow takes and gives."""
    for name, declared in workflow.inputs.items():
        if has_default(declared) and not fits(found := type_of(declared.default), declared.type):
            what = f"the default of the input `{name}` is {found}, and its type is {declared.type}"
            where = page.located.where(("inputs", name, "default"))
            yield Complaint(what=what, where=where, hint="mend one of them")
    steps = {step.id: step for _, step in page.enabled()}
    for name, output in workflow.outputs.items():
        if output.step not in steps:
            what, hint = f"outputs: there is no step `{output.step}`", choose_from(output.step, steps)
            yield Complaint(what=what, where=page.located.where(("outputs", name, "step")), hint=hint)
        elif output.output not in (given := outputs_of(steps[output.step], page.workflows)):
            what = f"outputs: the step `{output.step}` gives no output `{output.output}`"
            hint = choose_from(output.output, given, f"it gives none; add it to the outputs of `{output.step}`")
            yield Complaint(what=what, where=page.located.where(("outputs", name, "output")), hint=hint)
