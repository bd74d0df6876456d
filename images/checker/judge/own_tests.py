"""Judge whether the application's own tests pass: pytest, unittest through it, and the test script of package.json."""

from __future__ import annotations

import json
import re
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from judge.environment import of_programs
from judge.files import is_test, text, walk
from judge.job import Job
from judge.missing import is_foreign, named
from judge.program import complete
from judge.report import MOST_TEXT, Report

_NO_TEST = "no test specified"
"""What `npm init` writes into a test script that tests nothing."""
_MARKERS = ("pyproject.toml", "setup.cfg", "setup.py", "pytest.ini", "tox.ini", "requirements.txt", "manage.py")
_TAP = re.compile(r"^# (tests|pass|fail|skipped) (\d+)", re.MULTILINE)
_MOST_RESULTS = 64 * 1024 * 1024
"""Bytes of a file of results that are read."""
_MOST_NAMED = 50
_NOTHING_COLLECTED = 5
"""Exit code of pytest for no tests, from its documentation."""


def judge(job: Job) -> None:
    """Run what tests there are, and count.

    Raises:
        OutOfTime: if the check's time is up.
    """
    report = job.report
    env = of_programs(job.environment)
    roots = _roots(job.workspace)
    scripts = _scripts(job.workspace)
    if not roots and not scripts:
        report.expect("tests", "tests")
        report.unjudged("tests", "there are no tests")
    for root in roots:
        report.expect(_name("pytest", root), "tests")
    for root in scripts:
        report.expect(_name("npm", root), "tests")
    counts: Counter[str] = Counter()
    for root in roots:
        counts += _pytest(job, root, env)
    for root, script in scripts.items():
        counts += _npm(job, root, script, env)
    names = ("total", "passed", "failed", "skipped")
    report.figures.update({f"tests_{name}": counts[name] if counts["total"] else None for name in names})


def _name(tool: str, root: PurePosixPath) -> str:
    return f"tests.{tool}" if not root.parts else f"tests.{tool}.{root}"


def _roots(workspace: Path) -> list[PurePosixPath]:
    """Find the folders in which pytest is run: of each test file the nearest folder above that looks like a project's.

    Where none does, it is the folder above the tests' own.
    """
    found = set()
    for path in walk(workspace, ".py"):
        if not is_test(path) or not (path.stem.startswith("test") or path.stem.endswith("_test")):
            continue
        marked = [folder for folder in path.parents if any((workspace / folder / one).is_file() for one in _MARKERS)]
        inside = [folder for folder in path.parents if folder.name in {"tests", "test"}]
        found.add(marked[0] if marked else inside[-1].parent if inside else path.parent)
    return sorted(root for root in found if not any(other in found for other in root.parents))


def _pytest(job: Job, root: PurePosixPath, env: Mapping[str, str]) -> Counter[str]:
    workspace, report = job.workspace, job.report
    name = _name("pytest", root)
    with tempfile.TemporaryDirectory(prefix="judge-") as folder:
        file = Path(folder) / "results.xml"
        argv = ("python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={file}")
        seconds = job.clock.left()
        code, said = complete(argv, workspace / root, env, seconds)
        counts = _counted(file, report)
    if code is None:
        report.failed(name, f"pytest did not end in {seconds:.0f} s", log_tail=said)
    elif code == _NOTHING_COLLECTED:
        report.unjudged(name, "pytest found no tests", log_tail=said)
    elif (module := named(said)) is not None and is_foreign(workspace, module):
        report.find("judge", "missing-library", f"{module} is not in this image")
        report.unjudged(name, f"the tests need {module}, which this image does not have", log_tail=said)
    elif code == 0 and counts["passed"]:
        report.passed(name, log_tail=said)
    else:
        reason = f"{counts['failed']} of {counts['total']} tests failed; pytest's exit code is {code}"
        report.failed(name, reason, log_tail=said)
    return counts


def _counted(file: Path, report: Report) -> Counter[str]:
    """Count in a file of results, in the format of JUnit as pytest writes it."""
    try:
        with file.open("rb") as results:
            data = results.read(_MOST_RESULTS)
        # What the tests could write there could at worst make this process slow, in a container of its own.
        tree = ET.fromstring(data)  # noqa: S314
    except (OSError, ET.ParseError):
        return Counter()
    counts: Counter[str] = Counter()
    for case in tree.iter("testcase"):
        kinds = {child.tag for child in case}
        kind = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        counts["total"] += 1
        counts[kind] += 1
        if kind == "failed" and counts["failed"] <= _MOST_NAMED:
            what = next((child.get("message") or "" for child in case if child.tag in {"failure", "error"}), "")
            report.find("pytest", "failed", f"{case.get('classname')}::{case.get('name')}: {what[:300]}")
    return counts


def _scripts(workspace: Path) -> dict[PurePosixPath, str]:
    """Return the test script of each package that has one."""
    found = {}
    for path in walk(workspace, "package.json"):
        if path.name != "package.json":
            continue
        try:
            script = json.loads(text(workspace, path) or "").get("scripts", {}).get("test")
        except (ValueError, AttributeError):
            continue
        if isinstance(script, str) and script.strip() and _NO_TEST not in script:
            found[path.parent] = script
    return found


def _npm(job: Job, root: PurePosixPath, script: str, env: Mapping[str, str]) -> Counter[str]:
    """Run a test script as npm does: by a shell, with the package's own programs on the path."""
    workspace, report = job.workspace, job.report
    name, seconds = _name("npm", root), job.clock.left()
    path = f"{workspace / root / 'node_modules' / '.bin'}:{env.get('PATH', '')}"
    code, said = complete(("sh", "-c", script), workspace / root, {**env, "PATH": path}, seconds)
    told = {kind: int(number) for kind, number in _TAP.findall(said)}
    counts = Counter(total=told.get("tests", 0), passed=told.get("pass", 0), failed=told.get("fail", 0))
    counts["skipped"] = told.get("skipped", 0)
    module = named(said)
    if code is None:
        report.failed(name, f"`{script}` did not end in {seconds:.0f} s", log_tail=said)
    elif code == 0 and told.get("tests") == 0:
        report.unjudged(name, f"`{script}` ran no test", log_tail=said)
    elif code == 0:
        report.passed(name, log_tail=said)
    elif module is not None and is_foreign(workspace, module):
        report.find("judge", "missing-library", f"{module} is not in this image")
        report.unjudged(name, f"the tests need {module}, which this image does not have", log_tail=said)
    else:
        last = said[-MOST_TEXT:].strip().splitlines()[-1:] or ["it said nothing"]
        report.failed(name, f"`{script}` ended with exit code {code}: {last[0]}", log_tail=said)
    return counts
