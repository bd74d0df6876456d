"""Each kind of application is found, started and judged; so are modules, own tests and source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Judge = Callable[..., dict[str, Any]]

NOTE = {"name": "note", "fields": {"text": {"examples": ["Milk"]}, "done": {"type": "boolean"}}}
COURSE = {
    "name": "course",
    "fields": {"title": {"examples": ["Logic"]}, "credits": {"type": "integer", "examples": [5]}},
}
TASK = {
    "name": "task",
    "fields": {"title": {"examples": ["Write"]}, "priority": {"type": "integer", "examples": [2]}},
}
APPLICATION: dict[str, Any] = {"kind": "application", "timeout_seconds": 150}
START = {"timeout": 60}
"""Where many tests run side by side, an interpreter takes its time."""
SERVES = 'if __name__ == "__main__":'


def by_verdict(verdict: dict[str, Any], wanted: str) -> set[str]:
    """Return the ids of assertions with a verdict."""
    return {one["id"] for one in verdict["assertions"] if one["verdict"] == wanted}


def rules(verdict: dict[str, Any]) -> set[str]:
    """Return the rules of the judge's own findings."""
    return {one["rule"] for one in verdict["findings"] if one["tool"] == "judge"}


@pytest.mark.parametrize(
    ("application", "entity", "rule"),
    [
        ("flask", NOTE, "3 flask, a program that serves"),
        ("django", COURSE, "4 Django's manage.py"),
        ("node", TASK, "5 Node: start script of package.json"),
    ],
)
def test_correct_application_of_each_kind_passes(
    judge: Judge, application: str, entity: dict[str, Any], rule: str
) -> None:
    """Without a description to read, a correct application is found, exercised, restarted, and passes everything."""
    verdict = judge(application, {**APPLICATION, "start": START, "entities": [entity]})
    assert [one for one in verdict["assertions"] if one["verdict"] != "passed"] == []
    assert len(verdict["assertions"]) == 20
    assert verdict["application"]["rule"] == rule
    assert verdict["findings"] == []


def test_streamlit_page_is_started_and_no_more(judge: Judge) -> None:
    """A page passes its start and restart; what is asked of entities is left unjudged, with the reason."""
    verdict = judge("streamlit", {**APPLICATION, "start": START, "entities": [NOTE]})
    assert by_verdict(verdict, "passed") == {"application.start", "application.health", "application.restart"}
    assert by_verdict(verdict, "failed") == set()
    reasons = {one["reason"] for one in verdict["assertions"] if one["verdict"] == "unjudged"}
    assert reasons == {"a Streamlit page has no HTTP interface, so that only its start can be judged"}


def test_wrong_port_is_found_and_the_application_judged_there(judge: Judge) -> None:
    """An application that listens elsewhere than the check says fails just that."""
    change = ("app.py", 'int(os.environ.get("PORT", "5000"))', "5001")
    check = {**APPLICATION, "entities": [NOTE], "start": {"port": 8123}}
    verdict = judge("flask", check, change)
    assert by_verdict(verdict, "failed") == {"application.port"}
    assert by_verdict(verdict, "unjudged") == set()
    assert verdict["application"]["port"] == 5001
    assert rules(verdict) == {"port"}


def test_port_that_nobody_asked_for_is_a_remark(judge: Judge) -> None:
    """An application with a port of its own passes everything where the check names none."""
    verdict = judge(
        "flask", {**APPLICATION, "entities": [NOTE]}, ("app.py", 'int(os.environ.get("PORT", "5000"))', "5001")
    )
    assert by_verdict(verdict, "passed") == {one["id"] for one in verdict["assertions"]}
    assert rules(verdict) == {"port"}


def test_declared_command_is_used(judge: Judge) -> None:
    """A check's own command is run as it is, with the port in its place."""
    command = ["python3", "-m", "flask", "--app", "app", "run", "--port", "{port}"]
    verdict = judge("flask", {**APPLICATION, "entities": [NOTE], "start": {"command": command}})
    assert by_verdict(verdict, "failed") == set()
    assert verdict["application"]["rule"] == "0 the check's command"


def test_library_that_the_image_lacks_is_no_fault(judge: Judge) -> None:
    """An application that declares what this image does not have is not judged at all, and the library is named."""
    broken = ("app/main.py", "import sqlite3\n", "import sqlite3\n\nimport nosuchlibrary\n")
    declared = ("requirements.txt", "uvicorn", "uvicorn\nnosuchlibrary>=2")
    verdict = judge("fastapi", {**APPLICATION, "entities": [COURSE]}, broken, declared)
    assert by_verdict(verdict, "unjudged") == {one["id"] for one in verdict["assertions"]}
    assert rules(verdict) == {"missing-library"}


def test_library_that_nobody_declares_is_a_fault(judge: Judge) -> None:
    """An import of something that no list of requirements names would fail anywhere."""
    verdict = judge(
        "fastapi", APPLICATION, ("app/main.py", "import sqlite3\n", "import sqlite3\n\nimport nosuchlibrary\n")
    )
    assert by_verdict(verdict, "failed") == {"application.start"}


def test_flood_and_children_disturb_nothing(judge: Judge) -> None:
    """What prints without end and leaves children in sessions of their own behind is judged like anything else."""
    noise = (
        f"import subprocess\nimport threading\n\nFLOOD = 'x' * 65536\nsubprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
        f"threading.Thread(target=lambda: [print(FLOOD) for _ in range(2000)], daemon=True).start()\n\n{SERVES}"
    )
    verdict = judge("flask", {**APPLICATION, "entities": [NOTE]}, ("app.py", SERVES, noise))
    assert by_verdict(verdict, "passed") == {one["id"] for one in verdict["assertions"]}
    assert max(len(one["evidence"].get("log_tail", "")) for one in verdict["assertions"]) <= 4096


def test_application_that_forks_without_end_has_a_verdict(judge: Judge) -> None:
    """One that uses up the processes that there may be is found to answer nothing, and the judge goes on to its end."""
    forks = (
        "def multiply():\n    import time\n\n    for _ in range(1000):\n        try:\n"
        "            if os.fork() == 0:\n                time.sleep(3600)\n"
        f"        except OSError:\n            return\n\n\n{SERVES}\n    multiply()"
    )
    verdict = judge("flask", {**APPLICATION, "timeout_seconds": 60, "entities": [NOTE]}, ("app.py", SERVES, forks))
    deeds = {f"note.{deed}.valid" for deed in ("create", "read", "list", "update", "delete")}
    assert by_verdict(verdict, "failed") == {"application.health", *deeds}


def test_deadline_leaves_the_rest_unjudged(judge: Judge) -> None:
    """When the check's time is up there is a verdict, in which nothing passed that was not seen."""
    change = ("app/main.py", "    migrate()", "    import time\n\n    time.sleep(3600)")
    verdict = judge("fastapi", {"kind": "application", "timeout_seconds": 8, "entities": [COURSE]}, change)
    assert by_verdict(verdict, "passed") == set()
    assert {one["reason"] for one in verdict["assertions"]} == {"the time of the check was up"}


def test_empty_workspace_has_no_application(judge: Judge, tmp_path: Path) -> None:
    """Where there is nothing, the start fails and so does what one does with entities."""
    (tmp_path / "empty").mkdir()
    verdict = judge(tmp_path / "empty", {**APPLICATION, "entities": [COURSE]})
    deeds = {f"course.{deed}.valid" for deed in ("create", "read", "list", "update", "delete")}
    assert by_verdict(verdict, "failed") == {"application.start", *deeds}


def test_imports_are_judged_one_by_one(judge: Judge, tmp_path: Path) -> None:
    """A module that raises, hangs or cannot be parsed fails alone; modules import each other from where they run."""
    write(
        tmp_path / "work",
        {
            "shop/main.py": "import helper\nfrom shop.models import PRICE\n",
            "shop/models.py": "PRICE = 1\n",
            "shop/helper.py": "NAME = 'x'\n",
            "shop/broken.py": "def (:\n",
            "shop/raises.py": "raise ValueError('no')\n",
            "page.js": "const a = 1;\n",
            "bad.js": "const = 1;\n",
            "tests/test_it.py": "import nothing\n",
        },
    )
    verdict = judge(tmp_path / "work", {"kind": "imports", "timeout_seconds": 90})
    # main.py asks for two folders at once, which no program gives it.
    failing = {"imports.shop/broken.py", "imports.shop/raises.py", "imports.bad.js", "imports.shop/main.py"}
    assert by_verdict(verdict, "failed") == failing
    assert verdict["figures"] == {"modules": 7, "modules_imported": 3}


def test_own_tests_are_counted(judge: Judge, tmp_path: Path) -> None:
    """Tests of a project in a folder, and a package's test script, each have a verdict and are counted together."""
    write(
        tmp_path / "work",
        {
            "product/requirements.txt": "pytest\n",
            "product/sums.py": "def add(a, b):\n    return a + b\n",
            "product/tests/test_sums.py": (
                "import unittest\n\nfrom sums import add\n\n\ndef test_good():\n    assert add(1, 1) == 2\n\n\n"
                "class Case(unittest.TestCase):\n    def test_bad(self):\n        self.assertEqual(add(1, 1), 3)\n"
            ),
            "web/package.json": '{"scripts": {"test": "node --test"}}',
            "web/a.test.js": "require('node:test')('adds', () => {});\n",
        },
    )
    verdict = judge(tmp_path / "work", {"kind": "tests", "timeout_seconds": 90})
    assert by_verdict(verdict, "failed") == {"tests.pytest.product"}
    assert by_verdict(verdict, "passed") == {"tests.npm.web"}
    assert verdict["figures"] == {"tests_total": 3, "tests_passed": 2, "tests_failed": 1, "tests_skipped": 0}


def test_no_tests_are_not_passed_tests(judge: Judge) -> None:
    """An application without tests is unjudged, and its counts are null."""
    verdict = judge("node", {"kind": "tests", "timeout_seconds": 90})
    assert [(one["id"], one["verdict"]) for one in verdict["assertions"]] == [("tests", "unjudged")]
    assert set(verdict["figures"].values()) == {None}


def test_source_is_measured(judge: Judge, tmp_path: Path) -> None:
    """Ruff, bandit and radon give figures, and findings with file and line; a file that is no Python is named."""
    branches = "".join(f"    if value == {number}:\n        return {number}\n" for number in range(12))
    write(
        tmp_path / "work",
        {
            "a.py": "import os\nimport subprocess\n\nsubprocess.call(input(), shell=True)\n",
            "b.py": f"def choose(value):\n{branches}    return None\n",
            "c.py": "def (\n",
        },
    )
    verdict = judge(tmp_path / "work", {"kind": "static", "timeout_seconds": 90})
    figures = verdict["figures"]
    assert by_verdict(verdict, "failed") == {"static.syntax"}
    assert (figures["complexity_max"], figures["bandit_high"], figures["python_files"]) == (13, 1, 3)
    assert figures["ruff_findings"] >= 2
    assert figures["maintainability_mean"] > 0
    assert ("ruff", "F401", "a.py", 1) in {
        (one["tool"], one["rule"], one["file"], one["line"]) for one in verdict["findings"]
    }


def test_judge_says_with_what_it_judged(judge: Judge) -> None:
    """Versions of the judge, of Python, Node and the libraries are part of every verdict."""
    said = judge("node", {"kind": "static", "timeout_seconds": 60})["judge"]
    assert said["version"]
    assert {"fastapi", "flask", "django", "streamlit", "ruff", "bandit", "radon", "node"} <= said["packages"].keys()


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
