"""A recorded run is carried out again without a model and comes to the same, from its archive alone as well."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.project import Project, copy_project

pytestmark = pytest.mark.e2e

COUNTS = ("api_calls", "tokens_in", "tokens_out", "tokens_cached")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one run, recorded with the scripted model."""
    project = copy_project("talk", tmp_path_factory.mktemp("recorded") / "talk")
    done = project.run("go")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def clean(tmp_path: Path) -> Project:
    """A project as it is checked out, without any run."""
    return copy_project("talk", tmp_path / "talk")


def _only_run(project: Project) -> Path:
    (found,) = project.directories()
    return found


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _calls(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "llm/calls.jsonl").read_text().splitlines()]


def test_a_replay_comes_to_the_same(recorded: Project, clean: Project) -> None:
    """Replaying a run's directory elsewhere gives the same workspace, the same tokens and the same calls."""
    old = _only_run(recorded)
    done = clean.run("replay", str(old))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the workspace is the same: 1 files, sha256 " in done.stdout
    new = _only_run(clean)
    first, second = (_json(run / "metrics.json") for run in (old, new))
    assert [second[name] for name in COUNTS] == [first[name] for name in COUNTS]
    assert first["api_calls"] == 3
    record = _json(new / "metadata.json")
    assert (record["run"]["model"]["provider"], record["model_label"]) == ("replay", "replay of scripted model")
    assert len(record["run"]["recording_sha256"]) == 64
    assert [one["response_sha256"] for one in _calls(new)] == [one["response_sha256"] for one in _calls(old)]
    assert {one["provider"] for one in _calls(new)} == {"replay"}


def test_from_the_archive_alone(recorded: Project, clean: Project, tmp_path: Path) -> None:
    """An archive is all that it takes: a replay on a clean checkout gives the workspace that is in it."""
    archive = tmp_path / "shared.tar.zst"
    shutil.copyfile(_only_run(recorded) / "run.tar.zst", archive)
    done = clean.run("replay", str(archive), "--output", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["same"], result["differences"]) == (True, [])
    digests = result["workspace_sha256"]
    assert digests["recorded"] == digests["replayed"]
    assert Path(result["directory"]).is_relative_to(tmp_path / "out")
    # A replay is a recording in its turn.
    again = clean.run("replay", result["directory"], "--mode", "sequence")
    assert again.returncode == 0, again.stdout + again.stderr


def test_go_replays_a_folder_of_runs(recorded: Project, clean: Project) -> None:
    """`go --replay` matches each planned run to its recording, and a second time there is nothing left to do."""
    done = clean.run("go", "--replay", str(recorded.runs))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "replay of scripted model" in done.stdout
    assert (_only_run(clean) / "generated_artifacts/answers.txt").read_text() == "Good morning.\nOne.\nTwo.\n"
    again = clean.run("go", "--replay", str(recorded.runs))
    assert again.returncode == 0
    assert len(clean.directories()) == 1
    other = clean.run("go", "--replay", str(recorded.runs), "--replay-mode", "sequence")
    assert other.returncode == 0, other.stdout + other.stderr
    assert len(clean.directories()) == 2


def test_an_unknown_request_breaks_the_run(recorded: Project, clean: Project) -> None:
    """A framework that asks what was never recorded ends as broken, and the reason shows the nearest request."""
    scenario = clean.root / "config/scenarios/talk.yaml"
    scenario.write_text(scenario.read_text().replace("ask 2", "ask 3"))
    done = clean.run("go", "--replay", str(recorded.runs))
    assert done.returncode == 7, done.stdout + done.stderr
    reason = _json(_only_run(clean) / "metadata.json")["reason"]
    assert reason.startswith("step chat: replay: call 3 of step chat was not recorded; nearest is call ")
    assert reason.endswith('messages[0].content is "question 2", and here "question 3"')
    assert "question 3" in done.stdout


def test_repetitions_without_a_recording(recorded: Project, clean: Project) -> None:
    """Runs that nobody recorded are named before anything starts."""
    done = clean.run("go", "--replay", str(recorded.runs), "--repetitions", "3")
    assert done.returncode == 2
    assert "no recording of caller on talk, repetition 2; caller on talk, repetition 3" in done.stderr
    assert clean.directories() == []


def test_another_image_is_not_the_same_run(recorded: Project, clean: Project, tmp_path: Path) -> None:
    """A run recorded with another image is not replayed as if it were the same; the error says what to do."""
    foreign = tmp_path / "foreign"
    shutil.copytree(_only_run(recorded), foreign)
    record = _json(foreign / "metadata.json")
    record["run"]["image"]["id"] = "sha256:" + "0" * 64
    (foreign / "metadata.json").write_text(json.dumps(record))
    done = clean.run("replay", str(foreign))
    assert done.returncode == 5, done.stdout + done.stderr
    assert "the image of caller is sha256:" in done.stderr
    assert "runner go --replay" in done.stderr


def test_a_workspace_that_differs(recorded: Project, clean: Project, tmp_path: Path) -> None:
    """A replay that does not come to the recorded workspace names the paths that differ and ends with 1."""
    changed = tmp_path / "changed"
    shutil.copytree(_only_run(recorded), changed)
    (changed / "generated_artifacts/answers.txt").write_text("Something else.\n")
    (changed / "generated_artifacts/more.txt").write_text("More.\n")
    done = clean.run("replay", str(changed))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the workspace differs in 2 paths" in done.stdout
    assert "answers.txt: differs" in done.stdout
    assert "more.txt: only in the first" in done.stdout
