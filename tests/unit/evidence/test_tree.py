"""Trees are looked at without trusting anything in them."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import StorageError
from runner.evidence.tree import changes, make_collectable, scan, unlock
from runner.evidence.walk import DIRECTORY, FIFO, FILE, LINK, Entry, opened, walk

NAMES = st.sampled_from(["a", "b", "c", "d\n"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
TREES = st.dictionaries(PATHS, st.binary(max_size=4), max_size=8)


def test_hostile_tree(tmp_path: Path, make_hostile: Callable[[Path], None]) -> None:
    """Links are not followed, FIFOs not opened, and names of any bytes and length are found as they are."""
    make_hostile(tmp_path)
    found = scan(tmp_path)
    kinds = {path: entry.kind for path, entry in found.entries.items()}
    assert kinds[b"shadow"] == kinds[b"everything"] == kinds[b"loop"] == LINK
    assert found.entries[b"everything"].target == b"/"
    assert kinds[b"fifo"] == FIFO
    assert kinds[b"not-utf8-\xff\xfe"] == kinds[b"new\nline\x1b[31m"] == FILE
    assert kinds[b"empty"] == DIRECTORY
    assert found.entries[b"link-\xfe"].target == b"target-\xff"
    assert found.files == sum(kind == FILE for kind in kinds.values()) == 6
    assert found.bytes == sum(entry.size for entry in found.entries.values() if entry.kind == FILE)
    assert found.unreadable == ()


def test_depth_beyond_one_path(tmp_path: Path) -> None:
    """A tree whose paths are longer than one system call takes is scanned whole."""
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("x" * 200, dir_fd=handle)
        below = os.open("x" * 200, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)
    found = scan(tmp_path)
    assert len(found.entries) == 61
    assert found.files == 1
    assert max(map(len, found.entries)) > 12_000


def test_missing_root(tmp_path: Path) -> None:
    """A root that does not exist is a StorageError with its name."""
    with pytest.raises(StorageError, match=r"cannot read .*/nothing"):
        scan(tmp_path / "nothing")


def test_sparse_file_costs_nothing(tmp_path: Path) -> None:
    """A file that claims a terabyte is counted by what it claims, without being read."""
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(10**12)
    assert scan(tmp_path).bytes == 10**12


def _write(root: Path, tree: dict[tuple[str, ...], bytes]) -> dict[bytes, bytes]:
    """Write a tree as far as its paths do not contradict one another, and return what was written."""
    written = {}
    for path, content in tree.items():
        place = root.joinpath(*path)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        except (NotADirectoryError, FileExistsError, IsADirectoryError):
            continue
        written[os.fsencode(place.relative_to(root))] = content
    return written


@settings(max_examples=60, deadline=None)
@given(first=TREES, second=TREES)
def test_changes_against_a_model(
    tmp_path_factory: pytest.TempPathFactory, first: dict[tuple[str, ...], bytes], second: dict[tuple[str, ...], bytes]
) -> None:
    """Added, changed and removed files are those a plain comparison of contents finds."""
    root = tmp_path_factory.mktemp("tree")
    old = _write(root, first)
    before = scan(root)
    for path in sorted(root.rglob("*"), key=lambda one: len(one.parts), reverse=True):
        place = os.fsencode(path.relative_to(root))
        parts = tuple(os.fsdecode(place).split("/"))
        if path.is_file() and second.get(parts) != old[place]:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    kept = {path for path in old if (root / os.fsdecode(path)).exists()}
    missing = {path: content for path, content in second.items() if "/".join(path).encode() not in kept}
    new = {path: old[path] for path in kept} | _write(root, missing)
    found = changes(before, scan(root))
    was, now = _with_folders(old), _with_folders(new)
    assert set(found.added) == set(new) - set(was)
    assert set(found.removed) == set(old) - set(now)
    assert set(found.changed) == {path for path in set(was) & set(now) if was[path] != now[path]}
    assert found.total == len(found.added) + len(found.removed) + len(found.changed)


def _with_folders(files: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
    """Add the folders that files are in, with None as content."""
    folders = {b"/".join(path.split(b"/")[:depth]) for path in files for depth in range(1, path.count(b"/") + 1)}
    return dict.fromkeys(folders) | files


def test_untouched_tree_has_not_changed(tmp_path: Path, make_hostile: Callable[[Path], None]) -> None:
    """Two looks at the same tree find no change."""
    make_hostile(tmp_path)
    assert changes(scan(tmp_path), scan(tmp_path)).total == 0


def test_rewrite_with_old_time_and_size_is_seen(tmp_path: Path) -> None:
    """Content replaced under the same size and modification time is a change."""
    path = tmp_path / "file"
    path.write_text("one")
    status, before = path.stat(), scan(tmp_path)
    time.sleep(0.02)
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changes(before, scan(tmp_path)).changed == (b"file",)


def test_folders_count_when_they_are_all_there_is(tmp_path: Path) -> None:
    """An empty new folder is a change; one that comes with a file is counted through the file; a new mode is one."""
    (tmp_path / "old").mkdir()
    before = scan(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    (tmp_path / "old").chmod(0o700 if (tmp_path / "old").stat().st_mode & 0o077 else 0o755)
    found = changes(before, scan(tmp_path))
    assert found.added == (b"empty", b"full/file")
    assert found.changed == (b"old",)


def test_file_in_place_of_folder(tmp_path: Path) -> None:
    """A folder that became a file is changed, and what was in it removed."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "in").write_text("")
    before = scan(tmp_path)
    (tmp_path / "x" / "in").unlink()
    (tmp_path / "x").rmdir()
    (tmp_path / "x").write_text("file")
    found = changes(before, scan(tmp_path))
    assert (found.changed, found.removed) == ((b"x",), (b"x/in",))


def test_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    """A folder that refuses is reported and the rest is still found; here it is a file when its turn comes."""
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "in").write_text("")
    refused: list[bytes] = []
    handle = os.open(tmp_path, os.O_RDONLY)
    found: dict[bytes, Entry] = {}
    for path, entry in walk(handle, refused.append):
        found[path] = entry
        if path == b"bad":
            (tmp_path / "bad" / "in").unlink()
            (tmp_path / "bad").rmdir()
            (tmp_path / "bad").write_text("no longer a folder")
    os.close(handle)
    assert refused == [b"bad"]
    assert b"good/in" in found


def test_a_folder_that_vanishes_meanwhile_is_not_called_unreadable(tmp_path: Path) -> None:
    """Of a tree that somebody writes to, what is gone by the time it is looked into is empty, and nothing is missing."""
    for name in ("a", "b"):
        (tmp_path / name / "in").mkdir(parents=True)
    unreadable: list[bytes] = []
    found = []
    with opened(tmp_path) as handle:
        for path, _ in walk(handle, unreadable.append):
            found.append(path)
            if path == b"a/in":
                (tmp_path / "a" / "in").rmdir()
    assert (sorted(found), unreadable) == ([b"a", b"a/in", b"b", b"b/in"], [])


def test_makes_a_locked_tree_collectable(tmp_path: Path) -> None:
    """Folders and files left without permission are opened to their owner, inner ones too, and reported by name."""
    inner = tmp_path / "locked" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    (tmp_path / "fine").write_text("x")
    (tmp_path / "link").symlink_to("/etc/shadow")
    shadow = Path("/etc/shadow").stat().st_mode
    for path in (inner / "file", inner, inner.parent):
        path.chmod(0)
    notes = make_collectable(tmp_path)
    assert notes == (
        "2 folders were left without permission for their owner and given it: locked, locked/inner",
        "1 files were left unreadable for their owner and made readable: locked/inner/file",
    )
    assert stat.S_IMODE(inner.stat().st_mode) == 0o700
    assert stat.S_IMODE((inner / "file").stat().st_mode) == 0o400
    assert Path("/etc/shadow").stat().st_mode == shadow
    assert make_collectable(tmp_path) == ()


@pytest.mark.processes
@pytest.mark.skipif(os.getuid() != 0, reason="only root can leave files of somebody else")
def test_foreign_files_are_reported(tmp_path: Path) -> None:
    """What belongs to another user and cannot be read is named, and nothing breaks: seen by a process that is not root."""
    import subprocess

    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)
    for path in (tmp_path, *tmp_path.parents):
        if (
            path.stat().st_uid == 0
            and path.stat().st_mode & 0o005 != 0o005
            and str(path).startswith(str(tmp_path.parents[2]))
        ):
            path.chmod(path.stat().st_mode | 0o005)
    program = (
        "import os, sys; from pathlib import Path; from runner.evidence.tree import make_collectable, scan;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); root = Path(sys.argv[1]);"
        "print(make_collectable(root)); print(scan(root).unreadable)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "('2 paths belong to someone else and could not be read: secret, theirs',)\n(b'theirs',)\n"


def test_a_folder_locked_against_its_owner_is_given_back(tmp_path: Path) -> None:
    """The owner gets all permissions, nobody else any; a link in a folder's place is not followed, a missing one no error."""
    locked, link = tmp_path / "locked", tmp_path / "link"
    locked.mkdir()
    locked.chmod(0o004)
    link.symlink_to(locked)
    unlock(tmp_path / "missing")
    unlock(locked)
    assert stat.S_IMODE(locked.stat().st_mode) == 0o704
    locked.chmod(0o005)
    unlock(link)
    assert stat.S_IMODE(locked.stat().st_mode) == 0o005
