"""The calls file, its totals, and how a model is named."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.metered import make_call

from runner.gateway.calls import append_call, read_calls, totals
from runner.gateway.draft import parameters
from runner.gateway.labels import model_label
from runner.spec.model import Model

UNKNOWN = {"usage_source": "unknown", "tokens_in": None, "tokens_out": None, "tokens_cached": None}
FAILED = {**UNKNOWN, "usage_source": "no answer", "status": 429, "error": "429: slow down", "fault": "provider"}


def test_lines_come_back_as_they_were(tmp_path: Path) -> None:
    """What was appended, from many threads, is read back whole."""
    file = tmp_path / "llm" / "calls.jsonl"
    written = [make_call(n=n, error="é\n\u2028" * 500) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: append_call(file, one), written))
    read = read_calls(file)
    assert sorted(read.calls, key=lambda one: one.n) == written
    assert read.problems == ()


def test_line_cut_short_is_reported_and_the_rest_read(tmp_path: Path) -> None:
    """A crash in mid-write costs that line, and its place is named."""
    file = tmp_path / "calls.jsonl"
    append_call(file, make_call())
    file.write_bytes(file.read_bytes() + b'{"version":1,"time":"20')
    read = read_calls(file)
    assert len(read.calls) == 1
    assert read.problems == ('calls.jsonl:2: no call (cut short): {"version":1,"time":"20',)


def test_line_after_one_that_was_cut_short_is_whole(tmp_path: Path) -> None:
    """A full disk costs the line it cut short, and not the next one, once there is room again."""
    file = tmp_path / "calls.jsonl"
    file.write_bytes(b'{"version":1,"time":"20')
    append_call(file, make_call(n=2))
    append_call(file, make_call(n=3))
    read = read_calls(file)
    assert [call.n for call in read.calls] == [2, 3]
    assert len(read.problems) == 1


def test_missing_file_holds_no_calls(tmp_path: Path) -> None:
    """A run that called no model has no file and no problem."""
    assert read_calls(tmp_path / "none.jsonl").calls == ()


def test_line_of_the_first_version_is_read(tmp_path: Path) -> None:
    """A line without the members that came later is a call; what it does not tell is unknown."""
    now = json.loads(make_call().model_dump_json())
    later = ("format", "pinned", "tokens_cache_written", "waited_seconds", "retries", "statuses", "bodies", "exceeded")
    old = {name: value for name, value in now.items() if name not in {*later, "cost_source"}}
    (tmp_path / "c").write_text(json.dumps(old) + "\n")
    (read,) = read_calls(tmp_path / "c").calls
    assert (read.tokens_in, read.format, read.tokens_cache_written, read.waited_seconds) == (10, "other", None, 0.0)


def test_line_of_a_later_version_is_read(tmp_path: Path) -> None:
    """Members that are not known yet are passed over."""
    (tmp_path / "c").write_text(json.dumps({**json.loads(make_call().model_dump_json()), "colour": "red"}) + "\n")
    assert read_calls(tmp_path / "c").calls == (make_call(),)


@pytest.mark.parametrize("line", ["[]", "{}", '{"version": 2}', "[" * 100_000, '{"version": 1, "run": "x"}'])
def test_line_that_is_no_call_is_reported(tmp_path: Path, line: str) -> None:
    """Whatever stands in the file, reading it goes on."""
    (tmp_path / "c").write_text(line + "\n")
    append_call(tmp_path / "c", make_call())
    read = read_calls(tmp_path / "c")
    assert (len(read.calls), len(read.problems)) == (1, 1)


def test_nothing_called_is_zero() -> None:
    """Without calls nothing was used, which is known."""
    nothing = totals([])
    assert (nothing.api_calls, nothing.tokens_in, nothing.unmetered_calls, nothing.last_error) == (0, 0, 0, "")


def test_unknown_usage_makes_the_sum_unknown() -> None:
    """One answer without usage makes the sums None and is counted; it is no failure."""
    sums = totals([make_call(), make_call(**UNKNOWN)])
    assert (sums.api_calls, sums.tokens_in, sums.tokens_out, sums.unmetered_calls) == (2, None, None, 1)
    assert sums.failed_calls == 0


def test_error_reply_lacks_nothing() -> None:
    """A refused call used no tokens: the sums are those of the answers."""
    sums = totals([make_call(), make_call(**FAILED), make_call(tokens_cached=None)])
    assert (sums.api_calls, sums.tokens_in, sums.tokens_out, sums.tokens_cached) == (3, 20, 8, None)
    assert (sums.failed_calls, sums.unmetered_calls) == (1, 0)


@pytest.mark.parametrize(
    ("last", "error"),
    [({}, ""), (FAILED, "429: slow down"), ({**UNKNOWN, "client_gone": True}, "429: slow down")],
)
def test_last_error_is_that_of_the_last_call(last: dict[str, Any], error: str) -> None:
    """An error that was followed by an answer stopped nobody; a client that went away heard none."""
    assert totals([make_call(**FAILED), make_call(**last)]).last_error == error


def test_price_adds_up_where_it_is_known() -> None:
    """Costs are added; one unknown price makes the sum unknown."""
    assert totals([make_call(cost_usd=0.5), make_call(cost_usd=0.25)]).cost_usd == 0.75
    assert totals([make_call(cost_usd=0.5), make_call(cost_usd=None)]).cost_usd is None


def test_first_call_without_a_price_tells_why() -> None:
    """A cost that is unknown names the first reason; one that is known names its table, once."""
    calls = [make_call(cost_source="t 1"), make_call(cost_usd=None, cost_reason="no price for x in prices.yaml")]
    assert totals(calls).cost_reason == "no price for x in prices.yaml"
    assert totals([*calls[:1], *calls[:1]]).cost_source == "t 1"
    assert totals([make_call(**FAILED, cost_usd=None, cost_reason="no answer")]).cost_usd == 0.0


def test_answer_that_broke_off_counts_as_far_as_known() -> None:
    """Tokens stated before the break are in the sum, which says how many calls it is not exact for."""
    cut = make_call(usage_source="partial", tokens_in=100, tokens_out=None, tokens_cached=None, tokens_reasoning=None)
    sums = totals([make_call(), cut])
    assert (sums.tokens_in, sums.tokens_out, sums.tokens_cached, sums.tokens_reasoning) == (110, 4, 0, 0)
    assert (sums.partial_calls, sums.unmetered_calls) == (1, 0)


def test_reasoning_adds_up_where_it_is_stated() -> None:
    """Reasoning tokens are added; one answer that does not state them makes the sum unknown."""
    assert totals([make_call(tokens_reasoning=3), make_call(tokens_reasoning=4)]).tokens_reasoning == 7
    assert totals([make_call(tokens_reasoning=3), make_call(tokens_reasoning=None)]).tokens_reasoning is None


def test_waiting_is_kept_apart_from_calls() -> None:
    """Time in calls is without what they waited, and both add up over all calls."""
    sums = totals([make_call(latency_seconds=10.0, waited_seconds=9.5), make_call(latency_seconds=0.25)])
    assert (sums.call_seconds, sums.waiting_seconds) == (0.75, 9.5)


def test_budget_that_a_call_was_refused_for_is_named() -> None:
    """One call over budget is enough, whatever came after it."""
    over = make_call(**FAILED, exceeded="budgets.run.calls is 1 and 1 are used")
    assert totals([make_call(), over, make_call()]).exceeded == "budgets.run.calls is 1 and 1 are used"
    assert totals([make_call()]).exceeded == ""


def test_parameters_leave_the_conversation_out() -> None:
    """Parameters are recorded, messages, tools and enormous values are not."""
    body = {"model": "m", "messages": [1], "tools": [2], "temperature": 0, "stop": ["x"], "big": "y" * 2000}
    assert parameters(body) == {"temperature": 0, "stop": ["x"]}


def test_line_is_one_line_of_json(tmp_path: Path) -> None:
    """Whatever an error text holds, a call is one line."""
    append_call(tmp_path / "c", make_call(error="a\nb\r"))
    (line,) = (tmp_path / "c").read_bytes().splitlines()
    assert json.loads(line)["error"] == "a\nb\r"


@pytest.mark.parametrize(
    ("model", "label"),
    [
        (None, "no model"),
        (Model(), "scripted model"),
        (Model(provider="openai", name="gpt-4o-mini"), "openai/gpt-4o-mini"),
        (Model(provider="replay", name="gpt-4o-mini"), "replay of gpt-4o-mini"),
        (Model(provider="replay"), "replay of scripted model"),
    ],
)
def test_model_is_named(model: Model | None, label: str) -> None:
    """A scripted model and a replay say so, a real one is provider/name."""
    assert model_label(model) == label
