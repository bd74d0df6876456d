"""Recorded runs are found wherever they lie, and each planned run gets the one it is to repeat."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from support.planning import make_experiment, make_plan
from support.recordings import Exchange, answer, make_call, make_run, question, record

from runner.errors import ConfigError, StorageError
from runner.evidence.archive import write_archive
from runner.evidence.contents import read_contents
from runner.evidence.layout import RunLayout
from runner.execution.replay import (
    cell_of,
    digests,
    find_recordings,
    folders_by_digest,
    recorded_runs,
    unpack_recording,
)
from runner.gateway.calls import totals
from runner.gateway.recording import load_recording
from runner.plan.models import Run
from runner.spec.model import Model

ONE = (Exchange(request=question("a"), answer=answer("A")),)


def _found(place: Path) -> list[tuple[str, Path]]:
    with recorded_runs(place) as runs:
        return [(one.record.run.id, one.place) for one in runs]


def _archive_alone(layout: RunLayout, target: Path) -> Path:
    """Write a run's archive and move it away from its directory."""
    write_archive(layout, "zstd")
    target.parent.mkdir(parents=True, exist_ok=True)
    return layout.archive("zstd").rename(target)


def test_places(tmp_path: Path) -> None:
    """A run's directory, an archive, and folders of either are found; what starts with a dot has been set aside."""
    run = make_run().id
    first, second = tmp_path / "runs" / "alpha" / "one", tmp_path / "runs" / "alpha" / "two"
    record(first, ONE)
    record(second, ONE)
    record(tmp_path / "runs" / ".superseded" / "alpha", ONE)
    assert _found(first) == [(run, first)]
    assert _found(tmp_path / "runs" / "alpha") == [(run, first), (run, second)]
    assert _found(tmp_path / "runs") == [(run, first), (run, second)]
    archive = _archive_alone(RunLayout(first), tmp_path / "shared" / "crud.tar.zst")
    assert _found(archive) == [(run, archive)]
    assert _found(tmp_path / "shared") == [(run, archive)]


@pytest.mark.parametrize("place", ["empty", "absent"])
def test_a_place_without_runs(tmp_path: Path, place: str) -> None:
    """A folder without runs, or none at all, is refused by name."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=f"{place} holds no run"), recorded_runs(tmp_path / place):
        pass


def test_an_archive_is_a_recording(tmp_path: Path) -> None:
    """Record, calls and bodies come out of an archive, nothing else does, and the copy goes with the block."""
    layout = record(tmp_path / "run", ONE)
    (layout.workspace / "a.txt").write_text("made")
    workspace = read_contents(layout.workspace)
    expected = digests({("x", "y", 1): load_recording(layout.root)})
    archive = _archive_alone(layout, tmp_path / "run.tar.zst")
    with recorded_runs(archive) as (one,):
        recording = load_recording(one.folder)
        assert digests({("x", "y", 1): recording}) == expected
        assert sorted(path.name for path in one.folder.iterdir()) == ["llm", "metadata.json"]
        assert one.folder.stat().st_mode & 0o077 == 0
        assert one.contents() == workspace
    assert not one.folder.exists()


def test_a_damaged_archive(tmp_path: Path) -> None:
    """An archive whose content is not what its manifest says is refused as a whole."""
    archive = _archive_alone(record(tmp_path / "run", ONE), tmp_path / "run.tar.zst")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(StorageError, match="the archive is damaged"), recorded_runs(archive):
        pass


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "llm/bodies/../../evil", "llm/bodies/../x.zst"])
def test_an_archive_cannot_write_elsewhere(tmp_path: Path, name: str) -> None:
    """A member that leads out of the archive is never written."""
    archive = tmp_path / "run.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(StorageError):
        unpack_recording(archive, tmp_path / "target" / "deep")
    assert not list(tmp_path.rglob("evil"))
    assert not Path("/tmp/evil").exists()


def _plan(**changes: object) -> list[Run]:
    model = Model(provider="replay", name="m")
    return list(make_plan(make_experiment(model=model, repetitions=2, scenarios=("build",), **changes)))


def test_each_run_has_its_recording(tmp_path: Path) -> None:
    """Runs are matched by framework, scenario and repetition; a framework without a model needs none."""
    planned = _plan()
    for run in planned:
        if run.model is not None:
            text = f"{run.repetition}"
            record(tmp_path / run.id, [Exchange(request=question(text), answer=answer(text))], _recorded(run))
    with recorded_runs(tmp_path) as found:
        recordings = find_recordings(planned, found)
    assert {cell: one.folder.name for cell, one in recordings.items()} == {
        cell_of(run): run.id for run in planned if run.model is not None
    }
    assert len(set(digests(recordings).values())) == 2
    folders = folders_by_digest(planned, recordings)
    assert folders == {run.digest: tmp_path / run.id for run in planned if run.model is not None}


def _recorded(run: Run, **changes: object) -> Run:
    """Return a run as it was when it was recorded."""
    return run.model_copy(update={"model": Model(provider="openai", name="m"), **changes})


def test_runs_without_a_recording_are_all_named(tmp_path: Path) -> None:
    """One error names every run that has no recording, and what there is."""
    first, *_ = (run for run in _plan() if run.model is not None and run.repetition == 1)
    record(tmp_path / "one", ONE, _recorded(first))
    with recorded_runs(tmp_path) as found, pytest.raises(ConfigError) as caught:
        find_recordings(
            list(make_plan(make_experiment(model=Model(provider="replay", name="m"), repetitions=2))), found
        )
    assert caught.value.what == (
        "no recording of alpha on greet, repetition 1; alpha on build, repetition 2; alpha on greet, repetition 2"
    )
    assert caught.value.why.endswith("alpha on build, repetition 1")
    assert "runner replay RUN" in caught.value.hint


def test_the_run_most_alike_is_taken(tmp_path: Path) -> None:
    """Of several recordings of the same cell prompts count first, then the model, then passing, then the latest."""
    (run,) = (run for run in _plan() if run.model is not None and run.repetition == 1)
    other_prompt = run.steps[0].model_copy(update={"prompt_sha256": "0" * 64})
    record(tmp_path / "a-prompt", ONE, _recorded(run, steps=(other_prompt, *run.steps[1:])))
    record(tmp_path / "b-model", ONE, _recorded(run, model=Model(provider="openai", name="other")))
    record(tmp_path / "c-old", ONE, _recorded(run), started_at="2025-01-01T00:00:00.000Z")
    record(tmp_path / "d-right", ONE, _recorded(run), started_at="2025-06-01T00:00:00.000Z")
    record(tmp_path / "e-failed", ONE, _recorded(run), outcome="failed")
    with recorded_runs(tmp_path) as found:
        assert next(iter(find_recordings([run], found).values())).folder.name == "d-right"


def test_errors_of_a_replay_are_added_up() -> None:
    """The first error that is ours counts, though calls after it went well; one that was recorded is none of ours."""
    run = make_run()
    recorded = Exchange(request=None, status=429, changes={"error": "429: slow down", "fault": "provider"})
    wrong = Exchange(request=None, status=400, changes={"error": "replay: call 2 ...", "fault": "runner"})
    calls = [make_call(run, number, one, provider="replay") for number, one in enumerate((recorded, wrong, *ONE), 1)]
    assert totals(calls).replay_error == "replay: call 2 ..."
    assert totals([calls[0], calls[2]]).replay_error == ""
    assert totals([make_call(run, 1, wrong, provider="scripted")]).replay_error == ""
