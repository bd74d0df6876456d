"""Files in a folder that all users share: whole or not there, and gone once nobody needs them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runner.engine.admission import Room
from runner.engine.owner import current
from runner.engine.reservations import FOLDER, open_reservations
from runner.engine.shared import open_shared, shared_subfolder
from runner.engine.tickets import Written, write_ticket
from runner.spec.site import Site
from runner.testing.engine import FakeEngine

INFO = FakeEngine().info()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for tickets."""
    return shared_subfolder(FOLDER, tmp_path)


def test_what_killed_writers_left_is_removed(folder: Path) -> None:
    """Files that never got their names go when they are old, tickets that cannot be read when their runner is dead."""
    me = current()
    old = [folder / name for name in (f".{me.uid}-7-1-ab.ticket", ".lock-abcdefgh")]
    young = [folder / name for name in (f".{me.uid}-8-1-ab.ticket", ".lock-hgfedcba")]
    others = folder / f".{me.uid + 1}-7-1-ab.ticket"
    cut = folder / f"{me.uid}-{me.pid}-1-ab.ticket"
    alive = folder / f"{me.uid}-{me.pid}-{me.started}-ab.ticket"
    unclear = folder / f"{me.uid}-x.ticket"
    for path in (*old, *young, others, cut, alive, unclear):
        path.write_text("{")
    for path in (*old, others):
        os.utime(path, (1, 1))
    with open_reservations(me, INFO, Site(), "next", lambda _: Room(cpus=0, memory=0), parent=folder.parent):
        assert not [path for path in (*old, cut) if path.exists()]
        assert [path for path in (*young, others, alive, unclear) if not path.exists()] == []


def test_a_ticket_is_whole_or_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that found room is not taken for a ticket: the one before it stays, and nothing else."""
    path = folder / "x.ticket"
    write_ticket(path, Written(owner={}, experiment="before"))
    before, write, calls = path.read_bytes(), os.write, list[int]()

    def short(handle: int, content: bytes) -> int:
        calls.append(handle)
        if len(calls) == 1:
            return write(handle, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            write_ticket(path, Written(owner={}, experiment="x"))
    assert path.read_bytes() == before
    assert not list(folder.glob(".*.ticket"))


def test_an_unfinished_shared_file_goes_when_it_is_made_again(tmp_path: Path) -> None:
    """Whoever makes a shared file removes what one left who was killed over it, and no other file."""
    left, other = tmp_path / ".a[1].lock-abcdefgh", tmp_path / ".b.lock-abcdefgh"
    for path in (left, other):
        path.touch()
        os.utime(path, (1, 1))
    os.close(open_shared(tmp_path / "a[1].lock"))
    assert {path.name for path in tmp_path.iterdir()} == {"a[1].lock", other.name}
