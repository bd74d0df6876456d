"""A step that is one call of the model, without a container."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_world import limits
from support.model_server import Asked, Reply, TalkingGateway, chat
from support.recordings import Exchange, question, record
from support.step_bench import Bench

from runner.execution.step import StepDone
from runner.plan.models import PlannedCall, PlannedInput, PlannedOutput, PlannedRetry
from runner.spec.model import Model
from runner.testing import NO_CALLS

OUTPUT = PlannedOutput(name="answer", source="answer")
CALL = PlannedCall(prompt="Is {{ name }} good?", system="Be brief.", max_tokens=50)
NAME = PlannedInput(name="name", source="value", value="it", type="text")


@pytest.fixture
def gateway(tmp_path: Path) -> TalkingGateway:
    """Return a gateway whose model says that everything is fine."""
    folder = tmp_path / "s"
    folder.mkdir()
    return TalkingGateway(folder)


def _ask(bench: Bench, gateway: TalkingGateway, **changes: Any) -> StepDone:
    bench.context = bench.context or replace(bench.world.context, gateway=gateway)
    bench.place_changes = {"workspace": None, "volume": None}
    fields = {"kind": "model", "call": CALL, "inputs": (NAME,), "outputs": (OUTPUT,), "expect_changes": False}
    return bench.perform(**{**fields, "network": "gateway", **changes})


def test_the_answer_is_the_output(bench: Bench, gateway: TalkingGateway) -> None:
    """The model is asked with both texts filled in, and what it says is the step's output; no container is made."""
    gateway.totals = replace(NO_CALLS, api_calls=1, tokens_in=7, tokens_out=2)
    done = _ask(bench, gateway)
    assert (done.record.outcome, done.record.reason, done.record.kind) == ("passed", "", "model")
    (asked,) = gateway.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {
        "model": "scripted",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it good?"}],
        "max_completion_tokens": 50,
    }
    assert (bench.files.given / "answer").read_text() == "Fine."
    assert "create" not in bench.world.engine.calls
    assert (done.tree, done.record.changed_files) == (None, None)
    assert done.metrics.totals["tokens_in"] == 7


def test_its_attempt_says_that_there_was_no_container(bench: Bench, gateway: TalkingGateway) -> None:
    """The record has the model in place of a command, its wall time, and no exit code, because nothing exited."""
    attempt = _ask(bench, gateway).record.attempts[0]
    assert attempt.argv == ("model", "scripted")
    assert (attempt.container, attempt.image_id, attempt.exit_code, attempt.cwd) == ("", "", None, None)
    assert attempt.seconds is not None
    assert 0 < attempt.seconds < 100
    assert gateway.specs[0].attempt == 1


def test_the_message_is_kept_as_it_was_sent(bench: Bench, gateway: TalkingGateway) -> None:
    """Inputs are kept where those of a container would be."""
    done = _ask(bench, gateway)
    assert (bench.files.inputs / "inputs" / "name").read_text() == "it"
    assert done.record.inputs[0].path == "in/inputs/name"


def test_anthropic_is_asked_in_its_own_format(bench: Bench, gateway: TalkingGateway) -> None:
    """A run whose provider is Anthropic speaks the messages API, with a longest answer, which that API wants."""
    gateway.answer = lambda _: (200, {"content": [{"type": "thinking"}, {"type": "text", "text": "Fine."}]})
    bench.run = bench.run.model_copy(update={"model": Model(provider="anthropic", name="claude")})
    done = _ask(bench, gateway, call=PlannedCall(prompt="Well?"))
    assert done.record.outcome == "passed"
    (asked,) = gateway.asked
    assert (asked.path, asked.headers["anthropic-version"]) == ("/v1/messages", "2023-06-01")
    assert asked.body == {"model": "claude", "max_tokens": 4096, "messages": [{"role": "user", "content": "Well?"}]}


@pytest.mark.parametrize(("wire", "path"), [("anthropic-messages", "/v1/messages"), ("", "/v1/chat/completions")])
def test_a_replay_asks_as_the_recording_did(bench: Bench, gateway: TalkingGateway, wire: str, path: str) -> None:
    """A replayed run speaks the format of the recorded call of the same step; without one, chat completions."""
    recorded = [Exchange(request=question("x"), step=bench.run.steps[0].id, changes={"format": wire})] if wire else []
    recording = record(bench.world.output / "recorded", recorded).root
    bench.run = bench.run.model_copy(update={"model": Model(provider="replay"), "digest": "d"})
    bench.context = replace(bench.world.context, gateway=gateway, recordings={"d": recording})
    _ask(bench, gateway)
    assert gateway.asked[0].path == path


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((400, {"error": {"message": "no such model"}}), "the model gave no answer: no such model"),
        (chat(None), "the model gave no answer: the answer holds no text"),
        ((200, b"<html>"), "is no JSON: <html>"),
        ((502, b"[]"), "the answer has status 502"),
    ],
)
def test_what_is_no_answer_is_a_failure(bench: Bench, gateway: TalkingGateway, reply: Reply, words: str) -> None:
    """A refusal that is nobody else's fault fails the step, with the words of who refused."""
    gateway.answer = lambda _: reply
    done = _ask(bench, gateway)
    assert done.record.outcome == "failed"
    assert words in done.record.reason
    assert done.record.outputs == ()


@pytest.mark.parametrize(
    ("totals", "outcome", "reason"),
    [
        (
            {"last_error": "no connection", "last_error_fault": "provider"},
            "broken",
            "the model did not answer: no conn",
        ),
        ({"exceeded": "budgets.run.calls is used up"}, "exceeded", "budgets.run.calls is used up"),
        ({"replay_error": "never recorded"}, "broken", "never recorded"),
    ],
)
def test_whose_doing_it_is_is_told_apart(
    bench: Bench, gateway: TalkingGateway, totals: dict[str, Any], outcome: str, reason: str
) -> None:
    """A provider's failure is broken, a budget exceeded, a replay without the call broken, as for a container."""
    gateway.answer = lambda _: (503, {"error": {"message": "x"}})
    gateway.totals = replace(NO_CALLS, **totals)
    done = _ask(bench, gateway)
    assert done.record.outcome == outcome
    assert done.record.reason.startswith(reason)


def test_an_answer_of_the_wrong_type_can_be_asked_for_again(bench: Bench, gateway: TalkingGateway) -> None:
    """An answer that is not of its type fails the attempt; a retry asks again, in a session of its own."""
    said = iter(["Sorry?", '```json\n{"grade": 2}\n```'])
    gateway.answer = lambda _: chat(next(said))
    output = OUTPUT.model_copy(update={"type": "object"})
    done = _ask(bench, gateway, outputs=(output,), retry=PlannedRetry(attempts=2))
    assert [one.outcome for one in done.record.attempts] == ["failed", "passed"]
    assert "has to be an object" in done.record.attempts[0].reason
    assert (bench.files.given / "answer").read_text() == '{"grade": 2}\n'
    assert [spec.attempt for spec in gateway.specs] == [1, 2]


def test_a_cut_answer_is_noted(bench: Bench, gateway: TalkingGateway) -> None:
    """An answer that ended at its longest is taken, and a note says so."""
    gateway.answer = lambda _: chat("Fi", finish_reason="length")
    assert _ask(bench, gateway).notes == ("step begin: the model's answer was cut off at its longest",)


def test_a_deadline_ends_the_wait(bench: Bench, gateway: TalkingGateway) -> None:
    """Who does not answer within the step's time has timed out, with 124 as everywhere."""
    hold = threading.Event()

    def wait(_: Asked) -> Reply:
        hold.wait(200)
        return chat("late")

    gateway.answer = wait
    started = time.monotonic()
    done = _ask(bench, gateway, limits=limits(step_timeout=0.2))
    hold.set()
    assert done.record.outcome == "timed_out"
    assert done.record.reason == "not finished after 0.2 s (limits.step_timeout)"
    assert (done.record.attempts[0].exit_code, done.record.attempts[0].timed_out) == (124, True)
    assert time.monotonic() - started < 100


def test_a_cancelled_call_hangs_up(bench: Bench, gateway: TalkingGateway) -> None:
    """A switch thrown while the model thinks ends the step at once as cancelled."""
    hold = threading.Event()

    def wait(_: Asked) -> Reply:
        bench.world.cancellation.cancel()
        hold.wait(200)
        return chat("late")

    gateway.answer = wait
    done = _ask(bench, gateway)
    hold.set()
    assert (done.record.outcome, done.record.reason) == ("cancelled", "stopped by the user")


def test_nobody_is_asked_after_the_switch(bench: Bench, gateway: TalkingGateway) -> None:
    """A switch thrown before the call: there is none."""
    bench.world.cancellation.cancel()
    assert _ask(bench, gateway).record.outcome == "cancelled"
    assert gateway.asked == []


def test_without_a_gateway_there_is_no_answer(bench: Bench, gateway: TalkingGateway) -> None:
    """Where no gateway runs the step fails with that in its reason."""
    bench.context = replace(bench.world.context, gateway=None)
    done = _ask(bench, gateway)
    assert done.record.reason == "the model gave no answer: there is no gateway to a model"
