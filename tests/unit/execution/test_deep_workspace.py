"""A step that leaves folders within each other by the hundred: its run is over with its outcome, and says what is missing."""

from __future__ import annotations

from support.deep import deepen
from support.fake_world import World, check_finished, good_step

from runner.evidence.copying import remove_tree
from runner.evidence.tree import scan
from runner.evidence.walk import LONGEST_PATH
from runner.testing import Box


def test_step_that_leaves_folders_too_deep_to_be_kept(world: World) -> None:
    """The run passes; what it built is archived as far as paths go, and record, metrics and history name the rest."""

    def dig(box: Box) -> int:
        if not (box.path(".") / ("d" * 200)).exists():
            deepen(box.path(".", write=True), 200, b"d" * 200)
        return good_step(box)

    try:
        done = world.perform(dig)
        check_finished(world, done)
        assert done.record.outcome == "passed"
        assert scan(world.layout.workspace).too_deep
        words = f"paths of more than {LONGEST_PATH} bytes, which are not kept"
        assert [words in note for note in done.record.notes].count(True) == 1
        assert any("not in the history" in note for note in done.record.notes)
        assert max(map(len, done.record.notes)) < 500
        assert done.totals["artifact_files"]
        assert "too long" in world.layout.metrics.read_text()
    finally:
        remove_tree(world.output)
