"""Files and lines that a step changed, from the history, without reading what stayed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.evidence.history.oci import read_steps
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.measures.churn import NAMES, changed_lines, churn, count_lines
from runner.evidence.readings import Reading
from runner.evidence.tree import scan


class Steps:
    """A workspace whose steps are kept, and what each changed."""

    def __init__(self, root: Path) -> None:
        self.workspace, self.history = root / "workspace", root / "history"
        self.workspace.mkdir()
        self._kept = open_history(self.history)

    def write(self, name: str, data: str | bytes) -> None:
        """Have the step write a file."""
        path = self.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def end(self) -> dict[str, Reading]:
        """End the step."""
        number = len(self._kept.steps) + 1
        take_snapshot(self._kept, self.workspace, scan(self.workspace), number, f"s{number}")
        return dict(churn(self.history, read_steps(self.history)[-1]))


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    """Return a workspace that nothing is in."""
    return Steps(tmp_path)


def values(found: dict[str, Reading]) -> list[float | int | None]:
    """Return the numbers in the order of NAMES: files added, changed, removed, lines added, removed."""
    return [found[name].value for name in NAMES]


def test_each_step_is_compared_with_the_one_before(steps: Steps) -> None:
    """Two files of three lines; then one loses a line and gains two, the other goes and a third comes."""
    steps.write("a.py", "1\n2\n")
    steps.write("b/c.py", "x\n")
    assert values(steps.end()) == [2, 0, 0, 3, 0]
    steps.write("a.py", "1\n3\n4\n")
    (steps.workspace / "b/c.py").unlink()
    steps.write("d.py", "new\n")
    found = steps.end()
    assert values(found) == [1, 1, 1, 3, 2]
    assert (found["files_added"].status, found["lines_added"].status) == ("measured", "derived")
    assert values(steps.end()) == [0, 0, 0, 0, 0]


def test_a_moved_line_is_no_change() -> None:
    """Lines are compared by how often they occur; of three equal ones that became one, two are gone."""
    assert changed_lines(count_lines(b"a\nb\nc\n"), count_lines(b"c\na\nb\n")) == (0, 0)
    assert changed_lines(count_lines(b"a\na\na\n"), count_lines(b"a\nb\n")) == (1, 2)
    assert changed_lines(count_lines(b"end"), count_lines(b"end\n")) == (1, 1)


def test_binary_files_and_links_have_no_lines(steps: Steps) -> None:
    """They count as files alone."""
    steps.write("image.png", b"\x89PNG\0\n\n\n")
    (steps.workspace / "link").symlink_to("image.png")
    assert values(steps.end()) == [2, 0, 0, 0, 0]


def test_folders_that_tools_make_are_left_out(steps: Steps) -> None:
    """What git, Python and package managers keep for themselves is nobody's work."""
    for name in (".git/config", "node_modules/a/index.js", "app/__pycache__/x.pyc", ".venv/lib/y.py"):
        steps.write(name, "a\n")
    steps.write("venv", "a file of that name\n")
    assert values(steps.end()) == [1, 0, 0, 1, 0]


def test_a_large_file_is_left_out_of_the_lines_and_told(steps: Steps) -> None:
    """The lines of the others count; the reading is partial and says what it is without."""
    steps.write("data.csv", "1\n" * 600_000)
    steps.write("a.py", "1\n")
    found = steps.end()
    assert values(found) == [2, 0, 0, 1, 0]
    assert (found["lines_added"].status, found["lines_added"].reason) == (
        "partial",
        "without 1 of 2 files, as too much would have to be read",
    )


def test_what_stayed_is_not_read_again(steps: Steps) -> None:
    """Without the layer in which everything stands that stays, later steps are measured all the same."""
    steps.write("big.bin", os.urandom(3 * 1024 * 1024))
    steps.end()
    (first,) = read_steps(steps.history)
    (steps.history / "blobs" / "sha256" / first.layer.sha256).unlink()
    steps.write("a.py", "1\n")
    assert values(steps.end()) == [1, 0, 0, 1, 0]
    assert values(steps.end()) == [0, 0, 0, 0, 0]


def test_layers_that_are_too_large_are_not_gone_through(steps: Steps) -> None:
    """A small file that stood in one layer with much else is left out; if that is all, lines are null, and it says why."""
    steps.write("big.bin", os.urandom(300_000))
    steps.write("small.py", "1\n")
    steps.end()
    steps.write("small.py", "2\n")
    assert values(steps.end()) == [0, 1, 0, 1, 1]
    found = dict(churn(steps.history, read_steps(steps.history)[-1], most=100_000))
    assert values(found) == [0, 1, 0, None, None]
    assert found["lines_added"].reason == "too much would have to be read: of 1 files none was"
    steps.write("small.py", "3\n")
    steps.end()
    assert values(dict(churn(steps.history, read_steps(steps.history)[-1], most=100_000))) == [0, 1, 0, 1, 1]


def test_a_steps_own_layer_may_be_large(steps: Steps) -> None:
    """What the step itself wrote is no layer of an earlier step: its small files' lines count beside a large one."""
    steps.write("big.bin", os.urandom(2 * 1024 * 1024))
    steps.write("small.py", "1\n")
    steps.end()
    found = dict(churn(steps.history, read_steps(steps.history)[-1], most=100_000))
    assert values(found) == [2, 0, 0, 1, 0]


def test_the_smallest_files_are_compared_first(steps: Steps) -> None:
    """Of more text than the bound the smallest files count, and how many do not is told."""
    steps.write("a.py", "1\n" * 100)
    steps.write("b.py", "1\n" * 20)
    steps.write("c.py", "1\n" * 30)
    steps.end()
    found = dict(churn(steps.history, read_steps(steps.history)[-1], most=100))
    assert values(found) == [3, 0, 0, 50, 0]
    assert (found["lines_added"].status, found["lines_added"].exact) == ("partial", False)
    assert found["lines_added"].reason == "without 1 of 3 files, as too much would have to be read"
    assert values(dict(churn(steps.history, read_steps(steps.history)[-1], most=99)))[3:] == [20, 0]
    assert values(dict(churn(steps.history, read_steps(steps.history)[-1], most=39)))[3:] == [None, None]


def test_a_damaged_history_tells_nothing(steps: Steps) -> None:
    """A layer that is gone makes every number null, with the reason."""
    steps.write("a.py", "1\n")
    steps.end()
    step = read_steps(steps.history)[-1]
    (steps.history / "blobs" / "sha256" / step.layer.sha256).unlink()
    found = churn(steps.history, step)
    assert {one.value for one in found.values()} == {None}
    assert found["files_added"].reason.startswith("the history cannot be read: ")
