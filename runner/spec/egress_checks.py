"""Check what is written about ways out: hosts that nothing leads to, ports that do not exist, packages that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runner.spec.complaints import Complaint
from runner.spec.loaded import Loaded
from runner.spec.located import KeyPath, Located
from runner.spec.models import Experiment, Framework
from runner.spec.page import Page
from runner.spec.project import Project
from runner.spec.scenario import Scenario, Workflow
from runner.spec.ways import Performed, needs_model, performed_steps, selected_pairs, way_out

_HIGHEST_PORT = 65535
_DISTRIBUTIONS = (".whl", ".tar.gz", ".zip")


def check_ways(
    experiment: Loaded[Experiment],
    frameworks: Mapping[str, Loaded[Framework]],
    scenarios: Mapping[str, Loaded[Scenario]],
    workflows: Mapping[str, Loaded[Workflow]],
) -> Iterator[Complaint]:
    """Yield what is wrong between frameworks, the steps they are to perform, and the experiment's model."""
    pairs = selected_pairs(
        experiment.value,
        {name: one.value for name, one in frameworks.items()},
        {name: one.value for name, one in scenarios.items()},
    )
    plain = {name: one.value for name, one in workflows.items()}
    for framework, scenario in pairs:
        recipe = frameworks[framework.name].located
        for one in performed_steps(scenario, plain):
            written = workflows[one.workflow].located if one.workflow else scenarios[scenario.name].located
            says, way = _says(recipe, written, one), way_out(framework, one.step)
            if one.step.allow and way != "gateway":
                yield _useless(written.where(("steps", one.number, "allow")), says)
            if needs_model(framework, one.step) and experiment.value.model is None:
                yield _no_model(framework, one, experiment.located.where(("model",)), says)


def _no_model(framework: Framework, one: Performed, where: str, why: str) -> Complaint:
    asks = f"the step `{one.step.id}`" if one.step.kind != "prompt" else f"the framework `{framework.name}`"
    return Complaint(
        what=f"{asks} talks to a model, and the experiment names none",
        where=where,
        why=why,
        hint="add `model: {provider: scripted}` to the experiment, or type --model openai/gpt-4o-mini",
    )


def check_allowed(allow: Sequence[str], located: Located, path: KeyPath) -> Iterator[Complaint]:
    """Yield a complaint for each pattern that fits no host or port there can be."""
    for number, pattern in enumerate(allow):
        host, _, port = pattern.partition(":")
        where = located.where((*path, number))
        if port and not 0 < int(port) <= _HIGHEST_PORT:
            yield Complaint(what=f"allow: `{pattern}` names no port", where=where, hint="ports are 1 to 65535")
        if host.startswith("*.") and host.rpartition(".")[2].isdigit():
            yield Complaint(
                what=f"allow: `{pattern}`: there is nothing below an address", where=where, hint="write it in full"
            )


def check_recipe_ways(framework: Framework, located: Located) -> Iterator[Complaint]:
    """Yield what is wrong with a recipe's own way out."""
    yield from check_allowed(framework.allow, located, ("allow",))
    if framework.allow and framework.network != "gateway":
        at = located.where(("network",)) if located.holds(("network",)) else "the default"
        yield _useless(located.where(("allow",)), f"{at} says network: {framework.network}")


def check_step_ways(page: Page) -> Iterator[Complaint]:
    """Yield what is wrong with the steps' own ways out."""
    for number, step in enumerate(page.steps):
        yield from check_allowed(step.allow, page.located, page.path(number, "allow"))


def check_packages(value: Experiment, located: Located, project: Project) -> Iterator[Complaint]:
    """Yield a complaint if the folder of packages is none, or holds none."""
    if value.packages is None or value.packages.folder is None:
        return
    folder = project.root / value.packages.folder
    where = located.where(("packages", "folder"))
    if not folder.is_dir():
        what = f"packages.folder: `{value.packages.folder}` is no folder of the project"
        yield Complaint(what=what, where=where, hint="make it with: pip download --dest FOLDER REQUIREMENT...")
    elif not any(path.name.endswith(_DISTRIBUTIONS) for path in folder.iterdir()):
        what = f"packages.folder: `{value.packages.folder}` holds no wheel and no sdist"
        yield Complaint(what=what, where=where, hint="fill it with: pip download --dest FOLDER REQUIREMENT...")


def _says(recipe: Located, written: Located, one: Performed) -> str:
    """Return a sentence on where a step's way out is written."""
    own: KeyPath = ("steps", one.number, "network")
    if one.step.kind == "model":
        return f"{written.where(('steps', one.number, 'model'))} is a direct call of one"
    if written.holds(own):
        return f"{written.where(own)} says network: {one.step.network}"
    if one.step.kind == "check":
        return "a check has network: none unless it says otherwise"
    at = recipe.where(("network",)) if recipe.holds(("network",)) else f"the default of {recipe.shown}"
    return f"{at} says network: {recipe.at(('network',)) or 'none'}"


def _useless(where: str, why: str) -> Complaint:
    return Complaint(
        what="allow: nothing leads to these hosts",
        where=where,
        why=why,
        hint="write `network: gateway` beside it, or leave `allow` out",
    )
