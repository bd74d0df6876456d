"""Asking a model directly, over the socket of a real gateway's session."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from runner.gateway.client import GatewayProcess
from runner.gateway.direct import Answer, Question, WireName, ask
from runner.gateway.session import SessionSpec
from runner.spec.model import Budget, Budgets, Model, Sampling

pytestmark = pytest.mark.processes

Spec = Callable[..., SessionSpec]
Calls = Callable[[], list[dict[str, Any]]]
ANSWERS = """
version: 1
steps:
  one:
    - content: Grüße.
      expect: "^Is it good\\\\?$"
    - content: Again.
"""


def _question(wire: WireName = "openai-chat") -> Question:
    return Question(wire=wire, model="m", prompt="Is it good?", system="Be brief.", max_tokens=9)


def _quietly(_: Callable[[], None]) -> nullcontext[None]:
    return nullcontext()


@pytest.mark.parametrize("wire", ["openai-chat", "anthropic-messages"])
def test_both_formats_are_answered_and_recorded(
    gateway: GatewayProcess, make_spec: Spec, calls: Calls, wire: WireName
) -> None:
    """The gateway understands what is sent in either format, meters it, pins what is pinned, and records it."""
    sampling = Sampling(temperature=0.0, max_tokens=5)
    session = gateway.open(make_spec(answers=ANSWERS, model=Model(name="pinned", sampling=sampling)))
    assert ask(session, _question(wire), seconds=30, telling=_quietly) == Answer(text="Grüße.")
    totals = gateway.close(session)
    assert (totals.api_calls, totals.failed_calls) == (1, 0)
    (call,) = calls()
    assert (call["format"], call["model_asked"], call["model_sent"]) == (wire, "m", "pinned")
    assert call["pinned"]["temperature"] == 0.0
    assert 5 in call["pinned"].values()


def test_a_refusal_is_told_in_the_gateways_words(gateway: GatewayProcess, make_spec: Spec) -> None:
    """When the script has no further answer the error's own sentence is what is left."""
    session = gateway.open(make_spec(answers="version: 1\nsteps: {one: [{content: x, expect: never}]}"))
    answer = ask(session, _question(), seconds=30, telling=_quietly)
    gateway.close(session)
    assert answer.text is None
    assert answer.error.startswith("scripted answer does not fit")


def test_a_budget_refuses_it_like_any_call(gateway: GatewayProcess, make_spec: Spec) -> None:
    """A call beyond a budget is refused, and the session's totals say which."""
    spec = dataclasses.replace(make_spec(answers=ANSWERS), budgets=Budgets(step=Budget(calls=1)))
    session = gateway.open(spec)
    assert ask(session, _question(), seconds=30, telling=_quietly).text == "Grüße."
    assert ask(session, _question(), seconds=30, telling=_quietly).text is None
    assert gateway.close(session).exceeded != ""


def test_a_closed_session_does_not_answer(gateway: GatewayProcess, make_spec: Spec) -> None:
    """A session that is over has no socket; that is an error of the answer, not of the program."""
    session = gateway.open(make_spec(answers=ANSWERS))
    gateway.close(session)
    answer = ask(session, _question(), seconds=30, telling=_quietly)
    assert answer.error.startswith("the gateway did not answer")


def test_who_stops_everything_is_not_kept_waiting(gateway: GatewayProcess, make_spec: Spec) -> None:
    """A call that is told to hang up has no answer, and the time was not over."""

    @contextmanager
    def telling(hang_up: Callable[[], None]) -> Iterator[None]:
        hang_up()
        yield

    session = gateway.open(make_spec(answers=ANSWERS))
    answer = ask(session, _question(), seconds=30, telling=telling)
    gateway.close(session)
    assert (answer.text, answer.timed_out) == (None, False)
    assert answer.error.startswith("the gateway did not answer")
