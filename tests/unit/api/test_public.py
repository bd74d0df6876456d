"""The package's public names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import runner
from runner.errors import ConfigError


@pytest.mark.processes
def test_importing_loads_nothing() -> None:
    """The package alone loads none of its rooms, and every public name is there once asked for."""
    code = "import sys, runner; print([name for name in sys.modules if name.startswith('runner.')])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "[]\n"
    assert all(hasattr(runner, name) for name in runner.__all__)
    assert set(runner.__all__) <= set(dir(runner))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name is refused as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'run_comand'"):
        runner.run_comand  # noqa: B018  reading it is the test


@pytest.mark.parametrize(
    ("argv", "options", "text"),
    [
        ("ls -l", {}, "is no command"),
        ([], {}, "is no command"),
        (["a\0b"], {}, "is no command"),
        (["ls"], {"timeout": 0}, "is no time"),
        (["ls"], {"network": "host"}, "there is no network 'host'"),
        (["ls"], {"workspace": "/nowhere/at/all"}, "is no folder"),
    ],
)
def test_arguments_that_cannot_be_used(argv: list[str], options: dict[str, object], text: str) -> None:
    """Wrong arguments raise before anything is started."""
    with pytest.raises(ConfigError, match=text):
        runner.run_command(argv, image="base", **options)  # type: ignore[arg-type]  # wrong on purpose
