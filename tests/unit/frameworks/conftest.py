"""The project's own recipes and scenarios."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from runner.spec.project import Project, find_project

FRAMEWORK_MODULES = ("adapter", "fixing", "mini_agent", "questions", "run_tests", "smoke_test")


@pytest.fixture(scope="session")
def project() -> Project:
    """The project that these tests belong to."""
    return find_project(Path(__file__).parent)


@pytest.fixture
def recipe_module(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], ModuleType]]:
    """Import a module of a recipe, as its image would, and forget it afterwards: every recipe has an `adapter`."""

    def load(framework: str, module: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(project.images / framework))
        return importlib.import_module(module)

    yield load
    for name in FRAMEWORK_MODULES:
        sys.modules.pop(name, None)
