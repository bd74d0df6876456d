"""The recipes and scenarios that the project brings along."""

from __future__ import annotations

import pytest

from runner.spec.load import load_framework, load_scenario
from runner.spec.project import Project

FRAMEWORKS = ("mini-swe-agent", "ghspec")
SHARED = ("mini_agent.py", "agent.yaml", "Dockerfile")
CRUD_STEPS = ("student", "student-email", "course", "student-courses", "teacher", "course-teacher")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_recipe_can_be_loaded(project: Project, name: str) -> None:
    """Each recipe is valid, reaches nothing but the gateway, and is run by a file that it brings along."""
    framework = load_framework(project, name).value
    assert framework.network == "gateway"
    assert framework.license == "MIT"
    program = framework.command[1].removeprefix("/opt/framework/")
    assert (project.images / name / program).is_file()
    assert (project.images / name / "README.md").is_file()


@pytest.mark.parametrize("file", SHARED)
def test_copies_are_alike(project: Project, file: str) -> None:
    """What both recipes carry is the same, since each image is made from one folder."""
    first, second = ((project.images / name / file).read_text() for name in FRAMEWORKS)
    assert first == second


def test_agents_and_libraries_are_the_same(project: Project) -> None:
    """Both recipes pin the same agent, and the same libraries for the applications it writes."""
    pins = [_pins(project, name) for name in FRAMEWORKS]
    mini = load_framework(project, "mini-swe-agent").value.source
    assert pins[0] | {f"{mini.pypi}=={mini.version}"} == pins[1]  # type: ignore[union-attr]  # it is from the index
    assert all("==" in pin for pin in pins[1])


def _pins(project: Project, name: str) -> set[str]:
    lines = (project.images / name / "requirements.in").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def test_agents_get_the_same_environment(project: Project) -> None:
    """An agent's behaviour does not differ between recipes by a setting."""
    first, second = (load_framework(project, name).value.environment for name in FRAMEWORKS)
    assert first == second


def test_crud_grows_in_six_steps(project: Project) -> None:
    """The scenario has its six steps in order, each with a prompt of its own."""
    steps = load_scenario(project, "crud").value.steps
    assert tuple(step.id for step in steps) == CRUD_STEPS
    assert len({step.prompt for step in steps}) == len(steps)


def test_every_route_is_asked_for(project: Project) -> None:
    """The prompts together name every route that a finished application is judged by."""
    prompts = "\n".join(step.prompt or "" for step in load_scenario(project, "crud").value.steps)
    items = [f"{path}{tail}" for path in ("/students", "/courses", "/teachers") for tail in ("", "/{id}")]
    pairs = ("/students/{id}/courses/{course_id}", "/students/{id}/courses", "/courses/{id}/students")
    for path in (*items, *pairs, "/teachers/{id}/courses", "/health"):
        assert f" {path}`" in prompts, path


def test_hello_has_one_step(project: Project) -> None:
    """The small scenario stays small."""
    assert [step.id for step in load_scenario(project, "hello").value.steps] == ["hello"]
