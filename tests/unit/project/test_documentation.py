"""What the documentation tells people to type is understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runner.cli.parser import parse
from runner.spec.models import Framework
from runner.spec.scenario import Scenario

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _typed() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the console blocks, with the page it stands on."""
    for page in PAGES:
        blocks = re.findall(r"^ *```console\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for line in re.findall(r"^ *[$#] (.+)$", "\n".join(blocks), re.MULTILINE):
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                yield str(page.relative_to(ROOT)), [word for word in words if not re.fullmatch(r"[A-Z]+=\S*", word)]


RUNNER_LINES = [(page, words[1:]) for page, words in _typed() if words[:1] == ["runner"]]
MAKE_LINES = [(page, words[1:]) for page, words in _typed() if words[:1] == ["make"]]


@pytest.mark.parametrize(("page", "arguments"), RUNNER_LINES, ids=str)
def test_runner_commands_parse(page: str, arguments: list[str]) -> None:
    """Every `runner` command on a page is accepted by the command line's grammar."""
    if ">" in arguments:
        arguments = arguments[: arguments.index(">")]
    assert parse(arguments).command == next(word for word in arguments if not word.startswith("-"))


@pytest.mark.parametrize(("page", "targets"), MAKE_LINES, ids=str)
def test_make_targets_exist(page: str, targets: list[str]) -> None:
    """Every `make` target on a page is one of the Makefile's."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_links_have_a_text() -> None:
    """Every link between pages says where it leads, for whoever reads them as files."""
    silent = [
        f"{page.name}: {link}" for page in PAGES for link in re.findall(r"\[\]\([^)]*\)", page.read_text("utf-8"))
    ]
    assert silent == []


def test_every_variable_of_the_runner_is_in_the_reference() -> None:
    """Each environment variable of our own that some module names stands in the reference of the configuration."""
    sources = "".join(
        path.read_text("utf-8") for path in (ROOT / "runner").rglob("*.py") if "testing" not in path.parts
    )
    reference = (ROOT / "docs" / "reference" / "configuration.md").read_text("utf-8")
    missing = {name for name in re.findall(r'"(RUNNER_[A-Z_]+)"', sources) if f"`{name}`" not in reference}
    assert missing == set()


def _yaml_blocks(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_example_scenario_is_one() -> None:
    """The first example on writing a scenario is a whole scenario."""
    assert Scenario.model_validate(yaml.safe_load(_yaml_blocks("how-to/write-a-scenario.md")[0])).name == "greeting"


def test_the_example_answers_stand_in_a_scenario() -> None:
    """The first example on prepared answers is a whole scenario, and its step's own answers are there."""
    scenario = Scenario.model_validate(yaml.safe_load(_yaml_blocks("how-to/answer-questions.md")[0]))
    assert [len(scenario.answers), *(len(step.answers) for step in scenario.steps)] == [2, 0, 1]


def test_the_example_framework_is_one() -> None:
    """The first example on adding a framework is a whole recipe."""
    assert Framework.model_validate(yaml.safe_load(_yaml_blocks("how-to/add-a-framework.md")[0])).name == "my-agent"
