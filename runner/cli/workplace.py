"""Where a command works: the project, the folders of this user, and the settings that came with the process."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.names import PROJECT
from runner.spec.project import Project, find_project, spelled_out


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The project and the environment of one invocation."""

    project: Project
    environment: Mapping[str, str]

    @property
    def cache(self) -> Path:
        """The folder of fetched artifacts and image records, shared by all projects of this user."""
        return cache_folder(self.environment)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return RUNNER_CACHE, or this program's folder in XDG_CACHE_HOME, by default `~/.cache`."""
    chosen = environment.get("RUNNER_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / PROJECT


def open_workplace(args: Namespace) -> Workplace:
    """Return the workplace of a command line.

    Raises:
        ConfigError: if there is no project at or above the folder.
    """
    return Workplace(project=find_project(Path(args.project).absolute()), environment=args.environment)


def add_output_option(parser: ArgumentParser) -> None:
    """Add the option that names the folder of run directories."""
    parser.add_argument(
        "--output", metavar="DIR", help="folder of run directories; by default RUNNER_OUTPUT, else runs/ of the project"
    )


def output_folder(args: Namespace) -> Path:
    """Return the absolute folder of run directories for a command that reads no experiment."""
    if args.output:
        return spelled_out(Path(args.output))
    from runner.spec.models import Experiment

    workplace = open_workplace(args)
    name = workplace.environment.get("RUNNER_OUTPUT") or str(Experiment.model_fields["output"].default)
    return spelled_out(workplace.project.root / name)
