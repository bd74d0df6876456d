"""A run's directory is a recording if everything that was answered is there, and says what is missing if not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.recordings import Exchange, answer, make_run, question, record

from runner.errors import ConfigError, RunnerError, StorageError
from runner.gateway.bodies import body_path
from runner.gateway.recording import digest, load_recording

TWO = (Exchange(request=question("a"), answer=answer("A")), Exchange(request=question("b"), answer=answer("B")))


def test_calls_by_step_in_order(tmp_path: Path) -> None:
    """Calls are those of their step and attempt, by arrival, whatever order they ended in."""
    later = Exchange(request=question("c"), answer=answer("C"), step="extend", changes={"n": 1})
    again = Exchange(request=question("d"), answer=answer("D"), changes={"n": 1, "attempt": 2})
    first, second = (replace(one, changes={"n": number}) for number, one in zip((2, 3), TWO, strict=True))
    record(tmp_path, [later, second, first, again])
    recording = load_recording(tmp_path)
    assert [call.n for call in recording.of("begin", 1)] == [2, 3]
    assert [call.n for call in recording.of("extend", 1)] == [1]
    assert [call.n for call in recording.of("begin", 2)] == [1]
    assert [call.n for call in recording.of("begin", 3)] == [1], "a further attempt is given what the last one was"
    assert recording.of("nothing", 1) == ()
    assert recording.steps == ("begin", "extend")


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 0, "error": "the gateway ended in the middle of the call", "fault": "runner"},
        {"status": 403, "exceeded": "budgets.run.calls is 1 and 1 is used"},
        {"status": 401, "fault": "framework", "model_sent": None, "format": "other"},
        {"status": 404, "fault": "framework", "model_sent": None},
    ],
)
def test_what_no_provider_answered_is_not_replayed(tmp_path: Path, changes: dict[str, object]) -> None:
    """What the gateway turned away itself, or never ended, is no part of a recording, with or without its bodies."""
    status = int(str(changes["status"]))
    refused = Exchange(request=question("x"), answer=b"", status=status, changes=changes | {"bodies": "off"})
    record(tmp_path, [TWO[0], refused])
    assert [call.n for call in load_recording(tmp_path).calls] == [1]


def test_calls_passed_on_unread_are_replayed(tmp_path: Path) -> None:
    """A call of an unknown kind has no model, and was answered all the same."""
    record(tmp_path, [Exchange(request=b"", answer=b"{}", changes={"format": "other", "model_sent": None})])
    assert len(load_recording(tmp_path).calls) == 1


def test_equal_recordings_have_equal_digests(tmp_path: Path) -> None:
    """The digest is that of what is asked and answered: times do not count, an answer's word does."""
    record(tmp_path / "one", TWO)
    record(tmp_path / "two", [TWO[0], Exchange(request=question("b"), answer=answer("B"), changes={"time": "later"})])
    record(tmp_path / "three", [TWO[0], Exchange(request=question("b"), answer=answer("C"))])
    one, two, three = (digest(load_recording(tmp_path / name)) for name in ("one", "two", "three"))
    assert one == two
    assert one != three
    assert len(one) == 64


@pytest.mark.parametrize("mode", ["off", "digest"])
def test_bodies_that_were_not_kept(tmp_path: Path, mode: str) -> None:
    """A run recorded without bodies is refused, naming the call, the setting, and what to write."""
    record(tmp_path, [TWO[0], Exchange(request=question("b"), answer=b"", changes={"bodies": mode})])
    with pytest.raises(ConfigError, match=f"call 2 of step begin .* bodies were not kept .* was {mode}") as caught:
        load_recording(tmp_path)
    assert "model.bodies: full" in caught.value.hint


def test_a_body_that_is_gone(tmp_path: Path) -> None:
    """A recording without one of its bodies is refused before anything starts, naming the file."""
    layout = record(tmp_path, TWO)
    call = load_recording(tmp_path).calls[1]
    gone = body_path(layout.calls.parent / "bodies", call.response_sha256 or "")
    gone.unlink()
    with pytest.raises(ConfigError, match=r"call 2 of step begin .* a body is missing") as caught:
        load_recording(tmp_path)
    assert caught.value.where == str(gone)


def test_what_is_no_run(tmp_path: Path) -> None:
    """An empty folder is no run; one whose record is broken says what is wrong with it."""
    with pytest.raises(ConfigError, match="is no run"):
        load_recording(tmp_path)
    (tmp_path / "metadata.json").write_text('{"run": {"id": 3}}')
    with pytest.raises(StorageError, match="record of the run cannot be read"):
        load_recording(tmp_path)


def test_a_run_without_a_model(tmp_path: Path) -> None:
    """A run that talks to no model has nothing to replay."""
    record(tmp_path, [], make_run().model_copy(update={"model": None}))
    with pytest.raises(ConfigError, match="talks to no model"):
        load_recording(tmp_path)


def test_a_broken_line(tmp_path: Path) -> None:
    """A calls file with a line that is no call is not replayed as if the line were not there."""
    layout = record(tmp_path, TWO)
    with layout.calls.open("a") as file:
        file.write(json.dumps({"n": 3}) + "\n")
    with pytest.raises(RunnerError, match=r"calls.jsonl:3: no call"):
        load_recording(tmp_path)
