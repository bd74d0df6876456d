"""Write a new experiment."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.selection import names, positive
from runner.errors import ConfigError, ExitCode, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.cli.workplace import Workplace
    from runner.spec.models import Experiment

EXAMPLES = """
runner new pilot                                                           every framework and scenario there is
runner new pilot --frameworks ghspec --scenarios hello,crud --repetitions 5
runner new second --from pilot                                             what another experiment compares
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the name and what the experiment holds."""
    parser.add_argument("name", metavar="NAME", help="name of the experiment, and of its file in config/experiments/")
    parser.add_argument("--frameworks", action="append", metavar="NAMES", help="with commas between; by default all")
    parser.add_argument("--scenarios", action="append", metavar="NAMES", help="with commas between; by default all")
    parser.add_argument("--repetitions", type=positive, metavar="N", help="runs of each framework on each scenario")
    parser.add_argument(
        "--from", dest="origin", metavar="EXPERIMENT", help="compare the same frameworks and scenarios as this one"
    )


def run(args: Namespace, console: Console) -> int:
    """Write the file, never over another, and check that it can be run."""
    from runner.cli.workplace import open_workplace
    from runner.spec.load import load_experiment
    from runner.spec.overrides import Overrides
    from runner.spec.template import experiment_text

    workplace = open_workplace(args)
    _check_name(args.name)
    origin = _origin(workplace, args.origin)
    frameworks = names(args.frameworks) or (origin.frameworks if origin else _all("frameworks", workplace))
    scenarios = names(args.scenarios) or (origin.scenarios if origin else _all("scenarios", workplace))
    _check_known(workplace, frameworks, scenarios)
    repetitions = args.repetitions or (origin.repetitions if origin else 1)
    description = origin.description if origin else ""
    text = experiment_text(args.name, frameworks, scenarios, repetitions=repetitions, description=description)
    path = workplace.project.experiments / f"{args.name}.yaml"
    _write(path, text)
    load_experiment(workplace.project, args.name, Overrides(), {})
    console.say(f"wrote {path.relative_to(workplace.project.root)}")
    console.say(f"next: runner plan {args.name}, then runner go {args.name}")
    return ExitCode.PASSED


def _check_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from runner.spec.base import Name

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        why = "lower-case letters, digits, dots, dashes and underscores; 63 at most, a letter or digit first"
        raise ConfigError(f"{name!r} is no name for an experiment", why=why, hint="runner new pilot") from error


def _origin(workplace: Workplace, reference: str | None) -> Experiment | None:
    from runner.spec.load import load_experiment
    from runner.spec.overrides import Overrides

    return load_experiment(workplace.project, reference, Overrides(), {}).value if reference else None


def _all(kind: str, workplace: Workplace) -> Sequence[str]:
    """Return every framework or scenario of the project.

    Raises:
        ConfigError: if there is none.
    """
    from runner.spec.load import framework_names, scenario_names

    found = (framework_names if kind == "frameworks" else scenario_names)(workplace.project)
    if not found:
        where = "images/NAME/framework.yaml" if kind == "frameworks" else "config/scenarios/NAME.yaml"
        raise ConfigError(f"the project has no {kind}", why=f"there is no {where}", hint=f"write a {where}")
    return found


def _check_known(workplace: Workplace, frameworks: Sequence[str], scenarios: Sequence[str]) -> None:
    """Read what is named, so that a mistyped name is refused before anything is written."""
    from runner.spec.load import load_framework, load_scenario

    for name in frameworks:
        load_framework(workplace.project, name, named_at="--frameworks")
    for name in scenarios:
        load_scenario(workplace.project, name, named_at="--scenarios")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already", hint=f"choose another name, or edit it: {path}") from error
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", hint=f"ls -ld {path.parent}") from error
