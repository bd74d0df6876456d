"""Write a new experiment."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.selection import names, positive
from runner.errors import ConfigError, ExitCode, StorageError
from runner.names import CHECKER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.cli.workplace import Workplace

EXAMPLES = """
runner new pilot                                                           every framework and scenario there is
runner new pilot --frameworks ghspec --scenarios hello,crud --repetitions 5
runner new second --from pilot                                             what another experiment compares
runner new --from crud --frameworks baes,chatdev --repetitions 10          a scenario for two frameworks, as crud.yaml
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the name and what the experiment holds."""
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="name of the experiment, and of its file in config/experiments/; with --from by default the name there",
    )
    parser.add_argument("--frameworks", action="append", metavar="NAMES", help="with commas between; by default all")
    parser.add_argument("--scenarios", action="append", metavar="NAMES", help="with commas between; by default all")
    parser.add_argument("--repetitions", type=positive, metavar="N", help="runs of each framework on each scenario")
    parser.add_argument(
        "--from",
        dest="origin",
        metavar="NAME",
        help="compare the same frameworks and scenarios as this experiment, or take this scenario",
    )


def run(args: Namespace, console: Console) -> int:
    """Write the file, never over another, and check that it can be run."""
    from runner.cli.workplace import open_workplace
    from runner.spec.load import load_experiment
    from runner.spec.overrides import Overrides
    from runner.spec.template import experiment_text

    workplace = open_workplace(args)
    name = args.name if args.name is not None else _named_like(args.origin)
    _check_name(name)
    origin = _origin(workplace, args.origin)
    frameworks = names(args.frameworks) or origin.frameworks or _all("frameworks", workplace)
    scenarios = names(args.scenarios) or origin.scenarios or _all("scenarios", workplace)
    unanswered = _unanswered(workplace, frameworks, scenarios)
    text = experiment_text(
        name,
        frameworks,
        scenarios,
        repetitions=args.repetitions or origin.repetitions,
        description=origin.description,
        exclude=unanswered,
    )
    path = workplace.project.experiments / f"{name}.yaml"
    _write(path, text)
    load_experiment(workplace.project, name, Overrides(), {})
    console.say(f"wrote {path.relative_to(workplace.project.root)}")
    for framework, scenario in unanswered:
        console.say(f"left out, for it has no prepared answers: {framework} on {scenario}")
    console.say(f"next: runner plan {name}, then runner go {name}")
    return ExitCode.PASSED


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What a new experiment takes over; empty for everything there is."""

    frameworks: Sequence[str] = ()
    scenarios: Sequence[str] = ()
    repetitions: int = 1
    description: str = ""


def _named_like(origin: str | None) -> str:
    """Return the name of what an experiment is made from.

    Raises:
        ConfigError: if it is made from nothing.
    """
    if origin is None:
        raise ConfigError("a new experiment needs a name", hint="runner new pilot, or runner new --from crud")
    return Path(origin).stem


def _check_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from runner.spec.base import Name

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        why = "lower-case letters, digits, dots, dashes and underscores; 63 at most, a letter or digit first"
        raise ConfigError(f"{name!r} is no name for an experiment", why=why, hint="runner new pilot") from error


def _origin(workplace: Workplace, reference: str | None) -> _Origin:
    """Return what an experiment or a scenario of that name has; of both, the experiment.

    Raises:
        ConfigError: if there is neither.
    """
    from runner.spec.complaints import choose_from
    from runner.spec.load import experiment_names, load_experiment, scenario_names
    from runner.spec.overrides import Overrides

    if reference is None:
        return _Origin()
    project = workplace.project
    experiments, scenarios = experiment_names(project), scenario_names(project)
    if reference in scenarios and reference not in experiments:
        return _Origin(scenarios=(reference,))
    if reference not in experiments and "/" not in reference and "." not in reference:
        hint = choose_from(reference, sorted({*experiments, *scenarios}))
        raise ConfigError(f"there is neither an experiment nor a scenario `{reference}`", where="--from", hint=hint)
    value = load_experiment(project, reference, Overrides(), {}).value
    return _Origin(
        frameworks=value.frameworks,
        scenarios=value.scenarios,
        repetitions=value.repetitions,
        description=value.description,
    )


def _all(kind: str, workplace: Workplace) -> Sequence[str]:
    """Return every framework or scenario of the project.

    Raises:
        ConfigError: if there is none.
    """
    from runner.spec.load import framework_names, scenario_names

    project = workplace.project
    found = scenario_names(project)
    if kind == "frameworks":
        found = [name for name in framework_names(project) if name != CHECKER]
    if not found:
        where = "images/NAME/framework.yaml" if kind == "frameworks" else "config/scenarios/NAME.yaml"
        raise ConfigError(f"the project has no {kind}", why=f"there is no {where}", hint=f"write a {where}")
    return found


def _unanswered(workplace: Workplace, frameworks: Sequence[str], scenarios: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs that the scripted model has no answers for.

    Everything named is read, so that a mistyped name is refused before anything is written.
    """
    from runner.spec.load import answers_file, load_framework, load_scenario
    from runner.spec.model import Model
    from runner.spec.ways import needs_answers
    from runner.spec.workflows import workflows_of

    project = workplace.project
    recipes = [load_framework(project, name, named_at="--frameworks").value for name in frameworks]
    missing = []
    for loaded in [load_scenario(project, name, named_at="--scenarios") for name in scenarios]:
        scenario = loaded.value
        workflows = {name: one.value for name, one in workflows_of(project, scenario.steps, loaded.located)[0].items()}
        for recipe in recipes:
            file = answers_file(project, Model(), recipe.name, scenario.name)
            if needs_answers(recipe, scenario, workflows) and not file.is_file():
                missing.append((recipe.name, scenario.name))
    return missing


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already", hint=f"choose another name, or edit it: {path}") from error
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", hint=f"ls -ld {path.parent}") from error
