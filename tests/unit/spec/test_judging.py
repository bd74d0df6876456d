"""Checks of a scenario as they are loaded, and the recipe of what judges."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.spec.judging import Check
from runner.spec.load import Inputs, load_all, load_framework
from runner.spec.overrides import Overrides
from runner.spec.project import Project

CASES = Path(__file__).parents[2] / "cases"
_CHECKS = """\
checks:
  - id: own
    kind: program
    after: begin
    script_file: build/own.sh
"""
_RECIPE = """\
name: checker
role: checker
source: {path: src}
command: [judge]
smoke_test: {command: [judge]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project one of whose scenarios has a check."""
    shutil.copytree(CASES / "base", tmp_path, dirs_exist_ok=True)
    scenarios = tmp_path / "config" / "scenarios"
    (scenarios / "build" / "own.sh").write_text("test -s app\r\n")
    with (scenarios / "build.yaml").open("a") as file:
        file.write(_CHECKS)
    return Project(tmp_path)


def _load(project: Project) -> Inputs:
    return load_all(project, None, Overrides(), {})


def _add_checker(project: Project) -> None:
    (project.images / "checker" / "src").mkdir(parents=True)
    (project.images / "checker" / "framework.yaml").write_text(_RECIPE)


def test_script_is_read_in(project: Project) -> None:
    """A script in a file of its own comes with the scenario, and one step may stand without brackets."""
    (check,) = _load(project).scenarios["build"].value.checks
    assert (check.script, check.script_file, check.after) == ("test -s app\n", None, ("begin",))


def test_without_a_recipe_there_is_a_note(project: Project) -> None:
    """Checks that nothing can judge are no mistake, and are told of before anything starts."""
    inputs = _load(project)
    assert inputs.checker is None
    assert inputs.notes == (
        "config/scenarios/build.yaml:11: nothing will be judged: there is no images/checker/framework.yaml",
    )


def test_image_that_judges_is_built_with_the_others(project: Project) -> None:
    """Its recipe is among those whose images are needed, as long as something is to be judged."""
    _add_checker(project)
    inputs = _load(project)
    assert inputs.recipes == ("alpha", "beta", "checker")
    assert inputs.notes == ()
    other = load_all(project, None, Overrides(scenarios=("greet",)), {})
    assert (other.recipes, other.checker) == (("alpha", "beta"), None)


def test_recipe_has_the_role_that_it_is_used_in(project: Project) -> None:
    """What judges is no framework, and a framework judges nothing."""
    _add_checker(project)
    with pytest.raises(ConfigError, match="`checker` is a checker, not a framework"):
        load_framework(project, "checker")
    with pytest.raises(ConfigError, match="`alpha` is a framework, not a checker"):
        load_framework(project, "alpha", role="checker")


def test_planned_check_reads_back(project: Project) -> None:
    """A check that was loaded is the same when it is written with every key and read again."""
    (check,) = _load(project).scenarios["build"].value.checks
    assert Check.model_validate_json(check.model_dump_json()) == check
