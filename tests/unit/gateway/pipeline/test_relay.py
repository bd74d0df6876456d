"""Streams on their way: every byte of them, their usage, and all the ways in which they do not end well."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from runner.gateway.bodies import read_body
from runner.gateway.calls import read_calls
from runner.gateway.sse import make_event
from runner.spec.model import Model

Play = Callable[..., None]
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "m", "messages": [], "stream": True}
HEAD = {"model": "real-1-0613", "object": "chat.completion.chunk"}


def chunk(text: str | None, reason: str | None = None, **more: Any) -> bytes:
    """Return a chunk's event."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": reason}
    return make_event(json.dumps({**HEAD, "choices": [choice], **more}).encode())


USAGE = make_event(json.dumps({**HEAD, "choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 3}}).encode())
DONE = make_event(b"[DONE]")
WORDS = [chunk(word) for word in ("real", " streamed", " answer", " of", " many", " words")]
END = chunk(None, "stop")
FULL = [*WORDS, END, USAGE, DONE]


@pytest.mark.parametrize("together", [False, True])
def test_stream_passes_byte_for_byte(*, play: Play, said: Any, together: bool) -> None:
    """Without include_usage the client gets the provider's bytes less the usage chunk; the kept body has it."""
    provider = said(pieces=[b"".join(FULL)] if together else FULL, stream=True)

    async def look(scene: Any) -> None:
        without = await scene.stream(CHAT, ASK)
        full = await scene.stream(CHAT, {**ASK, "stream_options": {"include_usage": True}})
        assert full == b"".join(FULL)
        assert without == b"".join([*WORDS, END, DONE])
        await scene.served.afterwards.done()
        file = scene.served.spec.calls_file
        for call, got in zip(read_calls(file).calls, (without, full), strict=True):
            assert (call.tokens_in, call.tokens_out, call.usage_source) == (20, 3, "provider")
            assert (call.finish_reason, call.model_used, call.error) == ("stop", "real-1-0613", None)
            assert call.response_bytes == len(got)
            assert read_body(file.parent / "bodies", str(call.response_sha256)) == b"".join(FULL)
            assert 0 < (call.latency_first_byte_seconds or 0) <= call.latency_seconds

    play(look, provider)
    assert json.loads(provider.asked[0].content)["stream_options"] == {"include_usage": True}


def test_end_is_held_back_until_the_call_is_recorded(play: Play, said: Any) -> None:
    """When the client sees the end, the line is there; what came before did not wait for it."""
    seen = asyncio.Event()
    provider = said(pieces=[*WORDS, seen, END, USAGE, DONE], stream=True)

    async def look(scene: Any) -> None:
        headers = {"Authorization": "Bearer run-token-0123456789"}
        file = scene.served.spec.calls_file
        async with scene.client.post(scene.url + CHAT, json=ASK, headers=headers) as response:
            got = b""
            while b"words" not in got:
                got += await response.content.readany()
            assert not file.exists()
            seen.set()
            while DONE not in got:
                got += await response.content.readany()
            assert len(read_calls(file).calls) == 1

    play(look, provider)


def test_disk_that_takes_no_record_ends_the_stream_with_an_error(play: Play, said: Any) -> None:
    """A stream whose call cannot be recorded does not end as if it had been."""

    async def look(scene: Any) -> None:
        file = scene.served.spec.calls_file
        file.parent.mkdir(parents=True)
        file.symlink_to("/dev/full")
        got = await scene.stream(CHAT, ASK)
        assert DONE not in got
        assert b"cannot be recorded" in got
        assert scene.served.calls[0].fault == "runner"

    play(look, said(pieces=FULL, stream=True))


@pytest.mark.parametrize(
    ("pieces", "error", "source"),
    [
        (WORDS, "ended in the middle of the answer", "unknown"),
        ([b"<h1>Hello</h1>"], "ended in the middle of the answer", "unknown"),
        ([], "ended in the middle of the answer", "unknown"),
        ([*WORDS, "break"], "lost it", "unknown"),
        ([*WORDS, END, USAGE, "break"], "lost it", "provider"),
        ([*WORDS, make_event(b'{"error":{"message":"overloaded"}}')], "overloaded", "unknown"),
        ([*WORDS, make_event(b'{"error":{"message":"overloaded"}}'), USAGE, DONE], "overloaded", "provider"),
    ],
)
def test_stream_that_breaks_off_is_an_error(
    *, play: Play, said: Any, refused: Any, pieces: list[Any], error: str, source: str
) -> None:
    """However a stream breaks off, the client is told in an event, and the record says what was known."""
    broken = refused(502, "lost it", begun=True)
    provider = said(pieces=[broken if piece == "break" else piece for piece in pieces], stream=True)

    async def look(scene: Any) -> None:
        got = await scene.stream(CHAT, ASK)
        assert error.encode() in got
        assert b'"error"' in got
        (call,) = read_calls(scene.served.spec.calls_file).calls
        assert error in (call.error or "")
        assert (call.fault, call.usage_source, call.status) == ("provider", source, 200)

    play(look, provider)
    assert provider.closed == [True]


def test_anthropic_stream_that_breaks_off_is_counted_as_far_as_stated(play: Play, said: Any, refused: Any) -> None:
    """Tokens stated at the start of a broken stream are recorded as partial, and the error is an event of its API."""
    start = {"type": "message_start", "message": {"model": "c", "usage": {"input_tokens": 9, "output_tokens": 1}}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
    pieces = [make_event(json.dumps(one).encode(), str(one["type"])) for one in (start, delta)]
    provider = said(pieces=[*pieces, refused(502, "lost it", begun=True)], stream=True)

    async def look(scene: Any) -> None:
        got = await scene.stream("/v1/messages", {**ASK, "max_tokens": 5})
        assert got.startswith(b"".join(pieces))
        assert got.endswith(
            b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"lost it"}}\n\n'
        )
        (call,) = scene.served.calls
        assert (call.tokens_in, call.tokens_out, call.usage_source) == (9, 1, "partial")

    play(look, provider)


def test_stream_without_usage_is_unmetered(play: Play, said: Any) -> None:
    """A provider that states no usage leaves it unknown, which is no error."""

    async def look(scene: Any) -> None:
        await scene.stream(CHAT, ASK)
        (call,) = scene.served.calls
        assert (call.usage_source, call.tokens_in, call.error) == ("unknown", None, None)

    play(look, said(pieces=[*WORDS, END, DONE], stream=True))


def test_stream_that_ends_without_its_last_word_is_whole_if_the_model_had_stopped(play: Play, said: Any) -> None:
    """Servers that leave out [DONE] have answered all the same."""

    async def look(scene: Any) -> None:
        assert await scene.stream(CHAT, ASK) == b"".join([*WORDS, END])
        assert (scene.served.calls[0].error, scene.served.calls[0].tokens_out) == (None, 3)

    play(look, said(pieces=[*WORDS, END, USAGE], stream=True))


def test_provider_that_goes_on_after_the_end_is_left(play: Play, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows the last word is not passed on, and is not waited for long."""
    monkeypatch.setattr("runner.gateway.relay._AFTER_THE_END", 0.2)
    provider = said(pieces=[*FULL, b": more\n\n", 60.0], stream=True)

    async def look(scene: Any) -> None:
        async with asyncio.timeout(30):
            assert (await scene.stream(CHAT, ASK)).endswith(DONE)
        await scene.until(lambda: provider.closed)

    play(look, provider)


def test_client_that_leaves_ends_the_stream(play: Play, said: Any) -> None:
    """A framework that goes away is recorded as gone, with no error, and the provider's stream is closed."""
    provider = said(pieces=[piece for _ in range(1000) for piece in (WORDS[0], 0.01)], stream=True)

    async def look(scene: Any) -> None:
        headers = {"Authorization": "Bearer run-token-0123456789"}
        async with scene.client.post(scene.url + CHAT, json=ASK, headers=headers) as response:
            await response.content.readany()
            response.close()
        await scene.until(lambda: scene.served.calls)
        (call,) = scene.served.calls
        assert (call.client_gone, call.error, call.usage_source) == (True, None, "unknown")

    play(look, provider)
    assert provider.closed == [True]


def test_client_that_reads_nothing_counts_as_gone(play: Play, said: Any) -> None:
    """A reader that stops reading holds neither memory nor the provider for longer than it is given."""
    size = [0]

    def endless() -> Any:
        while True:
            size[0] += len(WORDS[0]) * 100
            yield WORDS[0] * 100

    async def look(scene: Any) -> None:
        host, port = scene.url.removeprefix("http://").split(":")
        body = json.dumps(ASK)
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: g\r\nx-api-key: run-token-0123456789\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        client = socket.create_connection((host, int(port)))
        client.sendall((head + body).encode())
        await scene.until(lambda: scene.served.calls)
        client.close()
        assert scene.served.calls[0].client_gone

    play(look, said(pieces=endless(), stream=True), write_seconds=0.3)
    assert size[0] < 32 << 20


def test_stream_too_long_to_be_kept_is_passed_on(play: Play, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What memory is not worth is passed on and metered, and the record says that its bodies are not there."""
    monkeypatch.setattr("runner.gateway.draft._LONGEST_KEPT", 200)

    async def look(scene: Any) -> None:
        assert await scene.stream(CHAT, ASK) == b"".join([*WORDS, END, DONE])
        (call,) = scene.served.calls
        assert (call.bodies, call.response_sha256, call.tokens_out) == ("off", None, 3)

    play(look, said(pieces=FULL, stream=True))


@pytest.mark.parametrize("mode", ["digest", "off"])
def test_bodies_are_kept_as_configured(play: Play, said: Any, mode: Any) -> None:
    """With `digest` there are digests and no files, with `off` neither."""

    async def look(scene: Any) -> None:
        await scene.stream(CHAT, ASK)
        (call,) = scene.served.calls
        assert (call.bodies, call.request_sha256 is None, call.response_sha256 is None) == (mode, *[mode == "off"] * 2)
        assert not (scene.served.spec.calls_file.parent / "bodies").exists()

    play(look, said(pieces=FULL, stream=True), model=Model(provider="openai", name="real-1", bodies=mode))


def test_stream_of_another_path_is_passed_on(play: Play, said: Any) -> None:
    """Events of an unknown kind have no end that the gateway knows of."""

    async def look(scene: Any) -> None:
        assert await scene.stream("/v1/threads/runs", ASK) == b"event: thread.done\ndata: 1\n\n"
        assert (scene.served.calls[0].error, scene.served.calls[0].usage_source) == (None, "no answer")

    play(look, said(pieces=[b"event: thread.done\ndata: 1\n\n"], stream=True))


def test_call_cut_by_the_sessions_end_is_recorded(play: Play, said: Any) -> None:
    """A call that is ended from outside has its line all the same."""
    provider = said(pieces=[WORDS[0], 30.0], stream=True)

    async def look(scene: Any) -> None:
        asked = asyncio.ensure_future(scene.stream(CHAT, ASK))
        await scene.until(lambda: scene.served.tasks and provider.asked)
        await asyncio.sleep(0.1)
        for task in set(scene.served.tasks):
            task.cancel()
        await scene.until(lambda: scene.served.calls)
        asked.cancel()
        assert (scene.served.calls[0].client_gone, scene.served.calls[0].model_sent) == (True, "real-1")

    play(look, provider, model=Model(provider="openai", name="real-1"))


def test_defect_in_mid_stream_breaks_the_connection(play: Play, said: Any) -> None:
    """An exception nobody foresaw in the middle of a stream does not look like its end, and has its line."""

    async def look(scene: Any) -> None:
        with pytest.raises(Exception, match=r"payload|disconnected|closed"):
            await scene.stream(CHAT, ASK)
        (call,) = read_calls(scene.served.spec.calls_file).calls
        assert (call.fault, call.usage_source) == ("runner", "unknown")

    play(look, said(pieces=[*WORDS, KeyError("x")], stream=True))


def test_request_that_cannot_be_kept_loses_no_line(play: Play, said: Any) -> None:
    """Streams whose bodies find no place are metered and passed on; once that is known, lines say that none are kept."""

    async def look(scene: Any) -> None:
        file = scene.served.spec.calls_file
        file.parent.mkdir(parents=True)
        (file.parent / "bodies").write_bytes(b"no folder")
        assert DONE in await scene.stream(CHAT, ASK)
        await scene.served.afterwards.done()
        assert not scene.served.afterwards.has_room
        assert DONE in await scene.stream(CHAT, ASK)
        first, second = scene.served.calls
        assert (first.fault, first.bodies) == (None, "full")
        assert (second.fault, second.bodies, second.request_sha256) == (None, "off", None)
        assert len(file.read_text().splitlines()) == 2

    play(look, said(pieces=FULL, stream=True))
