"""Compare code-generation frameworks by running each in containers on the same scenarios.

The public names are loaded when they are first used, so that importing the package does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.api.command import run_command
    from runner.api.command_result import CommandFailed, CommandResult
    from runner.api.experiment import Experiment, ExperimentResult
    from runner.api.results import RunResult, load_run
    from runner.execution.cancellation import Cancellation
    from runner.spec.models import LimitsPatch
    from runner.spec.overrides import Overrides

__all__ = (
    "Cancellation",
    "CommandFailed",
    "CommandResult",
    "Experiment",
    "ExperimentResult",
    "LimitsPatch",
    "Overrides",
    "RunResult",
    "load_run",
    "run_command",
)
_MODULES = {
    "Cancellation": "execution.cancellation",
    "CommandFailed": "api.command_result",
    "CommandResult": "api.command_result",
    "Experiment": "api.experiment",
    "ExperimentResult": "api.experiment",
    "LimitsPatch": "spec.models",
    "Overrides": "spec.overrides",
    "RunResult": "api.results",
    "load_run": "api.results",
    "run_command": "api.command",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that has it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names too, whether they have been used or not."""
    return sorted({*globals(), *__all__})
