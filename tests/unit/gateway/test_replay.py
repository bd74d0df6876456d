"""Recorded answers are given again to the questions they were answers to, and to nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.recordings import Exchange, answer, encode, keep, make_call, make_run, question, record

from runner.errors import ConfigError
from runner.gateway.bodies import Bodies
from runner.gateway.calls import append_call
from runner.gateway.providers.protocol import Ask, Refused, Reply
from runner.gateway.providers.replay import ReplayProvider, open_replay
from runner.gateway.session import SessionSpec
from runner.spec.model import Model

TOKEN = "run-token-of-the-replay"
RUN = "build-r1-live"
SSE = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"choices":[]}\r\n\r\ndata: [DONE]\n\n'


def opened(
    tmp_path: Path, exchanges: Sequence[Exchange], *, mode: str = "strict", redact: tuple[str, ...] = (), **more: Any
) -> ReplayProvider:
    """Record some calls and return the provider that replays them."""
    if not (tmp_path / "old" / "metadata.json").exists():
        record(tmp_path / "old", exchanges, make_run(**more))
    model = Model.model_validate({"provider": "replay", "name": "m", "replay_mode": mode, "redact": redact})
    spec = SessionSpec(
        run=RUN,
        framework="alpha",
        scenario="build",
        step="begin",
        index=1,
        attempt=1,
        model=model,
        answers=None,
        calls_file=tmp_path / "new" / "llm" / "calls.jsonl",
        recording=tmp_path / "old",
    )
    return open_replay(spec, TOKEN)


async def _answer(provider: ReplayProvider, number: int, request: Any, **more: Any) -> tuple[Reply, bytes]:
    received = encode(request)
    fields: dict[str, Any] = {
        "method": "POST",
        "path": "/v1/chat/completions",
        "format": "openai-chat",
        "headers": {},
        "original": {},
        "stream": isinstance(request, dict) and request.get("stream") is True,
    }
    reply = await provider.answer(Ask(n=number, content=b"as sent", received=received, **(fields | more)))
    return reply, b"".join([piece async for piece in reply.body])


def said(provider: ReplayProvider, *requests: Any) -> list[Any]:
    """Ask one after the other and return what was said, or the message of a refusal."""

    async def ask() -> list[Any]:
        found: list[Any] = []
        for number, request in enumerate(requests, 1):
            try:
                found.append(json.loads((await _answer(provider, number, request))[1]))
            except Refused as refused:
                found.append(refused.message)
        return found

    return asyncio.run(ask())


def test_each_question_has_its_own_answer(tmp_path: Path) -> None:
    """Questions that come in another order than they were recorded in have the answers that belong to them."""
    provider = opened(tmp_path, [Exchange(request=question(text), answer=answer(text * 2)) for text in "abc"])
    assert said(provider, *(question(text) for text in "cab")) == [answer(text * 2) for text in "cab"]


def test_equal_questions_are_answered_in_order(tmp_path: Path) -> None:
    """The same request twice has the first recorded answer first; between others too."""
    texts = ("one", "two", "three")
    exchanges = [Exchange(request=question("same"), answer=answer(text)) for text in texts]
    provider = opened(tmp_path, [exchanges[0], Exchange(request=question("x"), answer=answer("x")), *exchanges[1:]])
    same = question("same")
    assert said(provider, same, same, question("x"), same) == [answer(text) for text in ("one", "two", "x", "three")]


def test_questions_at_the_same_time(tmp_path: Path) -> None:
    """Of a hundred calls under way at once each gets its own answer."""
    names = [f"question {number}" for number in range(100)]
    provider = opened(tmp_path, [Exchange(request=question(one), answer=answer(one)) for one in names])

    async def ask() -> list[tuple[Reply, bytes]]:
        return await asyncio.gather(*(_answer(provider, n, question(one)) for n, one in enumerate(reversed(names), 1)))

    found = [json.loads(body)["choices"][0]["message"]["content"] for _, body in asyncio.run(ask())]
    assert found == list(reversed(names))


def test_streams_are_replayed_as_streams(tmp_path: Path) -> None:
    """A recorded stream comes event by event, byte for byte; its status and kind are the recorded ones."""
    request = question("s", stream=True)
    provider = opened(tmp_path, [Exchange(request=request, answer=SSE, stream=True)])
    pieces: list[bytes] = []

    async def ask() -> Reply:
        ask = Ask(
            n=1, method="POST", path="/v1/chat/completions", format="openai-chat", headers={}, content=encode(request),
            original={}, stream=True,
        )  # fmt: skip
        reply = await provider.answer(ask)
        pieces.extend([piece async for piece in reply.body])
        return reply

    reply = asyncio.run(ask())
    assert (reply.stream, reply.headers["Content-Type"]) == (True, "text/event-stream")
    assert b"".join(pieces) == SSE
    assert len(pieces) == 3


def test_errors_are_replayed_as_errors(tmp_path: Path) -> None:
    """A recorded error reply is given with its status and fault, to a request for a stream too; then what came after."""
    error = {"error": {"message": "slow down"}}
    request = question("a", stream=True)
    exchanges = [
        Exchange(request=request, answer=error, status=429, stream=True, changes={"fault": "provider"}),
        Exchange(request=request, answer=SSE, stream=True),
    ]
    provider = opened(tmp_path, exchanges)

    async def ask() -> list[tuple[Reply, bytes]]:
        return [await _answer(provider, n, request) for n in (1, 2)]

    (first, body), (second, _) = asyncio.run(ask())
    assert (first.status, first.stream, first.fault, json.loads(body)) == (429, False, "provider", error)
    assert (second.status, second.stream) == (200, True)


def test_an_error_that_is_no_json(tmp_path: Path) -> None:
    """An error page is given as it was, and is no stream even if one was asked for."""
    request = question("a", stream=True)
    provider = opened(tmp_path, [Exchange(request=request, answer=b"<h1>Bad gateway</h1>", status=502, stream=True)])
    reply, body = asyncio.run(_answer(provider, 1, request))
    assert (reply.status, reply.stream, body) == (502, False, b"<h1>Bad gateway</h1>")


def test_usage_counted_by_rule_stays_so(tmp_path: Path) -> None:
    """What a scripted answer's tokens were counted by is not claimed to be a provider's statement."""
    changes = {"usage_source": "rule"}
    provider = opened(tmp_path, [Exchange(request=question("a"), answer=answer("A"), changes=changes)])
    assert asyncio.run(_answer(provider, 1, question("a")))[0].counted_by_rule


def test_an_unknown_question(tmp_path: Path) -> None:
    """What was never asked is refused with the nearest recorded call and the first difference, as the runner's doing."""
    tools = {"tools": [{"name": "bash"}]}
    recorded = [question("write a file", **tools), question("run the tests", **tools)]
    provider = opened(tmp_path, [Exchange(request=one, answer=answer("x")) for one in recorded])
    run = make_run().id
    with pytest.raises(Refused) as caught:
        asyncio.run(_answer(provider, 1, question("run all tests", **tools)))
    assert caught.value.message == (
        f"replay: call 1 of step begin was not recorded; nearest is call 1 of {run}: "
        'messages[0].content is "write a file", and here "run all tests"'
    )
    refused = caught.value
    assert (refused.status, refused.fault, refused.code, refused.retry) == (400, "runner", "replay_mismatch", False)


def test_the_nearest_is_one_that_is_left(tmp_path: Path) -> None:
    """The difference is shown to a call that has not been given yet, where there is one."""
    history = [{"role": "user", "content": f"{number}"} for number in range(5)]
    first, second = ({"messages": history[:4]}, {"messages": history[:2]})
    provider = opened(tmp_path, [Exchange(request=one, answer=answer("x")) for one in (first, second)])
    changed = {"messages": [*history[:3], {"role": "user", "content": "other"}]}
    assert "nearest is call 2 of" in said(provider, first, changed)[1]


def test_nothing_is_answered_after_a_mismatch(tmp_path: Path) -> None:
    """A replay that went wrong stays wrong: a framework that goes on cannot pass on a mixture."""
    provider = opened(tmp_path, [Exchange(request=question("a"), answer=answer("A"))])
    unknown, after = said(provider, question("b"), question("a"))
    assert "was not recorded" in unknown
    assert after == unknown


def test_one_question_too_many(tmp_path: Path) -> None:
    """A request that was recorded once and comes twice is told as that."""
    provider = opened(tmp_path, [Exchange(request=question("a"), answer=answer("A"))])
    run = make_run().id
    assert said(provider, question("a"), question("a"))[1] == (
        f"replay: call 2 of step begin asks again what was recorded once, last as call 1 of {run}"
    )


def test_a_step_without_recorded_calls(tmp_path: Path) -> None:
    """A step that made no call in the recording has none to give, whatever other steps have."""
    provider = opened(tmp_path, [Exchange(request=question("a"), answer=answer("A"), step="extend")])
    assert said(provider, question("a")) == [
        f"replay: call 1 of step begin, attempt 1 was not recorded: {make_run().id} has 0 calls of it"
    ]


def test_redacted_questions_still_match(tmp_path: Path) -> None:
    """The token of the session and what patterns of the recording or of the replay match do not make a mismatch."""
    old = question("token run-token-of-the-recording, mail an@example.org, card 1234")
    exchanges = [Exchange(request=old, answer=answer("A"))]
    provider = opened(tmp_path, exchanges, mode="strict", redact=(r"card \d+",))
    assert "was not recorded" in said(provider, question("token x, mail an@example.org, card 1234"))[0]
    again = question(f"token {TOKEN}, mail an@example.org, card 9999")
    assert said(opened(tmp_path, [], redact=(r"card \d+",)), again) == [answer("A")]


def test_patterns_of_the_recording_are_applied(tmp_path: Path) -> None:
    """A recording says itself what was taken out of it; the replaying model need not."""
    record(
        tmp_path / "old", [Exchange(request=question("card 1234"), answer=answer("A"))], make_run(redact=(r"\d{4}",))
    )
    assert said(opened(tmp_path, []), question("card 9999")) == [answer("A")]


def test_by_order_alone(tmp_path: Path) -> None:
    """In mode `sequence` the n-th call has the n-th answer, whatever it asks, until there is none left."""
    provider = opened(
        tmp_path, [Exchange(request=question(text), answer=answer(text)) for text in "ab"], mode="sequence"
    )
    first, second, third = said(provider, question("x"), question("y"), question("z"))
    assert (first, second) == (answer("a"), answer("b"))
    assert third.endswith("has 2 calls of it")


def test_by_order_but_not_of_another_kind(tmp_path: Path) -> None:
    """In mode `sequence` a stream is not given to who asks for none."""
    exchanges = [Exchange(request=question("a", stream=True), answer=SSE, stream=True)]
    provider = opened(tmp_path, exchanges, mode="sequence")
    assert said(provider, question("a")) == [
        f"replay: call 1 of step begin asks for openai-chat, but call 1 of {make_run().id} was openai-chat as a stream"
    ]


@pytest.mark.parametrize("mode", ["strict", "sequence"])
def test_it_goes_on_after_a_restart(tmp_path: Path, mode: str) -> None:
    """What stands in the calls file already has been given: a provider opened again gives what comes after it."""
    same = question("same")
    opened(tmp_path, [Exchange(request=same, answer=answer(text)) for text in "abc"], mode=mode)
    live = tmp_path / "new" / "llm"
    sha = keep(Bodies(live / "bodies", "full", [], [TOKEN]), encode(same))
    done = Exchange(request=same)
    run = make_run().model_copy(update={"id": RUN})
    append_call(live / "calls.jsonl", make_call(run, 1, done, request_sha256=sha, response_sha256=sha))
    append_call(live / "calls.jsonl", make_call(run, 2, done, status=0, fault="runner", error="the gateway ended"))
    assert said(opened(tmp_path, [], mode=mode), same, same) == [answer("b"), answer("c")]


def test_a_damaged_body_is_an_error_of_ours(tmp_path: Path) -> None:
    """A body that turns out damaged while it is wanted refuses the call, and is not the framework's fault."""
    provider = opened(tmp_path, [Exchange(request=question("a"), answer=answer("A"))])
    call = provider.tape.calls[0]
    (tmp_path / "old/llm/bodies" / f"{call.response_sha256}.zst").write_bytes(b"broken")
    with pytest.raises(Refused, match=r"call 1 of .* cannot be given again: a recorded body is damaged") as caught:
        asyncio.run(_answer(provider, 1, question("a")))
    assert caught.value.fault == "runner"


def test_no_recording(tmp_path: Path) -> None:
    """A session without a recording says what to type."""
    spec = opened(tmp_path, []).spec
    lacking = SessionSpec(**{**vars(spec), "recording": None})
    with pytest.raises(ConfigError, match="no recording for alpha on build") as caught:
        open_replay(lacking, TOKEN)
    assert "--replay" in caught.value.hint
