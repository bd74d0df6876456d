"""Two steps are compared from their indexes; content is read only where it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.history_world import World, make_world

from runner.errors import StorageError
from runner.evidence.history.diff import MOST_TEXT, State, differences, state, text_diffs


def _states(world: World) -> tuple[State, State]:
    first, second = (state(world.folder, world.history.steps[at]) for at in (0, 1))
    return first, second


@pytest.fixture
def two(world: World) -> World:
    """Return a world of two steps that differ in every way."""
    workspace = world.workspace
    (workspace / "same").write_text("same\n")
    (workspace / "text").write_text("one\ntwo\nthree\n")
    (workspace / "gone").write_text("gone")
    (workspace / "mode").write_text("x")
    (workspace / "binary").write_bytes(b"\0one")
    (workspace / "large").write_bytes(b"x" * (MOST_TEXT + 1))
    (workspace / "kind").mkdir()
    world.step()
    (workspace / "text").write_text("one\n2\nthree\nfour")
    (workspace / "gone").unlink()
    (workspace / "mode").chmod(0o755)
    (workspace / "binary").write_bytes(b"\0two!")
    (workspace / "large").write_bytes(b"y" * (MOST_TEXT + 1))
    (workspace / "kind").rmdir()
    (workspace / "kind").symlink_to("text")
    (workspace / "new").mkdir()
    (workspace / "new" / "file").write_text("new\n")
    world.step()
    return world


def test_paths_and_words(two: World) -> None:
    """Every path that differs is named once with how; a folder that comes with something in it is not."""
    found = {one.path: (one.how, one.bytes) for one in differences(*_states(two))}
    assert found == {
        b"binary": ("changed", 1),
        b"gone": ("removed", -4),
        b"kind": ("changed", 0),
        b"large": ("changed", 0),
        b"mode": ("changed", 0),
        b"new/file": ("added", 4),
        b"text": ("changed", 2),
    }


def test_text(two: World) -> None:
    """Text is shown as a unified diff; of everything else a few words say why not."""
    old, new = _states(two)
    found = {one.change.path: one for one in text_diffs(old, new, differences(old, new))}
    assert found[b"text"].lines == (
        "@@ -1,3 +1,4 @@",
        " one",
        "-two",
        "+2",
        " three",
        "+four\n\\ No newline at end of file",
    )
    assert (found[b"text"].added, found[b"text"].removed) == (2, 1)
    assert found[b"new/file"].lines == ("@@ -0,0 +1 @@", "+new")
    assert {path.decode(): one.reason for path, one in found.items() if one.reason} == {
        "binary": "binary, 4 -> 5 bytes",
        "kind": "folder, mode 0755 -> link to text",
        "large": f"larger than {MOST_TEXT} bytes",
        "mode": "file of 1 bytes, mode 0644 -> file of 1 bytes, mode 0755",
    }


def test_names_need_no_content(two: World) -> None:
    """Which paths differ is known although every layer is gone; only showing content fails, by name."""
    for step in two.history.steps:
        (two.folder / "blobs" / "sha256" / step.layer.sha256).unlink()
    old, new = _states(two)
    changes = differences(old, new)
    assert len(changes) == 7
    with pytest.raises(StorageError):
        list(text_diffs(old, new, changes))


def test_between_two_runs(two: World, tmp_path: Path) -> None:
    """Steps of two runs are compared like those of one; in which layer a file is kept does not count."""
    other = make_world(tmp_path / "other")
    other.step()
    (other.workspace / "same").write_text("same\n")
    (other.workspace / "text").write_text("one\ntwo\n3\n")
    step = other.step()
    old, new = _states(two)[0], state(other.folder, step)
    found = {one.change.path: one.lines for one in text_diffs(old, new, differences(old, new))}
    assert b"same" not in found
    assert found[b"text"][-2:] == ("-three", "+3")
