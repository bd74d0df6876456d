"""What is replayed is found, or refused in words, before any engine is asked; and replays are compared."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
from support.recordings import Exchange, answer, make_run, question, record

from runner.cli.comparing import compare
from runner.cli.main import main
from runner.cli.replaying import Answering, as_before, inputs_of, planned_again, replaying
from runner.errors import ConfigError, ImageError, StorageError
from runner.evidence.archive import write_archive
from runner.evidence.atomic import write_json
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.tree import scan
from runner.execution.replay import Recorded, recorded_runs
from runner.gateway.recording import digest, load_recording
from runner.plan.digest import digest_of
from runner.plan.models import ImageRef, Run
from runner.spec.model import Model
from runner.spec.project import Project

BASE = Path(__file__).parents[2] / "cases" / "base"
ONE = (Exchange(request=question("a"), answer=answer("A")),)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A project of two frameworks on one scenario, one of them with a model."""
    return shutil.copytree(BASE, tmp_path / "base")


def _run(folder: Path, *argv: str, **environment: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    environment = {"RUNNER_CACHE": str(folder / "cache"), **environment}
    code = main(["-C", str(folder), *argv], environment=environment, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


def _recorded(folder: Path, base: Path) -> Run:
    """Record the first planned run of the project that has a model."""
    planned = json.loads(_run(base, "plan", "--json")[1])["runs"]
    scenario, framework = planned[0]["scenario"], planned[0]["framework"]
    run = make_run()
    recipe = run.framework.model_copy(update={"name": framework})
    run = run.model_copy(update={"scenario": scenario, "framework": recipe})
    record(folder, ONE, run)
    return run


def _way(folder: Path, mode: str = "strict") -> Answering:
    record = RunRecord.model_validate_json((folder / "metadata.json").read_bytes())
    return replaying(Recorded(folder=folder, place=folder, record=record), mode)


def _images(run: Run) -> dict[str, ImageRef]:
    return {run.framework.name: run.image}


def test_the_mode_needs_a_recording(base: Path) -> None:
    """--replay-mode alone is a mistake that is told."""
    code, _, err = _run(base, "plan", "--replay-mode", "sequence")
    assert (code, "--replay-mode without --replay" in err) == (2, True)


def test_a_replay_of_nothing(base: Path) -> None:
    """An experiment whose model is a replay says what flag is missing."""
    code, _, err = _run(base, "plan", RUNNER_MODEL="replay/m")
    assert code == 2
    assert "the model is a replay, but nothing says of what" in err
    assert "environment RUNNER_MODEL" in err
    assert "--replay RUN|DIR" in err


@pytest.mark.parametrize("command", ["plan", "go", "replay"])
def test_a_run_that_does_not_exist(base: Path, command: str) -> None:
    """What is neither a path nor a run's id is refused as `runner show` refuses it."""
    option = ("crud-r9",) if command == "replay" else ("--replay", "crud-r9")
    code, _, err = _run(base, command, *option)
    assert (code, "there is no run crud-r9" in err) == (2, True)


def test_a_plan_names_the_missing_recordings(base: Path, tmp_path: Path) -> None:
    """A plan of a replay lacks what a replay would lack."""
    _recorded(tmp_path / "old", base)
    code, _, err = _run(base, "plan", "--replay", str(tmp_path / "old"), "--repetitions", "2")
    assert code == 2
    assert "no recording of " in err
    assert "repetition 2" in err


def test_replay_wants_one_run(base: Path, tmp_path: Path) -> None:
    """`runner replay` of a folder of several runs names them."""
    record(tmp_path / "runs" / "one", ONE)
    record(tmp_path / "runs" / "two", ONE)
    code, _, err = _run(base, "replay", str(tmp_path / "runs"))
    assert code == 2
    assert "holds 2 runs" in err
    assert "runner go --replay DIR" in err


def test_a_run_planned_again(tmp_path: Path) -> None:
    """It is the recorded run but for who answers: another identity, and one that its own parts give."""
    record(tmp_path, ONE)
    recording, way = load_recording(tmp_path), _way(tmp_path, "sequence")
    again = planned_again(recording.run, _images(recording.run), way, None)
    assert again.model is not None
    assert (again.model.provider, again.model.name, again.model.replay_mode) == ("replay", "m", "sequence")
    assert again.recording_sha256 == digest(recording)
    assert again.digest == digest_of(again) != recording.run.digest
    assert again.id == f"build-r1-{(again.digest or '')[:10]}"
    kept = {"framework", "scenario", "steps", "repetition", "seed", "platform", "run_timeout", "budgets"}
    assert again.model_dump(include=kept) == recording.run.model_dump(include=kept)


def test_another_image_is_refused(tmp_path: Path) -> None:
    """A run is not repeated with another image, whatever its tag."""
    record(tmp_path, ONE)
    run = load_recording(tmp_path).run
    other = {"alpha": run.image.model_copy(update={"id": "sha256:2"})}
    with pytest.raises(ImageError, match="the image of alpha is sha256:2 here, and was sha256:1") as caught:
        planned_again(run, other, _way(tmp_path), None)
    assert "runner go --replay RUN --framework alpha --scenario build" in caught.value.hint


def test_other_packages_are_refused(tmp_path: Path) -> None:
    """A run that was offered packages is not repeated with others, nor one without any with some."""
    record(tmp_path, ONE, make_run().model_copy(update={"packages_sha256": "a" * 64}))
    run, way = load_recording(tmp_path).run, _way(tmp_path)
    with pytest.raises(ConfigError, match="the folder of packages is another one"):
        planned_again(run, _images(run), way, None)
    assert planned_again(run, _images(run), way, "a" * 64).packages_sha256 == "a" * 64


def test_the_experiment_of_one_run(base: Path, tmp_path: Path) -> None:
    """A recorded run makes an experiment of one run, with its own scenario and the project's recipe."""
    _recorded(tmp_path / "old", base)
    with recorded_runs(tmp_path / "old") as (one,):
        inputs = inputs_of(Project(base), one, tmp_path / "out", replaying(one, "strict"))
    experiment = inputs.experiment.value
    assert (len(inputs.frameworks), len(inputs.scenarios), experiment.repetitions) == (1, 1, 1)
    assert experiment.output == str(tmp_path / "out")
    assert experiment.model is not None
    assert experiment.model.provider == "replay"
    (scenario,) = inputs.scenarios.values()
    assert [step.network for step in scenario.value.steps] == [step.network for step in make_run().steps]


def _replayed(tmp_path: Path, text: str, **changes: object) -> tuple[Recorded, Path, Run]:
    """Write a recorded run whose workspace says `made`, and a replay whose workspace says something."""
    old = record(tmp_path / "old", ONE)
    (old.workspace / "a.txt").write_text("made")
    again = planned_again(make_run(), _images(make_run()), _way(old.root), None)
    new = RunLayout(tmp_path / "out" / "alpha" / again.id)
    new.workspace.mkdir(parents=True)
    (new.workspace / "a.txt").write_text(text)
    recorded = RunRecord.model_validate_json(old.metadata.read_bytes())
    write_json(new.metadata, recorded.model_copy(update={"run": again, **changes}))
    return Recorded(folder=old.root, place=old.root, record=recorded), tmp_path / "out", again


def test_equal_runs_compare_equal(tmp_path: Path) -> None:
    """The same outcome and the same workspace are the same."""
    comparison = compare(*_replayed(tmp_path, "made"))
    assert (comparison.same, comparison.differing) == (True, [])
    assert comparison.values()["same"] is True


def test_other_content_is_named(tmp_path: Path) -> None:
    """A file that differs is named."""
    comparison = compare(*_replayed(tmp_path, "other"))
    assert (comparison.same, comparison.differing) == (False, [("a.txt", "differs")])
    assert comparison.values()["differences"] == [{"path": "a.txt", "how": "differs"}]


def test_another_outcome_is_not_the_same(tmp_path: Path) -> None:
    """A replay that ended otherwise is not the same, even with the same workspace."""
    assert not compare(*_replayed(tmp_path, "made", outcome="failed")).same


def test_a_replay_without_a_record(tmp_path: Path) -> None:
    """A replay that was stopped before it had a record cannot be compared, and says so."""
    recorded, output, again = _replayed(tmp_path, "made")
    (output / "alpha" / again.id / "metadata.json").unlink()
    with pytest.raises(StorageError, match="the replay left no record"):
        compare(recorded, output, again)


def _as_before(folder: Path, project: Path) -> Answering:
    with recorded_runs(folder) as (one,):
        return as_before(Project(project), one)


def test_a_run_is_answered_as_before(tmp_path: Path) -> None:
    """What was recorded is replayed, of a scripted model as well."""
    record(tmp_path / "run", ONE)
    way = _as_before(tmp_path / "run", tmp_path)
    assert (way.model.provider if way.model else None, way.answers) == ("replay", {})
    assert way.recording is not None


def test_a_run_that_nothing_answered_needs_nothing(tmp_path: Path) -> None:
    """A run without a model, or whose model was never asked, is carried out as it was planned."""
    run = make_run().model_copy(update={"model": None})
    layout = record(tmp_path / "run", (), run)
    layout.calls.unlink(missing_ok=True)
    assert _as_before(tmp_path / "run", tmp_path) == Answering(model=None)
    asked = make_run()
    layout = record(tmp_path / "other", (), asked)
    layout.calls.unlink(missing_ok=True)
    assert _as_before(tmp_path / "other", tmp_path) == Answering(model=asked.model)


def test_answers_that_were_not_kept(tmp_path: Path) -> None:
    """A run of a real model whose answers were not kept is refused; of a scripted one the same script is needed."""
    forgotten = Exchange(request=question("a"), answer=answer("A"), changes={"bodies": "digest"})
    record(tmp_path / "run", (forgotten,), make_run().model_copy(update={"model": Model(provider="openai", name="m")}))
    with pytest.raises(ConfigError, match="what its model answered is not to be had again") as caught:
        _as_before(tmp_path / "run", tmp_path)
    assert "runner go --fresh" in caught.value.hint
    script = tmp_path / "images" / "alpha" / "answers" / "build.yaml"
    script.parent.mkdir(parents=True)
    script.write_text("now")
    digest_then = hashlib.sha256(b"then").hexdigest()
    changes = {"model": Model(provider="scripted", name="m"), "answers_sha256": digest_then}
    record(tmp_path / "scripted", (forgotten,), make_run().model_copy(update=changes))
    with pytest.raises(ConfigError, match="the scripted answers are not those that"):
        _as_before(tmp_path / "scripted", tmp_path)
    script.write_text("then")
    assert _as_before(tmp_path / "scripted", tmp_path).answers == {("alpha", "build"): script}


def test_runs_part_in_a_step(tmp_path: Path) -> None:
    """Histories are compared step by step, and the first step that did not come to the same is named with its paths."""
    recorded, output, again = _replayed(tmp_path, "made")
    new = RunLayout(output / "alpha" / again.id)
    for layout, texts in ((RunLayout(recorded.folder), ("one", "made")), (new, ("two", "made"))):
        history = open_history(layout.history)
        for number, text in enumerate(texts, start=1):
            (layout.workspace / "a.txt").write_text(text)
            take_snapshot(history, layout.workspace, scan(layout.workspace), number, again.steps[number - 1].id)
    comparison = compare(recorded, output, again)
    assert (comparison.same, comparison.identical) == (True, False)
    assert comparison.parting is not None
    assert (comparison.parting.index, comparison.parting.same) == (1, False)
    first, second, *_ = comparison.values()["steps"]
    assert first["differences"] == [{"path": "a.txt", "how": "other content"}]
    assert (second["workspace"], second["same"]) == ("identical", True)


def test_runs_without_a_history_are_compared_by_their_end(tmp_path: Path) -> None:
    """What neither history keeps is not said to be the same, nor to differ."""
    comparison = compare(*_replayed(tmp_path, "made"))
    assert comparison.identical
    assert {step["workspace"] for step in comparison.values()["steps"]} == {None}


@pytest.mark.parametrize("command", ["reproduce", "replay"])
def test_a_damaged_archive_is_not_repeated(base: Path, tmp_path: Path, command: str) -> None:
    """Before anything is carried out, the archive is checked."""
    archive = tmp_path / "run.tar.zst"
    write_archive(record(tmp_path / "old", ONE), "zstd", target=archive)
    archive.write_bytes(archive.read_bytes()[:-100])
    code, _, err = _run(base, command, str(archive))
    assert (code, "the archive is damaged" in err) == (6, True)
