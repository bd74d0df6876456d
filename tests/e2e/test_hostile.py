"""Workloads that mean harm: each ends with its reason, harms nobody, and is collected without being believed.

Ten gigabytes of log are printed in one line, as the shim drops them; of files, fifty thousand are tried in place
of a million, and of bytes some hundred megabytes, as limits are what counts and not how far beyond them somebody went. What
`test_faults.py` covers is not repeated: children that ignore SIGTERM, links in /out, the rights of the inside.
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from support.project import Project, cgroups_of, copy_project, left_in_engine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MIB = 1024**2
OUTCOMES = {
    "bomb": "timed_out",
    "flood": "passed",
    "many": "exceeded",
    "fill": "exceeded",
    "hidden": "exceeded",
    "nameless": "exceeded",
    "holes": "exceeded",
    "giant": "exceeded",
    "zoo": "passed",
    "late": "passed",
    "full": "passed",
    "shout": "failed",
    "reach": "passed",
}
REASONS = {
    "bomb": "step one: not finished after 15 s (limits.step_timeout)",
    "many": "files and folders: limits.files is 20000 (watched)",
    "fill": f"bytes: limits.workspace is {64 * MIB} (watched)",
    "hidden": f"bytes: limits.state is {32 * MIB} (watched)",
    "nameless": f"bytes: limits.workspace is {64 * MIB} (watched)",
    "holes": f"bytes: limits.workspace is {64 * MIB} (watched)",
    "giant": f"step one: a file would have had more than the {64 * MIB} bytes of limits.workspace",
    "shout": "forged: line",
}
ACTING = {"\x1b", "\x07", "\x9b", "\x7f", "\u202e"}
"""What `shout` says that would act on a terminal."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str, int]:
    """One `runner go` over all workloads, its terminal text and exit code."""
    project = copy_project("hostile", tmp_path_factory.mktemp("hostile") / "hostile")
    result = project.run("go", "--jobs", "3", timeout=800)
    return project, result.stdout + result.stderr, result.returncode


def _one(project: Project, scenario: str) -> Path:
    (found,) = project.runs.glob(f"hostile/{scenario}-r1-*")
    return found


def _found(project: Project, scenario: str, name: str = "found.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_one(project, scenario) / "generated_artifacts" / name).read_text())
    return content


def _shim(project: Project, scenario: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_one(project, scenario) / "steps/step_001/out/.shim.json").read_text())
    return content


def _members(root: Path) -> Iterator[tarfile.TarInfo]:
    with zstandard.open(root / "run.tar.zst", "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        yield from archive


def test_each_ends_with_its_outcome_and_reason(done: tuple[Project, str, int]) -> None:
    """Every workload has a finished record that says what became of it and, if a limit ended it, which."""
    project, text, code = done
    records = project.records()
    assert {name: record["outcome"] for name, record in records.items()} == OUTCOMES, text
    for name, reason in REASONS.items():
        assert records[name]["reason"].endswith(reason), name
    assert code == 1
    watched = {name: record["steps"][0]["attempts"][0]["watched"] for name, record in records.items()}
    assert {name for name in watched if watched[name]} == {"many", "fill", "hidden", "nameless", "holes"}


def test_nothing_is_left_in_the_engine(done: tuple[Project, str, int]) -> None:
    """No container, no volume, no control group, and so no process of any of them."""
    assert left_in_engine(done[0]) == []
    assert cgroups_of(done[0]) == set()


def test_a_fork_bomb_stays_within_its_processes(done: tuple[Project, str, int]) -> None:
    """As many processes as limits.pids allows, all of them deaf and in sessions of their own, end with the step."""
    assert 32 <= _shim(done[0], "bomb")["killed_processes"] <= 64


def test_ten_gigabytes_in_one_line_take_two_megabytes(done: tuple[Project, str, int]) -> None:
    """What is beyond limits.log is read, counted and dropped, in the container already."""
    log = _one(done[0], "flood") / "steps/step_001/stdout.log"
    assert log.stat().st_size < 1.3 * MIB
    attempt = done[0].records()["flood"]["steps"][0]["attempts"][0]
    assert attempt["stdout_bytes"] == 10 * 1024 * MIB
    assert attempt["dropped_bytes"] > 10 * 1024 * MIB - 2 * MIB


def test_what_was_stopped_did_not_get_far(done: tuple[Project, str, int]) -> None:
    """A step is stopped seconds after it has too much: before it has made all of its files or written all of its bytes."""
    files = sum(len(names) for _, _, names in os.walk(_one(done[0], "many") / "generated_artifacts"))
    assert 19_000 < files < 50_000
    written = sum(path.stat().st_size for path in (_one(done[0], "fill") / "generated_artifacts").iterdir())
    assert 64 * MIB < written < 600 * MIB


def test_holes_cost_no_time_and_no_archive(done: tuple[Project, str, int]) -> None:
    """Nobody reads through half a terabyte of holes; the record says that there is no archive, and why."""
    record = done[0].records()["holes"]
    assert record["archive"] is None
    assert any("there is no archive" in note for note in record["notes"])
    assert any("not in the history" in note for note in record["notes"])


def test_a_file_of_a_terabyte_is_refused(done: tuple[Project, str, int]) -> None:
    """The kernel refuses it, holes or not: with an error for who asks, with a signal for who does not."""
    assert _found(done[0], "giant") == {"refused": "EFBIG"}


def test_everything_a_file_system_can_hold_is_collected(done: tuple[Project, str, int]) -> None:
    """Odd names, locked files and ages beyond reason are archived; links stay links; pipes and sockets are named."""
    root = _one(done[0], "zoo")
    members = {member.name.rpartition("generated_artifacts/")[2]: member for member in _members(root)}
    assert {"two\nlines", "\x1b[2J\x1b]0;owned\x07", "\u202etxt.exe", "-rf", " ", "...", "closed/inner"} <= set(members)
    links = {"shadow": "/etc/shadow", "root": "/", "up": "../../../../../../etc/passwd", "loop": "loop", "self": "."}
    assert {name: members[name].linkname for name in links if members[name].issym()} == links
    assert not {"pipe", "socket", "device", "passwd"} & set(members)
    assert not any(member.isdev() for member in members.values())
    assert max(len(name) for name in members) > 6000
    notes = " ".join(done[0].records()["zoo"]["notes"])
    assert all(word in notes for word in ("pipe: a fifo", "socket: a socket", "closed/inner", "locked"))


def test_what_needs_rights_is_refused(done: tuple[Project, str, int]) -> None:
    """No device, no clock, no other owner, no link to a file outside of the workspace."""
    refused = {"clock": "EPERM", "device": "EPERM", "link out": "EXDEV", "owner": "EPERM"}
    assert _found(done[0], "zoo") == {"refused": refused}


def test_a_step_cannot_lock_its_own_folders(done: tuple[Project, str, int]) -> None:
    """/workspace, /state and /out without any permission are given back to their owner, and all in them is read."""
    root = _one(done[0], "zoo")
    for name in ("generated_artifacts", "state", "steps/step_001/out"):
        assert stat.S_IMODE((root / name).stat().st_mode) & stat.S_IRWXU == stat.S_IRWXU
    assert _shim(done[0], "zoo")["exit_code"] == 0


def test_a_setuid_bit_is_kept_as_evidence(done: tuple[Project, str, int]) -> None:
    """The bit is where it was set, on a file of the caller; inside, no_new_privs makes the kernel ignore it."""
    status = (_one(done[0], "zoo") / "generated_artifacts/setuid").stat()
    assert status.st_mode & stat.S_ISUID
    assert status.st_uid == os.getuid()


def test_a_child_does_not_write_after_the_end(done: tuple[Project, str, int]) -> None:
    """A daemon that goes on to write reports is dead before the shim writes its own, and nothing changes afterwards."""
    report = _shim(done[0], "late")
    assert (report["exit_code"], report["stdout_bytes"]) == (0, 0)
    assert report["killed_processes"] >= 1
    root = _one(done[0], "late")
    finished = (root / "metadata.json").stat().st_mtime_ns
    written = [root / "generated_artifacts/later", root / "steps/step_001/out/result.json"]
    assert all(path.stat().st_mtime_ns < finished for path in written)


def test_what_is_in_memory_has_a_size(done: tuple[Project, str, int]) -> None:
    """/tmp and /dev/shm are full when they are full; the host's disk has nothing of it."""
    assert _found(done[0], "full") == {"/dev/shm": ["ENOSPC", 8], "/tmp": ["ENOSPC", 16]}


def test_reports_that_are_pipes_and_folders_block_nobody(done: tuple[Project, str, int]) -> None:
    """A pipe in a report's place is not opened, a folder in the shim's is moved away; both is noted or seen."""
    notes = done[0].records()["full"]["notes"]
    assert {note.split()[2] for note in notes} == {"result.json", ".answers.jsonl"}
    assert _shim(done[0], "full")["exit_code"] == 0


def test_nothing_else_can_be_reached(done: tuple[Project, str, int]) -> None:
    """Neither the host, nor its engine, nor a metadata service, nor the kernel's own switches."""
    for number in (1, 2):
        found = _found(done[0], "reach", f"found{number}.json")
        assert found["reached"] == []
        assert found["gateway"] == ["gateway.sock"]


def test_the_gateway_knows_one_token(done: tuple[Project, str, int]) -> None:
    """A step's own token works; none, a guessed one, and that of a step before it are refused."""
    first, second = (_found(done[0], "reach", f"found{number}.json") for number in (1, 2))
    assert first["answers"] == second["answers"] == {"own": 200, "none": 401, "guessed": 401}
    assert second["earlier"] == [401]


def test_nothing_that_was_said_acts_on_a_terminal(done: tuple[Project, str, int]) -> None:
    """Whatever shows a run shows escapes; and no text from inside begins a line, so that none can be forged."""
    project, text, _ = done
    run = f"hostile/{_one(project, 'shout').name}"
    shown = {
        "go": text,
        "show": project.run("show", run).stdout,
        "show --json": project.run("show", run, "--json").stdout,
        "runs": project.run("runs").stdout,
        "README.md": (_one(project, "shout") / "README.md").read_text(),
        "steps": project.run("steps", f"hostile/{_one(project, 'zoo').name}").stdout,
    }
    for name, content in shown.items():
        assert content, name
        assert not ACTING & set(content), name
        assert not [line for line in content.splitlines() if line.startswith("forged")], name
    assert "\\x1b[2J" in shown["go"]
    raw = project.run("logs", run, "--stream", "stdout").stdout
    assert "\x1b[2J" in raw  # not a terminal: the bytes as they are
