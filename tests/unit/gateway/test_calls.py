"""The calls file, its totals, and how a model is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner.gateway.calls import Call, append_call, read_calls, totals
from runner.gateway.draft import Draft, parameters, to_call
from runner.gateway.labels import model_label
from runner.gateway.session import SessionSpec
from runner.spec.models import Model

Spec = Callable[..., SessionSpec]


@pytest.fixture
def call(make_spec: Spec) -> Callable[..., Call]:
    """Return what makes a call; by default an answered one of 10 tokens in, 4 out, none cached."""

    def make(**change: Any) -> Call:
        plain = to_call(Draft(n=1, method="POST", path="/v1/chat/completions", status=200), make_spec())
        stated = {"tokens_in": 10, "tokens_out": 4, "tokens_cached": 0, "usage_source": "provider"}
        return plain.model_copy(update=stated | change)

    return make


UNKNOWN = {"usage_source": "unknown", "tokens_in": None, "tokens_out": None, "tokens_cached": None}
FAILED = {**UNKNOWN, "usage_source": "no answer", "status": 429, "error": "429: slow down", "fault": "provider"}


def test_lines_come_back_as_they_were(tmp_path: Path, call: Callable[..., Call]) -> None:
    """What was appended, from many threads, is read back whole."""
    file = tmp_path / "llm" / "calls.jsonl"
    written = [call(n=n, error="é\n\u2028" * 500) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: append_call(file, one), written))
    read = read_calls(file)
    assert sorted(read.calls, key=lambda one: one.n) == written
    assert read.problems == ()


def test_line_cut_short_is_reported_and_the_rest_read(tmp_path: Path, call: Callable[..., Call]) -> None:
    """A crash in mid-write costs that line, and its place is named."""
    file = tmp_path / "calls.jsonl"
    append_call(file, call())
    file.write_bytes(file.read_bytes() + b'{"version":1,"time":"20')
    read = read_calls(file)
    assert len(read.calls) == 1
    assert read.problems == ('calls.jsonl:2: no call (cut short): {"version":1,"time":"20',)


def test_missing_file_holds_no_calls(tmp_path: Path) -> None:
    """A run that called no model has no file and no problem."""
    assert read_calls(tmp_path / "none.jsonl").calls == ()


def test_nothing_called_is_zero() -> None:
    """Without calls nothing was used, which is known."""
    nothing = totals([])
    assert (nothing.api_calls, nothing.tokens_in, nothing.unmetered_calls, nothing.last_error) == (0, 0, 0, "")


def test_unknown_usage_makes_the_sum_unknown(call: Callable[..., Call]) -> None:
    """One answer without usage makes the sums None and is counted; it is no failure."""
    sums = totals([call(), call(**UNKNOWN)])
    assert (sums.api_calls, sums.tokens_in, sums.tokens_out, sums.unmetered_calls) == (2, None, None, 1)
    assert sums.failed_calls == 0


def test_error_reply_lacks_nothing(call: Callable[..., Call]) -> None:
    """A refused call used no tokens: the sums are those of the answers."""
    sums = totals([call(), call(**FAILED), call(tokens_cached=None)])
    assert (sums.api_calls, sums.tokens_in, sums.tokens_out, sums.tokens_cached) == (3, 20, 8, None)
    assert (sums.failed_calls, sums.unmetered_calls) == (1, 0)


@pytest.mark.parametrize(
    ("last", "error"),
    [({}, ""), (FAILED, "429: slow down"), ({**UNKNOWN, "client_gone": True}, "429: slow down")],
)
def test_last_error_is_that_of_the_last_call(call: Callable[..., Call], last: dict[str, Any], error: str) -> None:
    """An error that was followed by an answer stopped nobody; a client that went away heard none."""
    assert totals([call(**FAILED), call(**last)]).last_error == error


def test_price_adds_up_where_it_is_known(call: Callable[..., Call]) -> None:
    """Costs are added; one unknown price makes the sum unknown."""
    assert totals([call(cost_usd=0.5), call(cost_usd=0.25)]).cost_usd == 0.75
    assert totals([call(cost_usd=0.5), call(cost_usd=None)]).cost_usd is None


def test_parameters_leave_the_conversation_out() -> None:
    """Parameters are recorded, messages, tools and enormous values are not."""
    body = {"model": "m", "messages": [1], "tools": [2], "temperature": 0, "stop": ["x"], "big": "y" * 2000}
    assert parameters(body) == {"temperature": 0, "stop": ["x"]}


def test_line_is_one_line_of_json(tmp_path: Path, call: Callable[..., Call]) -> None:
    """Whatever an error text holds, a call is one line."""
    append_call(tmp_path / "c", call(error="a\nb\r"))
    (line,) = (tmp_path / "c").read_bytes().splitlines()
    assert json.loads(line)["error"] == "a\nb\r"


@pytest.mark.parametrize(
    ("model", "label"),
    [
        (None, "no model"),
        (Model(), "scripted model"),
        (Model(provider="openai", name="gpt-4o-mini"), "openai/gpt-4o-mini"),
    ],
)
def test_model_is_named(model: Model | None, label: str) -> None:
    """A scripted model says so, a real one is provider/name."""
    assert model_label(model) == label
