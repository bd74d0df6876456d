"""Which files are read again: those whose times cannot prove that they are the same, and no others."""

from __future__ import annotations

import time

import pytest
from support.history_world import World

from runner.evidence.history.seen import COARSE_STEP, FINE_STEP, load, look, save, unchanged
from runner.evidence.history.snapshot import open_history
from runner.evidence.walk import FILE, Entry

SECOND = 1_000_000_000
ENTRY = Entry(FILE, 0o644, 5, 7 * SECOND + 1, 7 * SECOND + 1, 12)


@pytest.mark.parametrize(
    ("entry", "later", "safe"),
    [
        (ENTRY, FINE_STEP + 1, True),
        (ENTRY, FINE_STEP, False),
        (ENTRY, -SECOND, False),
        (ENTRY._replace(ctime_ns=7 * SECOND, mtime_ns=7 * SECOND), FINE_STEP + 1, False),
        (ENTRY._replace(ctime_ns=7 * SECOND, mtime_ns=7 * SECOND), COARSE_STEP + 1, True),
    ],
)
def test_racily_clean(entry: Entry, later: int, *, safe: bool) -> None:
    """A file read within a tick of its change time is read again; whole seconds count as a coarse clock."""
    assert unchanged(look(entry, entry.ctime_ns + later), entry) is safe


@pytest.mark.parametrize(
    "other",
    [ENTRY._replace(size=3), ENTRY._replace(mtime_ns=3), ENTRY._replace(ctime_ns=3), ENTRY._replace(inode=3)],
)
def test_each_fact_counts(other: Entry) -> None:
    """A file with another size, time or inode is read again."""
    seen = look(ENTRY, 100 * SECOND)
    assert unchanged(seen, ENTRY)
    assert not unchanged(seen, other)


def test_write_within_a_tick_is_found(world: World) -> None:
    """A second write of the same length right after a snapshot is in the next one, whatever the times say."""
    path = world.workspace / "a"
    path.write_text("one")
    world.step()
    entry = path.stat()
    path.write_text("two")
    known = world.history.seen[b"a"]
    now = path.stat()
    world.history.seen[b"a"] = known._replace(mtime_ns=now.st_mtime_ns, ctime_ns=now.st_ctime_ns)
    assert (known.size, known.inode) == (now.st_size, now.st_ino), entry
    world.step()
    assert world.restored(2) == world.pictures[1]


def test_untouched_file_is_not_read(world: World) -> None:
    """A file that is surely the same is not opened: content that differs from what is known goes unseen."""
    path = world.workspace / "a"
    path.write_text("one")
    time.sleep(0.03)
    world.step()
    path.write_text("two")
    now = path.stat()
    world.history.seen[b"a"] = world.history.seen[b"a"]._replace(
        mtime_ns=now.st_mtime_ns, ctime_ns=now.st_ctime_ns, safe=True
    )
    world.step()
    assert world.restored(2) == world.pictures[0]


def test_seen_is_kept_on_disk(world: World) -> None:
    """A history that is opened again knows which files it need not read; a file that is damaged only costs reading."""
    (world.workspace / "a").write_text("one")
    time.sleep(0.03)
    world.step()
    assert open_history(world.folder).seen == world.history.seen != {}
    assert world.history.seen[b"a"].safe
    (world.folder / "seen.zst").write_bytes(b"damaged")
    assert open_history(world.folder).seen == {}


def test_seen_of_another_step_is_not_used(world: World) -> None:
    """What was seen belongs to one index; with any other it is nothing."""
    world.folder.mkdir()
    save(world.folder / "seen.zst", "1" * 64, {b"a\xff": look(ENTRY, 0)})
    assert load(world.folder / "seen.zst", "1" * 64) == {b"a\xff": look(ENTRY, 0)}
    assert load(world.folder / "seen.zst", "2" * 64) == {}
