"""What `RUN@STEP` means where steps ran beside each other, or a run went on from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli.states import recipe_name, two_states
from runner.errors import StorageError
from runner.evidence.history.diff import differences
from runner.evidence.history.snapshot import keep, open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.tree import scan

RUN = "crud-r1-0123456789"


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return a run without a history, with a file in its workspace."""
    found = RunLayout(tmp_path / "runs" / "alpha" / RUN)
    found.workspace.mkdir(parents=True)
    (found.workspace / "a").write_text("one")
    return found


def changed(output: Path, one: str, other: str | None = None) -> dict[bytes, str]:
    """Return how each path differs between two states."""
    return {change.path: change.how for change in differences(*two_states(output, one, other))}


def test_a_fork_begins_with_what_it_was_given(layout: RunLayout, tmp_path: Path) -> None:
    """Of a fork, 0 is the workspace it was given; of any other run, nothing."""
    history = open_history(layout.history)
    take_snapshot(history, layout.workspace, scan(layout.workspace), 0, "origin")
    (layout.workspace / "b").write_text("two")
    take_snapshot(history, layout.workspace, scan(layout.workspace), 1, "first")
    output = tmp_path / "runs"
    assert changed(output, f"{RUN}@0", f"{RUN}@1") == {b"b": "added"}
    assert changed(output, f"{RUN}@first") == {b"b": "added"}
    assert changed(output, f"{RUN}@origin") == {b"a": "added"}


def test_a_step_is_compared_with_what_it_found(layout: RunLayout, tmp_path: Path) -> None:
    """A step that ran beside another has changed what it found, not what the other left before it."""
    history = open_history(layout.history)
    take_snapshot(history, layout.workspace, scan(layout.workspace), 1, "begin")
    found = history.last
    for number, name in ((2, "left"), (3, "right")):
        view = tmp_path / name
        view.mkdir()
        (view / "a").write_text("one")
        (view / name).write_text(name)
        keep(history, view, scan(view), (number, name), found, alone=False)
    output = tmp_path / "runs"
    assert changed(output, f"{RUN}@right") == {b"right": "added"}
    assert changed(output, f"{RUN}@left", f"{RUN}@right") == {b"left": "removed", b"right": "added"}


def test_names_of_recipes() -> None:
    """The tag of an image of ours tells its recipe; of any other it is refused."""
    assert recipe_name("codegen-runner/my-agent:0123") == "my-agent"
    with pytest.raises(StorageError, match="comes from no recipe"):
        recipe_name("alpine:3")
