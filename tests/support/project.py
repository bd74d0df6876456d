"""A test project and the command line in it, as a user types it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RUNNER = Path(sys.executable).with_name("runner")
SITE = Path(__file__).with_name("site.yaml")
"""Rules of a machine on which nobody waits for anybody."""


@dataclass(frozen=True)
class Project:
    """A copy of a test project, with this project's base image recipe."""

    root: Path

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def run(
        self, *arguments: str, timeout: float = 240, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line in the project; output is captured, nothing is a terminal, `env` is added."""
        return subprocess.run(
            [RUNNER, *arguments],
            cwd=self.root,
            env={**environment(), **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command line in a process group of its own."""
        return subprocess.Popen(
            [RUNNER, *arguments],
            cwd=self.root,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def directories(self) -> list[Path]:
        """Return every run directory, those set aside not among them."""
        return sorted(path.parent for path in self.runs.glob("[!.]*/*/metadata.json"))

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the record of each run by its scenario; with several repetitions the last one read."""
        found = (json.loads((path / "metadata.json").read_text()) for path in self.directories())
        return {record["run"]["scenario"]: record for record in found}


def environment() -> dict[str, str]:
    """Return this process's environment, on a machine on which nobody waits for anybody unless a test says so."""
    return {**os.environ, "RUNNER_SITE": os.environ.get("RUNNER_SITE") or str(SITE)}


def copy_project(name: str, target: Path) -> Project:
    """Copy a test project and give it the base image's recipe."""
    shutil.copytree(ROOT / "tests" / "projects" / name, target, symlinks=True)
    for recipe in ("base", "builder"):
        if (ROOT / "images" / recipe).is_dir():
            shutil.copytree(ROOT / "images" / recipe, target / "images" / recipe, symlinks=True)
    return Project(target)


def left_in_engine(project: Project) -> Sequence[str]:
    """Return containers and volumes of this project's runs that the engine still has."""
    from runner.engine.docker import connect
    from runner.engine.owner import current
    from runner.engine.sweep import survey

    with connect(os.environ) as engine:
        return [one.name for one in survey(engine, current(), project.runs).found]


def cgroups_of(project: Project) -> set[str]:
    """Return the parent cgroups of this project's attempts that exist; the systemd driver's names do not tell."""
    from runner.engine.cgroup import CGROUP_ROOT, find_parents

    places = {hashlib.sha256(f"{os.getuid()}:{path}".encode()).hexdigest()[:8] for path in project.runs.glob("[!.]*/*")}
    return {name for name in find_parents(CGROUP_ROOT) if any(f"-{place}-" in name for place in places)}
