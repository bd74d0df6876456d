"""Who owns an engine object, and whether it still lives."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.engine.owner import Owner, current, from_labels, is_alive

OWNER = Owner(uid=1000, pid=77, started=4242, boot="boot-1", host="lab")
NOBODY = 2**22 + 1
"""No process has such an id."""
_STAT = "{pid} ({name}) {state} 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 {started} 12345 6 18446744073709551615"


def _proc(root: Path, *, boot: str = "boot-1", name: str = "python3", state: str = "S", started: int = 4242) -> Path:
    (root / "sys/kernel/random").mkdir(parents=True)
    (root / "sys/kernel/random/boot_id").write_text(f"{boot}\n")
    (root / "77").mkdir()
    (root / "77/stat").write_text(_STAT.format(pid=77, name=name, state=state, started=started))
    return root


def test_labels_and_back() -> None:
    """An owner survives being written into labels."""
    assert from_labels(OWNER.labels()) == OWNER


@pytest.mark.parametrize("label", sorted(OWNER.labels()))
def test_incomplete_labels_name_nobody(label: str) -> None:
    """Labels that lack one part do not name an owner."""
    labels = OWNER.labels()
    del labels[label]
    assert from_labels(labels) is None


def test_labels_that_are_no_numbers_name_nobody() -> None:
    """Labels with a process id that is no number do not name an owner."""
    assert from_labels({**OWNER.labels(), "org.codegen-runner.owner-pid": "x"}) is None


def test_this_process_lives() -> None:
    """The running process recognises itself as alive."""
    assert current() == current()
    assert current().gid == os.getgid()
    assert is_alive(current())


def test_an_id_used_again_is_not_the_owner() -> None:
    """A process of the same id that started at another time is not the owner."""
    assert not is_alive(dataclasses.replace(current(), started=current().started + 1))


@pytest.mark.processes
def test_an_ended_process_is_dead() -> None:
    """A process that has ended, but was not collected by its parent, is dead; and so is one that was."""
    with subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE) as process:
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        owner = dataclasses.replace(current(), pid=process.pid, started=int(stat[19]))
        assert process.stdout is not None
        process.stdout.read()
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            pass
        assert not is_alive(owner)
    assert not is_alive(owner)


@pytest.mark.parametrize("name", ["python3", "a b", "(x) S 1", ") R 2 3"])
def test_any_process_name_is_read_past(tmp_path: Path, name: str) -> None:
    """Blanks and brackets in a process name do not shift the fields."""
    assert is_alive(OWNER, host="lab", proc=_proc(tmp_path, name=name))


@pytest.mark.parametrize(
    ("changed", "alive"),
    [({}, True), ({"boot": "boot-2"}, False), ({"state": "Z"}, False), ({"started": 4243}, False)],
)
def test_liveness_needs_boot_start_and_state(tmp_path: Path, changed: dict[str, str], *, alive: bool) -> None:
    """An owner lives only in the same boot, with the same start time, and not as a zombie."""
    assert is_alive(OWNER, host="lab", proc=_proc(tmp_path, **changed)) is alive  # type: ignore[arg-type]  # of two types


def test_a_missing_process_is_dead(tmp_path: Path) -> None:
    """No process of that id: dead."""
    assert not is_alive(dataclasses.replace(OWNER, pid=NOBODY), host="lab", proc=_proc(tmp_path))


def test_another_hosts_owner_counts_as_alive(tmp_path: Path) -> None:
    """What cannot be judged from here is left alone."""
    assert is_alive(dataclasses.replace(OWNER, pid=NOBODY), host="elsewhere", proc=_proc(tmp_path))


def test_a_process_that_may_not_be_looked_at_counts_as_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hidepid=1 another user's state cannot be read: it is not judged, unless the machine has booted since."""
    proc, read = _proc(tmp_path), Path.read_text

    def refuse(path: Path, *args: str) -> str:
        if path.name == "stat":
            raise PermissionError(13, "Permission denied")
        return read(path, *args)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert is_alive(OWNER, host="lab", proc=proc)
    assert not is_alive(dataclasses.replace(OWNER, boot="boot-0"), host="lab", proc=proc)


def test_a_process_that_is_hidden_counts_as_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hidepid=2 another user's seems not to be there; the kernel refuses it a signal all the same."""
    answers: list[OSError] = [PermissionError(1, "Operation not permitted"), ProcessLookupError(3, "No such process")]
    asked: list[tuple[int, int]] = []

    def kill(pid: int, signal: int) -> None:
        asked.append((pid, signal))
        raise answers.pop(0)

    monkeypatch.setattr(os, "kill", kill)
    hidden = dataclasses.replace(OWNER, pid=78)
    assert is_alive(hidden, host="lab", proc=_proc(tmp_path))
    assert not is_alive(hidden, host="lab", proc=tmp_path)
    assert asked == [(78, 0)] * 2
