"""Every folder under tests/cases/bad is an input that must be refused with exactly the text in its error.txt.

A case is laid over tests/cases/base, a project that is fine. Its flags.json, if any, holds `reference`, `environment`,
`remove` (files to leave out) and flags.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from runner.errors import ConfigError, ExitCode
from runner.plan.check import check_graphs
from runner.spec.load import load_all
from runner.spec.overrides import Overrides
from runner.spec.project import Project

CASES = Path(__file__).parents[2] / "cases"


def load_case(case: Path, root: Path) -> None:
    """Load the base project with a case laid over it."""
    shutil.copytree(CASES / "base", root, dirs_exist_ok=True)
    shutil.copytree(case, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("error.txt", "flags.json"))
    file = case / "flags.json"
    flags = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in flags.pop("remove", []):
        (root / name).unlink()
    reference, environment = flags.pop("reference", None), flags.pop("environment", {})
    check_graphs(load_all(Project(root), reference, Overrides(**flags), environment))


@pytest.mark.parametrize("case", sorted((CASES / "bad").iterdir()), ids=lambda case: case.name)
def test_bad_input_is_refused_with_this_text(case: Path, tmp_path: Path) -> None:
    """Each bad input ends in a configuration error with exactly the text beside it."""
    with pytest.raises(ConfigError) as caught:
        load_case(case, tmp_path)
    assert str(caught.value) + "\n" == (case / "error.txt").read_text(encoding="utf-8")
    assert caught.value.exit_code is ExitCode.CONFIG


def test_base_of_the_cases_is_fine(tmp_path: Path) -> None:
    """The project that every bad case is laid over has nothing wrong in it, so a case fails for its own reason."""
    shutil.copytree(CASES / "base", tmp_path, dirs_exist_ok=True)
    inputs = load_all(Project(tmp_path), None, Overrides(), {})
    assert (list(inputs.frameworks), list(inputs.scenarios), inputs.notes) == (
        ["alpha", "beta"],
        ["build", "greet"],
        (),
    )
