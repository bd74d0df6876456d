"""The judge as a program, on an application that needs nothing but Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge import proc
from judge.asked import Check, Unreadable, read
from judge.main import main, run
from judge.program import Program, complete

from runner.evidence.verdicts import read_judgement
from runner.spec.judging import Check as Written

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "tests" / "projects" / "applications" / "python" / "server.py"
ASKED: dict[str, Any] = {
    "format": 1,
    "kind": "application",
    "seed": 5,
    "timeout_seconds": 90,
    "entities": [
        {
            "name": "book",
            "fields": {"title": {"examples": ["Emma", "Ulysses"]}, "pages": {"type": "integer", "examples": [300]}},
        }
    ],
}
MARK = f"7{os.getpid()}1234"
"""Seconds that a child sleeps: nobody else's do."""
DEEDS = {f"book.{deed}.valid" for deed in ("create", "read", "list", "update", "delete")}
FAULTS: dict[str, tuple[str, str, set[str]]] = {
    "reads any": (
        "key in books:\n            self.answer(200, books[key])",
        "books:\n            self.answer(200, list(books.values())[-1])",
        {"book.read.valid"},
    ),
    "creates with 200": ("self.answer(201,", "self.answer(200,", {"book.create.status"}),
    "does not start": ("class Books(", "raise SystemExit(3)\n\n\nclass Books(", {"application.start", *DEEDS}),
    "takes anything": (
        "return None",
        "return body",
        {
            "book.create.missing.title",
            "book.create.missing.pages",
            "book.create.invalid.title",
            "book.create.invalid.pages",
        },
    ),
    "keeps in memory": (
        "return json.loads(FILE.read_text()) if FILE.exists() else {}",
        "return Books.KEPT\n\n    KEPT: dict = {}",
        {"book.persist"},
    ),
    "drops a field": ('"pages": body["pages"]}', '"sheets": body["pages"]}', {"book.field.pages"}),
    "changes nothing": ("books[key].update(sent)", "pass", {"book.update.valid"}),
    "keeps what is deleted": ("books.pop(key, None)", "books.get(key)", {"book.delete.valid"}),
}


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return what judges a copy of the application, with a piece of its text replaced, as the program does."""

    def carried_out(old: str = "", new: str = "", **asked: Any) -> dict[str, Any]:
        workspace = tmp_path / "workspace"
        workspace.mkdir()
        text = SOURCE.read_text()
        assert old in text
        (workspace / "server.py").write_text(text.replace(old, new) if old else text)
        (tmp_path / "check.json").write_text(json.dumps({**ASKED, **asked}))
        assert main([str(tmp_path / "check.json"), str(tmp_path / "checks.json")], workspace) == 0
        verdict: dict[str, Any] = json.loads((tmp_path / "checks.json").read_text())
        return verdict

    return carried_out


def failed(verdict: dict[str, Any]) -> set[str]:
    """Return the ids of the assertions that failed."""
    return {one["id"] for one in verdict["assertions"] if one["verdict"] == "failed"}


def test_correct_application_passes_and_is_read_back_whole(
    judged: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Everything passes, each with evidence, and what the runner reads of the verdict is all of it."""
    verdict = judged()
    assert [one for one in verdict["assertions"] if one["verdict"] != "passed"] == []
    assert verdict["application"]["rule"] == "6 HTTP server of a program"
    told, why = read_judgement(tmp_path)
    assert (told is not None, why) == (True, "")
    assert told is not None
    assert [one.id for one in told.assertions] == [one["id"] for one in verdict["assertions"]]
    assert told.figures == verdict["figures"]
    created = next(one for one in told.assertions if one.id == "book.create.valid")
    assert created.evidence.request is not None
    assert created.evidence.request["path"] == "/books"


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found_and_nothing_else(judged: Callable[..., dict[str, Any]], name: str) -> None:
    """Exactly the assertions about the fault fail."""
    old, new, expected = FAULTS[name]
    verdict = judged(old, new)
    assert failed(verdict) == expected, [one for one in verdict["assertions"] if one["verdict"] != "passed"]


def test_nothing_of_the_application_is_left_running(judged: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """When there is a verdict, what the application started has ended, in whatever session it is."""
    child = f"import subprocess\n\nsubprocess.Popen(['sleep', '{MARK}'], start_new_session=True)\n\n\nclass Books("
    assert failed(judged("class Books(", child)) == set()
    assert not any(MARK in one for one in _commands().values())


def test_check_that_cannot_be_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing or strange check, a kind that nobody knows and a wrong number of arguments end with 2 and a sentence."""
    for content in (
        "{",
        "[]",
        '{"format": 2, "kind": "imports"}',
        '{"format": 1, "kind": "application", "entities": [3]}',
    ):
        (tmp_path / "check.json").write_text(content)
        with pytest.raises(Unreadable):
            read(tmp_path / "check.json")
    (tmp_path / "check.json").write_text('{"format": 1, "kind": "dance"}')
    assert main([str(tmp_path / "check.json"), str(tmp_path / "out.json")], tmp_path) == 2
    assert "known: application, imports, tests, static" in capsys.readouterr().err
    assert main([], tmp_path) == 2
    assert main([str(tmp_path / "nothing"), str(tmp_path / "out.json")], tmp_path) == 2
    assert not (tmp_path / "out.json").exists()


def test_what_a_scenario_says_is_understood(tmp_path: Path) -> None:
    """A check as the runner writes it down arrives here with every field."""
    written = Written.model_validate(
        {
            "id": "api",
            "kind": "application",
            "start": {"command": ["serve", "{port}"], "folder": "x", "port": 8123, "timeout": 9},
            "health": ["/health"],
            "persistence": False,
            "entities": [
                {
                    "name": "course",
                    "path": "/courses",
                    "identifier": "code",
                    "fields": {
                        "code": {"unique": True, "examples": ["A1"], "invalid": [1]},
                        "note": {"required": False},
                    },
                    "relations": {
                        "teacher": {"to": "course", "path": "/a/{id}/{other}", "method": "POST", "listed_at": "/b"}
                    },
                }
            ],
        }
    )
    plain = written.model_dump(mode="json", include={"kind", "start", "health", "entities", "persistence"})
    (tmp_path / "check.json").write_text(json.dumps({"format": 1, "seed": 4, "timeout_seconds": 33, **plain}))
    found = read(tmp_path / "check.json")
    assert (found.seed, found.timeout, found.persistence, found.health) == ("4", 33.0, False, ("/health",))
    assert (found.start.command, found.start.folder, found.start.port) == (("serve", "{port}"), "x", 8123)
    (course,) = found.entities
    assert (course.path, course.identifier) == ("/courses", "code")
    assert (course.fields[0].unique, course.fields[0].invalid, course.fields[1].required) == (True, (1,), False)
    assert (course.relations[0].to, course.relations[0].method, course.relations[0].listed_at) == (
        "course",
        "POST",
        "/b",
    )


def test_own_folder_is_not_imported_from(tmp_path: Path) -> None:
    """Files that the application brings under names that the judge imports are not run by it."""
    for name in ("json", "judge", "socket", "http"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(77)\n")
    (tmp_path / "check.json").write_text('{"format": 1, "kind": "application", "timeout_seconds": 30}')
    program = [sys.executable, "-I", str(ROOT / "images/checker/check.py"), "check.json", "checks.json"]
    assert subprocess.run(program, cwd=tmp_path, check=False, timeout=200).returncode == 0
    assert json.loads((tmp_path / "checks.json").read_text())["assertions"][0]["id"] == "application.start"


def test_deadline_ends_a_judgement(tmp_path: Path) -> None:
    """A check without time left is unjudged throughout, with that reason."""
    shutil.copy(SOURCE, tmp_path / "server.py")
    report = run(Check(kind="application", timeout=60.0), tmp_path, {**os.environ, "PATH": "/nowhere"})
    assert report.content({})["assertions"][0]["verdict"] == "failed"
    (tmp_path / "server.py").write_text(
        SOURCE.read_text().replace("class Books(", "import time\n\ntime.sleep(600)\n\n\nclass Books(")
    )
    begun = time.monotonic()
    report = run(Check(kind="application", timeout=6.0), tmp_path, dict(os.environ))
    assert {one["reason"] for one in report.content({})["assertions"]} == {"the time of the check was up"}
    assert time.monotonic() - begun < 60


def test_program_prints_without_end_and_is_ended(tmp_path: Path) -> None:
    """Of endless output the last is kept, and nobody waits for somebody to read it."""
    loop = "import itertools\nfor n in itertools.count():\n    print('line', n)\n"
    with Program((sys.executable, "-c", loop), tmp_path, dict(os.environ)) as program:
        while not program.tail():
            time.sleep(0.02)
        time.sleep(0.5)
        assert program.alive()
        assert program.stop(60)
        assert 0 < len(program.tail()) <= 3000
        assert sum(map(len, program._kept)) <= 2 * 64 * 1024
    assert program.exit_code is not None


def test_program_that_ignores_the_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    """What does not end when asked is killed, and so is a child with a session and a parent of its own."""
    stubborn = (
        "import signal, subprocess, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sh', '-c', 'setsid sleep "
        + MARK
        + " & exit'])\nprint('ready', flush=True)\ntime.sleep(600)\n"
    )
    with Program((sys.executable, "-c", stubborn), tmp_path, dict(os.environ)) as program:
        while "ready" not in program.tail() or not any(MARK in one for one in _commands().values()):
            time.sleep(0.02)
        assert not program.stop(0.3)
    assert not any(MARK in one for one in _commands().values())


def test_ports_are_found_by_who_listens(tmp_path: Path) -> None:
    """A child's port is its program's, on IPv4 as on IPv6; ports of others are not."""
    serve = (
        "import socket, os, time\n"
        "a = socket.create_server(('127.0.0.1', 0)); b = socket.create_server(('::1', 0), family=socket.AF_INET6)\n"
        "print(a.getsockname()[1], b.getsockname()[1], flush=True)\nos.fork() or time.sleep(60)\ntime.sleep(60)\n"
    )
    with Program((sys.executable, "-c", serve), tmp_path, dict(os.environ)) as program:
        while "\n" not in program.tail():
            time.sleep(0.02)
        first, second = map(int, program.tail().split())
        assert {(one.port, one.host) for one in program.listeners()} == {(first, "127.0.0.1"), (second, "::1")}
        # This process may serve something itself, as other tests leave it: just not the program's ports.
        assert not {first, second} & {one.port for one in proc.listeners([os.getpid()])}


def test_command_runs_to_its_end_or_its_time(tmp_path: Path) -> None:
    """A command's exit code and last words are returned; None where it did not end or cannot be started."""
    env = dict(os.environ)
    assert complete(("sh", "-c", "echo hello; exit 4"), tmp_path, env, 100) == (4, "hello\n")
    assert complete(("sleep", "60"), tmp_path, env, 0.2)[0] is None
    assert complete(("no-such-program",), tmp_path, env, 5) == (None, "no-such-program: No such file or directory")


def _commands() -> dict[int, str]:
    """Return the command lines of all processes."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found
