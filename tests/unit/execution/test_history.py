"""A run keeps its workspace after each step, and never pays for it with its outcome."""

from __future__ import annotations

from support.fake_world import World, check_finished, good_step, tell

from runner.evidence.contents import archived_contents
from runner.evidence.history.check import check_history
from runner.evidence.history.oci import read_steps
from runner.evidence.history.restore import restore
from runner.evidence.verify import verify_archive
from runner.execution.run import perform_run
from runner.testing import Box


def test_every_step_is_kept(world: World) -> None:
    """Each step that was begun has its workspace in the history, which the archive holds without machine's facts."""
    done = world.perform()
    steps = read_steps(world.layout.history)
    assert [(one.id, one.added, one.changed) for one in steps] == [("begin", 1, 0), ("extend", 0, 1)]
    prompts = [step.prompt for step in world.run.steps]
    for number, step in enumerate(steps, start=1):
        target = world.output / f"back-{number}"
        restore(world.layout.history, step, target)
        assert (target / "app.txt").read_text() == "".join(prompts[:number])
    assert check_history(world.layout.history) == []
    assert (world.layout.history / "seen.zst").exists()
    archived = archived_contents(world.layout.archive("zstd"), "history").entries
    assert {b"index.json", b"oci-layout"} <= set(archived)
    assert b"seen.zst" not in archived
    assert verify_archive(world.layout.archive("zstd")) == []
    check_finished(world, done)


def test_failed_step_is_kept_and_skipped_ones_are_not(world: World) -> None:
    """The step that failed is there, to look at what broke; those after it changed nothing."""

    def fail(box: Box) -> int:
        good_step(box)
        tell(box, exit_code=3)
        return 3

    done = world.perform(fail)
    assert done.record.outcome == "failed"
    assert [one.id for one in read_steps(world.layout.history)] == ["begin"]


def test_failure_to_keep_is_a_note(world: World) -> None:
    """A history that cannot be written leaves the outcome as it is, and the record says so."""

    def spoil(box: Box) -> int:
        if not world.layout.history.exists():
            world.layout.history.write_text("in the way")
        return good_step(box)

    done = world.perform(spoil)
    assert done.record.outcome == "passed"
    notes = [note for note in done.record.notes if "is not in the history" in note]
    assert [note.split(":")[0] for note in notes] == ["step begin", "step extend"]


def test_off_keeps_nothing(world: World) -> None:
    """With `history: off` there is no such folder."""
    run = world.run.model_copy(update={"history": "off"})
    assert perform_run(world.context, run).record.outcome == "passed"
    assert not world.layout.history.exists()


def test_what_is_excluded_is_noted(world: World) -> None:
    """What patterns leave out is neither in the history nor in the archive, and the record and the README say so."""

    def make(box: Box) -> int:
        path = box.path("vendor/x.js", write=True)
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        return good_step(box)

    world.engine.register(make)
    run = world.run.model_copy(update={"exclude_files": ("vendor/",)})
    done = perform_run(world.context, run)
    assert (done.record.outcome, (world.layout.workspace / "vendor" / "x.js").is_file()) == ("passed", True)
    told = "vendor: excluded by vendor/: 1 file, 1 bytes"
    assert f"step begin: not in the history: {told}" in done.record.notes
    assert f"not in the archive: {told}; see its manifest" in done.record.notes
    assert told in world.layout.readme.read_text()
    steps = read_steps(world.layout.history)
    assert [(one.added, one.changed) for one in steps] == [(1, 0), (0, 1)]
    assert [*archived_contents(world.layout.archive("zstd"), "generated_artifacts").entries] == [b"app.txt"]
