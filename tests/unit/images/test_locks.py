"""Taking turns: one build of an image at a time on a machine, no emptying of a cache in use."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from runner.engine.shared import shared_folder
from runner.errors import StorageError
from runner.images import locks


def test_two_who_build_the_same_image_take_turns(tmp_path: Path) -> None:
    """The second waits until the first has ended, and is told once which process it waits for."""
    order: list[str] = []
    told: list[str] = []
    waits = threading.Event()

    def tell(holder: str) -> None:
        told.append(holder)
        waits.set()

    def second() -> None:
        with locks.building("p/demo:1", tell, tmp_path):
            # The first removed its file; a third must find that of whoever holds the lock now.
            order.extend(["second", *(path.name for path in tmp_path.iterdir())])

    thread = threading.Thread(target=second)
    with locks.building("p/demo:1", tell, tmp_path):
        thread.start()
        assert waits.wait(60)
        thread.join(0.1)
        order.append("first")
    thread.join(60)
    assert (order, told) == (["first", "second", "p-demo-1.lock"], [str(os.getpid())])


def test_other_images_are_not_waited_for(tmp_path: Path) -> None:
    """Locks of different tags have nothing to do with each other, and leave no file behind."""

    def fail(holder: str) -> None:
        raise AssertionError(f"waits for {holder}")

    with locks.building("p/demo:1", fail, tmp_path), locks.building("p/demo:2", fail, tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["p-demo-1.lock", "p-demo-2.lock"]
    assert list(tmp_path.iterdir()) == []


def test_any_user_may_take_the_lock(tmp_path: Path) -> None:
    """The file can be read, which is enough for a lock, by everybody, whatever the umask of who made it."""
    before = os.umask(0o077)
    try:
        with locks.building("demo", print, tmp_path):
            assert (tmp_path / "demo.lock").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_a_file_of_another_user_is_used_and_not_written(tmp_path: Path) -> None:
    """What lies there under the lock's name is locked as it is: its bytes stay."""
    (tmp_path / "demo.lock").write_text("precious", encoding="utf-8")
    os.link(tmp_path / "demo.lock", tmp_path / "other")
    with locks.building("demo", print, tmp_path):
        assert (tmp_path / "demo.lock").read_text(encoding="utf-8") == "precious"
    assert (tmp_path / "other").read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_traps_are_refused(tmp_path: Path, kind: str) -> None:
    """A link or a pipe under the lock's name is neither followed nor waited for; the message names it."""
    path = tmp_path / "demo.lock"
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)
    with (
        pytest.raises(StorageError, match=f"the lock file {path} cannot be used"),
        locks.building("demo", print, tmp_path),
    ):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_the_folder_is_one_that_all_users_share(tmp_path: Path) -> None:
    """The first folder is taken in which everybody may make files and nobody may remove another's."""
    private, shared = tmp_path / "private", tmp_path / "shared"
    private.mkdir(mode=0o755)
    shared.mkdir()
    shared.chmod(0o1777)
    assert shared_folder((tmp_path / "none", private, shared)) == shared
    with pytest.raises(StorageError, match="no folder for lock files"):
        shared_folder((private,))


def test_a_cache_is_shared_or_alone(tmp_path: Path) -> None:
    """Any number may use a cache at once; nobody has it alone meanwhile."""
    with locks.using(tmp_path), locks.using(tmp_path), locks.alone(tmp_path) as alone:
        assert not alone
    with locks.alone(tmp_path) as alone:
        assert alone
