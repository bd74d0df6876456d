"""Look at Python source without running it: does it parse, and what ruff, bandit and radon say. Figures, not marks."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from judge.clock import Clock
from judge.environment import of_programs
from judge.facts import fault, parse
from judge.files import text, walk
from judge.job import Job
from judge.report import Report

_SECONDS = 120.0
_MOST_OUTPUT = 64 * 1024 * 1024
_NAMES = (
    "ruff_findings",
    "bandit_findings",
    "bandit_high",
    "complexity_mean",
    "complexity_max",
    "maintainability_mean",
)
_WORST = 10
"""Cyclomatic complexity above which a function is remarked on: McCabe's own limit (1976)."""


def judge(job: Job) -> None:
    """Parse every Python file and run the tools on them.

    Raises:
        OutOfTime: if the check's time is up.
    """
    workspace, report, clock = job.workspace, job.report, job.clock
    report.expect("static.syntax", "static")
    files = walk(workspace, ".py")
    report.figures.update(dict.fromkeys(_NAMES))
    report.figures.update(python_files=len(files), python_lines=None)
    if not files:
        report.unjudged("static.syntax", "there is no Python")
        return
    _syntax(workspace, files, report)
    env = of_programs(job.environment)
    with tempfile.TemporaryDirectory(prefix="judge-") as folder:
        tools = _Tools(workspace=workspace, files=[str(path) for path in files], env=env, folder=Path(folder))
        _ruff(tools, report, clock)
        _bandit(tools, report, clock)
        _radon(tools, report, clock)


class _Tools:
    """Runs a tool on the files and reads the JSON that it prints."""

    def __init__(self, *, workspace: Path, files: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self._workspace = workspace
        self._files = list(files)
        self._env = dict(env)
        self._folder = folder

    def ask(self, report: Report, clock: Clock, tool: str, *options: str, codes: Sequence[int] = (0, 1)) -> Any:
        """Return what a tool says; None, and a finding, if it cannot be used."""
        output = self._folder / f"{tool}.json"
        argv = ["python3", "-m", tool, *options, *self._files]
        try:
            with output.open("wb") as out:
                done = subprocess.run(
                    argv,
                    cwd=self._workspace,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.DEVNULL,
                    timeout=clock.share(_SECONDS),
                    check=False,
                )
            with output.open("rb") as file:
                said = json.loads(file.read(_MOST_OUTPUT))
        except (OSError, ValueError, RecursionError, subprocess.TimeoutExpired) as error:
            report.find("judge", "tool", f"{tool} gave nothing that can be used: {error}")
            return None
        if done.returncode not in codes:
            report.find("judge", "tool", f"{tool} ended with exit code {done.returncode}")
            return None
        return said

    def relative(self, name: str) -> str:
        """Return a file's path in the workspace, however a tool wrote it."""
        path = PurePosixPath(name)
        return str(path.relative_to(self._workspace) if path.is_relative_to(self._workspace) else path)


def _syntax(workspace: Path, files: Sequence[PurePosixPath], report: Report) -> None:
    wrong, lines = [], 0
    for path in files:
        source = text(workspace, path)
        lines += len(source.splitlines()) if source else 0
        if source is None or parse(source) is None:
            wrong.append(str(path))
            line, why = fault(source or "")
            report.find("python", "syntax", why or "it cannot be read", file=str(path), line=line)
    report.figures["python_lines"] = lines
    if wrong:
        report.failed("static.syntax", f"no Python that can be parsed: {', '.join(wrong[:10])}")
    else:
        report.passed("static.syntax")


def _ruff(tools: _Tools, report: Report, clock: Clock) -> None:
    """Run ruff with its own default rules, whatever the workspace configures, so that applications can be compared."""
    said = tools.ask(report, clock, "ruff", "check", "--isolated", "--no-cache", "--output-format", "json")
    if not isinstance(said, list):
        return
    report.figures["ruff_findings"] = len(said)
    for one in said:
        line = (one.get("location") or {}).get("row")
        file = tools.relative(str(one.get("filename")))
        report.find("ruff", str(one.get("code") or "syntax"), str(one.get("message")), file=file, line=line)


def _bandit(tools: _Tools, report: Report, clock: Clock) -> None:
    """Run bandit on everything but tests' asserts, which are what tests are made of."""
    said = tools.ask(report, clock, "bandit", "-q", "-f", "json", "-s", "B101")
    if not isinstance(said, dict) or not isinstance(said.get("results"), list):
        return
    found = said["results"]
    weights = Counter(str(one.get("issue_severity")) for one in found)
    report.figures.update(bandit_findings=len(found), bandit_high=weights["HIGH"])
    for one in found:
        file, line = tools.relative(str(one.get("filename"))), one.get("line_number")
        report.find("bandit", str(one.get("test_id")), str(one.get("issue_text")), file=file, line=line)


def _radon(tools: _Tools, report: Report, clock: Clock) -> None:
    """Take cyclomatic complexity of every function, and the maintainability index of every file."""
    said = tools.ask(report, clock, "radon", "cc", "-j")
    blocks = [
        (name, one)
        for name, found in (said.items() if isinstance(said, dict) else ())
        for one in (found if isinstance(found, list) else ())
        if one.get("type") in {"function", "method"}
    ]
    if blocks:
        numbers = [one["complexity"] for _, one in blocks]
        report.figures.update(complexity_mean=round(statistics.mean(numbers), 3), complexity_max=max(numbers))
    for name, one in blocks:
        if one["complexity"] > _WORST:
            what = f"{one.get('name')} has a cyclomatic complexity of {one['complexity']}"
            report.find("radon", "complexity", what, file=tools.relative(name), line=one.get("lineno"))
    said = tools.ask(report, clock, "radon", "mi", "-j")
    marks = [one["mi"] for one in said.values() if "mi" in one] if isinstance(said, dict) else []
    if marks:
        report.figures["maintainability_mean"] = round(statistics.mean(marks), 2)
