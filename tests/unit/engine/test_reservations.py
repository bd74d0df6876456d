"""Tickets in a folder that all users share."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from runner.engine.admission import Room
from runner.engine.arbitration import Host
from runner.engine.owner import current
from runner.engine.reservations import FOLDER, Reservations, open_reservations
from runner.engine.shared import open_shared, shared_subfolder
from runner.engine.tickets import Written, read_tickets, write_ticket
from runner.errors import StorageError
from runner.spec.site import Site
from runner.testing.engine import FakeEngine

GIB = 1024**3
ONE = Room(cpus=1.0, memory=GIB)
INFO = replace(FakeEngine().info(), cpus=2)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return a folder that every user may write to."""
    tmp_path.chmod(0o1777)
    return tmp_path


@pytest.fixture
def mine(shared: Path) -> Iterator[Reservations]:
    """Return this process's ticket on a calm machine of two cores."""
    with open_reservations(current(), INFO, Site(), "mine", lambda _: Room(cpus=0, memory=0), parent=shared) as one:
        one.host = lambda: Host(room=Room(cpus=2.0, memory=8 * GIB))
        yield one


def test_room_is_reserved_and_given_back(mine: Reservations) -> None:
    """The third container of one core waits on two cores, with the reason, until another has ended."""
    assert mine.ask("a", ONE, run="r", step="s") == ""
    assert mine.ask("b", ONE, run="r", step="s") == ""
    assert mine.ask("c", ONE, run="r", step="s") == "1 cores wanted, 2 of 2 are reserved"
    (ticket,) = read_tickets(mine.folder)
    assert [(one.key, one.granted, one.reason[:7]) for one in ticket.demands] == [
        ("a", True, ""),
        ("b", True, ""),
        ("c", False, "1 cores"),
    ]
    mine.drop("a")
    assert mine.ask("c", ONE, run="r", step="s") == ""
    mine.close()
    assert read_tickets(mine.folder) == []


def test_what_runs_already_is_only_written_down(mine: Reservations) -> None:
    """A container taken over from a dead runner takes its room without asking."""
    for key in "ab":
        mine.ask(key, ONE, run="r", step="s")
    assert mine.ask("c", ONE, run="r", step="s", running=True) == ""
    assert "3 of 2 are reserved" in mine.ask("d", ONE, run="r", step="s")


def test_only_the_engine_knows_of_some(mine: Reservations) -> None:
    """What runs and is on no ticket is asked for with the keys of those that are."""
    known: list[tuple[str, ...]] = []

    def others(keys: tuple[str, ...]) -> Room:
        known.append(keys)
        return Room(cpus=2.0, memory=0)

    mine.others = others
    mine.ask("a", ONE, run="r", step="s", running=True)
    assert "3 of 2" in mine.ask("b", ONE, run="r", step="s")
    assert known == [("a",)]


_CHILD = """
import sys, time
from pathlib import Path
from runner.engine.admission import Room
from runner.engine.arbitration import Host
from runner.engine.owner import current
from runner.engine.reservations import Reservations
from runner.spec.site import Site
one = Reservations(folder=Path(sys.argv[1]), owner=current(), experiment="child", site=Site(),
                   host=lambda: Host(room=Room(cpus=2.0, memory=1 << 40)), others=lambda _: Room(cpus=0, memory=0))
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(sys.argv[2])):
    while one.ask(f"{sys.argv[3]}-{n}", Room(cpus=1.0, memory=1), run="r", step="s"):
        time.sleep(0.001)
    with open(sys.argv[4], "a") as log:
        log.write("+1\\n")
    time.sleep(0.02)
    with open(sys.argv[4], "a") as log:
        log.write("-1\\n")
    one.drop(f"{sys.argv[3]}-{n}")
one.close()
"""


@pytest.mark.processes
def test_processes_at_once_never_take_more_than_there_is(mine: Reservations, tmp_path: Path) -> None:
    """Four processes that want and give back a core twelve times each never hold more than two together."""
    log = tmp_path / "log"
    log.touch()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, mine.folder, "12", name, log],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in "abcd"
    ]
    # All begin together, or the first might be through before the last is there.
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    for child in children:
        _, err = child.communicate(timeout=240)
        assert child.returncode == 0, err.decode()
    held, most = 0, 0
    for line in log.read_text().split():
        held += int(line)
        most = max(most, held)
    assert held == 0
    assert most == 2, "both cores are used, and no third"


def take_part(stack: ExitStack, folder: Path, site: Site) -> Reservations:
    """Return a further ticket, of a runner that goes by a site file of its own."""
    nobody = Room(cpus=0, memory=0)
    one = stack.enter_context(open_reservations(current(), INFO, site, "other", lambda _: nobody, parent=folder))
    one.host = lambda: Host(room=Room(cpus=site.cpus or 4.0, memory=8 * GIB), available=8 * GIB, load=0.0)
    return one


def test_two_who_wait_by_different_site_files(shared: Path) -> None:
    """Two cores are taken: who may use two waits, first; who may use four starts behind him."""
    with ExitStack() as stack:
        busy, narrow, wide = (take_part(stack, shared, site) for site in (Site(), Site(cpus=2.0), Site()))
        assert busy.ask("b1", ONE, run="r", step="s") == ""
        assert busy.ask("b2", ONE, run="r", step="s") == ""
        assert narrow.ask("n", ONE, run="r", step="s") == "1 cores wanted, 2 of 2 are reserved"
        assert wide.ask("w", ONE, run="r", step="s") == ""
        assert narrow.ask("n", ONE, run="r", step="s") == "1 cores wanted, 3 of 2 are reserved"
        for reservations, key in ((busy, "b1"), (busy, "b2")):
            reservations.drop(key)
        assert narrow.ask("n", ONE, run="r", step="s") == ""
        assert len(read_tickets(narrow.folder)) == 3


def test_several_tickets_of_one_process_stand_beside_each_other(mine: Reservations) -> None:
    """What one part of a program has reserved, another part of it does not get, and neither takes the other's back."""
    with open_reservations(current(), INFO, Site(), "second", mine.others, parent=mine.folder.parent) as second:
        second.host = mine.host
        assert mine.ask("a", ONE, run="r", step="s") == ""
        assert second.ask("b", ONE, run="r", step="s") == ""
        assert second.ask("c", ONE, run="r", step="s") == "1 cores wanted, 2 of 2 are reserved"
    assert [[one.key for one in ticket.demands] for ticket in read_tickets(mine.folder)] == [["a"]]


def test_a_ticket_without_rules_is_believed(mine: Reservations) -> None:
    """A runner of an earlier version does not write what it goes by; it is judged by the rules of the one that asks."""
    mine.ask("a", ONE, run="r", step="s")
    (path,) = mine.folder.glob("*.ticket")
    written = json.loads(path.read_text())
    assert written.pop("rules")["cpus"] == 2.0
    path.write_text(json.dumps(written))
    (found,) = read_tickets(mine.folder)
    assert found.rules is None
    assert [one.key for one in found.demands] == ["a"]


def test_a_dead_runners_ticket_counts_no_more(mine: Reservations) -> None:
    """Neither one whose process has ended nor one of a file that belongs to somebody else is believed."""
    dead = replace(current(), started=1)
    path = mine.folder / f"{dead.uid}-{dead.pid}-1.ticket"
    path.write_text(json.dumps({"owner": dead.labels(), "experiment": "x", "demands": []}))
    liar = replace(current(), uid=current().uid + 1)
    (mine.folder / "liar.ticket").write_text(json.dumps({"owner": liar.labels(), "experiment": "x", "demands": []}))
    (mine.folder / "broken.ticket").write_text("{")
    (mine.folder / "link.ticket").symlink_to(path)
    os.mkfifo(mine.folder / "pipe.ticket")
    mine.ask("a", ONE, run="r", step="s")
    assert [one.experiment for one in read_tickets(mine.folder)] == ["mine"]
    with open_reservations(current(), INFO, Site(), "next", mine.others, parent=mine.folder.parent):
        assert not path.exists(), "a dead runner of the same user is cleared away"


def test_a_held_lock_is_no_licence(mine: Reservations, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process sits on the lock nothing is given out, and it is said why."""
    monkeypatch.setattr("runner.engine.reservations._LOCK_SECONDS", 0.05)
    handle = open_shared(mine.folder / "lock")
    with ExitStack() as stack:
        stack.callback(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert mine.ask("a", ONE, run="r", step="s") == "the register of reservations is busy"
    assert mine.ask("a", ONE, run="r", step="s") == ""


def test_what_is_given_back_is_free_at_once(mine: Reservations, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long somebody sits on the lock, what a runner has given back is on its ticket no more."""
    for key in "ab":
        assert mine.ask(key, ONE, run="r", step="s") == ""
    handle = open_shared(mine.folder / "lock")
    with ExitStack() as stack:
        stack.callback(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        monkeypatch.setattr("runner.engine.reservations._LOCK_SECONDS", 120.0)
        begun = time.monotonic()
        mine.drop("a")
        assert time.monotonic() - begun < 60
        (ticket,) = read_tickets(mine.folder)
        assert [one.key for one in ticket.demands] == ["b"]


def test_a_ticket_that_cannot_be_written_is_written_later(mine: Reservations, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full file system the last reservation takes the ticket with it, and another one goes once there is room."""
    monkeypatch.setattr("runner.engine.reservations._WRITE_AGAIN", 0.05)
    for key in "ab":
        assert mine.ask(key, ONE, run="r", step="s") == ""
    full = [True]

    def write(path: Path, written: Written) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_ticket(path, written)

    monkeypatch.setattr("runner.engine.reservations.write_ticket", write)
    mine.drop("a")
    (ticket,) = read_tickets(mine.folder)
    assert [one.key for one in ticket.demands] == ["a", "b"]
    full.clear()
    end = time.monotonic() + 60
    while len(read_tickets(mine.folder)[0].demands) == 2 and time.monotonic() < end:
        time.sleep(0.01)
    (ticket,) = read_tickets(mine.folder)
    assert [one.key for one in ticket.demands] == ["b"]
    full.append(True)
    mine.drop("b")
    assert read_tickets(mine.folder) == []


def test_a_ticket_taken_back_does_not_come_back(mine: Reservations, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was still to be written is not, once the runner takes part no more."""
    monkeypatch.setattr("runner.engine.reservations._WRITE_AGAIN", 0.2)
    for key in "ab":
        assert mine.ask(key, ONE, run="r", step="s") == ""
    with monkeypatch.context() as patched:
        patched.setattr("runner.engine.reservations.write_ticket", _full)
        mine.drop("a")
    mine.close()
    time.sleep(0.5)
    assert list(mine.folder.glob("*.ticket")) == []


def _full(path: Path, written: Written) -> None:
    raise OSError(errno.ENOSPC, f"No space left on device for {path} of {written.experiment}")


def test_nobody_waits_for_anothers_engine(mine: Reservations) -> None:
    """While a runner's engine is slow to answer, others reserve what they need, and it can give back."""
    asked, answers = threading.Event(), threading.Event()

    def hang(_: object, *, anew: bool = False) -> None:
        if not anew:
            asked.set()
            answers.wait(120)

    with open_reservations(
        current(), INFO, Site(), "slow", mine.others, refresh=hang, parent=mine.folder.parent
    ) as slow:
        slow.host = mine.host
        assert slow.ask("s", ONE, run="r", step="s", running=True) == ""
        reasons: list[str] = []
        thread = threading.Thread(target=lambda: reasons.append(slow.ask("t", ONE, run="r", step="s")))
        thread.start()
        assert asked.wait(60)
        begun = time.monotonic()
        slow.drop("s")
        assert [mine.ask(key, ONE, run="r", step="s") for key in "ab"] == ["", ""]
        assert time.monotonic() - begun < 60
        answers.set()
        thread.join(60)
        assert reasons == ["1 cores wanted, 2 of 2 are reserved"]


def test_a_register_that_cannot_be_used_stops_nobody(mine: Reservations) -> None:
    """Sharing is a courtesy: a runner goes on alone when the folder is gone."""
    for file in mine.folder.iterdir():
        file.unlink()
    mine.folder.rmdir()
    assert mine.ask("a", ONE, run="r", step="s") == ""
    mine.drop("a")


def test_a_folder_that_is_not_everybodys_is_refused(shared: Path) -> None:
    """A link or a private folder in its place is named, with what to type."""
    assert shared_subfolder(FOLDER, shared).stat().st_mode & 0o7777 == 0o1777
    (shared / "private").mkdir(mode=0o700)
    (shared / "link").symlink_to(shared / FOLDER)
    for name in ("private", "link"):
        with pytest.raises(StorageError, match="cannot be shared") as caught:
            shared_subfolder(name, shared)
        assert "chmod 1777" in caught.value.hint


def test_who_waits_hears_at_once_what_is_given_back(mine: Reservations) -> None:
    """A place that this process frees is not found by the next look only; after its block nobody is told."""
    woken = threading.Event()
    mine.ask("a", ONE, run="r", step="s")
    with mine.heard(woken):
        assert not woken.is_set()
        mine.drop("a")
        assert woken.is_set()
        woken.clear()
    mine.ask("b", ONE, run="r", step="s")
    mine.drop("b")
    assert not woken.is_set()
