"""What is left to do of answered calls: it is done soon, for many at once, and what fails is told."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from runner.gateway import afterwards as module
from runner.gateway.afterwards import SOON, Afterwards
from runner.gateway.bodies import Bodies, Packed, read_body
from runner.gateway.pending import SUFFIX, Pending


@pytest.fixture
def pending(tmp_path: Path) -> Pending:
    """Return a journal without calls."""
    return Pending(tmp_path / f"a{SUFFIX}")


@pytest.fixture
def bodies(tmp_path: Path) -> Bodies:
    """Return where bodies go."""
    return Bodies(tmp_path / "llm" / "bodies", "full", [], [])


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the descriptors that have been synced."""
    found: list[int] = []
    monkeypatch.setattr(os, "fdatasync", found.append)
    return found


def packed(bodies: Bodies, content: bytes) -> Packed:
    """Return a body as it is kept."""
    body = bodies.pack(content)
    assert body is not None
    return body


async def until_empty(pending: Pending) -> None:
    """Wait until no call is pending."""
    while pending.left():  # noqa: ASYNC110  nothing tells of it: that is what is tested
        await asyncio.sleep(SOON)


def note(pending: Pending, after: Afterwards, n: int, *kept: Packed) -> None:
    """Have a call that has its answer."""
    pending.begin(n, {})
    pending.keep(n, kept)
    after.note(n, kept)


def test_many_calls_take_one_sync(tmp_path: Path, pending: Pending, bodies: Bodies, synced: list[int]) -> None:
    """Calls that end close to one another are brought to the disk together, and all their bodies have files then."""
    calls_file = tmp_path / "calls.jsonl"
    calls_file.touch()

    async def look() -> None:
        after = Afterwards(calls_file, bodies, pending)
        for n in range(20):
            note(pending, after, n, packed(bodies, b"%d" % n))
        assert not bodies.folder.exists()
        assert len(pending.left()) == 20
        async with asyncio.timeout(30.0):
            await until_empty(pending)
        assert len(synced) == 1
        note(pending, after, 20)
        await after.done()
        assert len(synced) == 2

    asyncio.run(look())
    assert pending.left() == []
    for n in range(20):
        assert read_body(bodies.folder, packed(bodies, b"%d" % n).sha256) == b"%d" % n


def test_end_waits_for_nobody(tmp_path: Path, pending: Pending, bodies: Bodies) -> None:
    """Whoever closes the session does not wait for further calls, and finds everything done."""

    async def look() -> float:
        after = Afterwards(tmp_path / "calls.jsonl", bodies, pending, seconds=60.0)
        note(pending, after, 1, packed(bodies, b"x"))
        begun = time.monotonic()
        await after.done()
        return time.monotonic() - begun

    assert asyncio.run(look()) < 30.0
    assert pending.left() == []
    assert read_body(bodies.folder, packed(bodies, b"x").sha256) == b"x"


def test_body_without_a_file_stays_in_the_journal(tmp_path: Path, pending: Pending, bodies: Bodies) -> None:
    """Where a body finds no place its call stays pending, others do not, and no more bodies are left until later."""

    async def look() -> None:
        after = Afterwards(tmp_path / "calls.jsonl", bodies, pending)
        bodies.folder.parent.mkdir()
        bodies.folder.write_text("no folder")
        note(pending, after, 1, packed(bodies, b"x"))
        note(pending, after, 2)
        await after.done()
        assert (after.has_room, after.problem) == (False, "")

    asyncio.run(look())
    assert [left.n for left in pending.left()] == [1]


def test_slow_disk_is_waited_for(
    tmp_path: Path, pending: Pending, bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many bytes may wait and no more; there is room again when they have been written."""
    monkeypatch.setattr(module, "_MOST", 20)

    async def look() -> None:
        after = Afterwards(tmp_path / "calls.jsonl", bodies, pending)
        note(pending, after, 1, packed(bodies, b"x" * 30))
        before = after.has_room
        await after.done()
        assert (before, after.has_room) == (False, True)

    asyncio.run(look())


def test_disk_that_takes_no_lines_is_told(
    tmp_path: Path, pending: Pending, bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If lines cannot be brought to the disk, every later call hears of it, whatever becomes of its own line."""

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    calls_file = tmp_path / "calls.jsonl"
    calls_file.touch()

    async def look() -> str:
        after = Afterwards(calls_file, bodies, pending)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            note(pending, after, 1)
            await after.done()
        note(pending, after, 2)
        await after.done()
        return after.problem

    assert asyncio.run(look()) == f"{calls_file} cannot be brought to the disk: Input/output error"
