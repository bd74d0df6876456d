"""Calls that go on to an endpoint: what it is sent, what the framework gets, what is recorded, what may go wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from runner.gateway.client import GatewayProcess
from runner.gateway.session import SessionSpec
from runner.spec.model import Model

pytestmark = pytest.mark.processes

Spec = Callable[..., SessionSpec]
Sdk = Callable[..., openai.OpenAI]
Calls = Callable[[], list[dict[str, Any]]]
HELLO: Any = [{"role": "user", "content": "hello"}]


def test_call_goes_on_with_the_real_model_and_key(
    *, gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls, upstream: Any, sentinel: str
) -> None:
    """The endpoint gets its key and the experiment's model; both models and the stated usage are recorded."""
    session = gateway.open(make_spec(model=upstream.model("ok")))
    answer = sdk(session).chat.completions.create(model="gpt-asked", messages=HELLO, max_tokens=9)
    totals = gateway.close(session)
    assert answer.choices[0].message.content == "real answer"
    assert upstream.asked[-1] == {"model": "real-model-1", "messages": HELLO, "max_tokens": 9}
    assert upstream.headers[-1]["Authorization"] == f"Bearer {sentinel}"
    line = calls()[0]
    assert (line["model_asked"], line["model_sent"], line["model_used"]) == (
        "gpt-asked",
        "real-model-1",
        "real-model-1-0613",
    )
    used = (line["tokens_in"], line["tokens_out"], line["tokens_cached"], line["tokens_reasoning"])
    assert used == (11, 5, 8, 2)
    assert (line["usage_source"], line["finish_reason"], line["status"]) == ("provider", "stop", 200)
    assert line["cost_usd"] is None
    assert (totals.tokens_in, totals.tokens_cached, totals.cost_usd) == (11, 8, None)


def _read_stream(session: Any, *, include_usage: bool | None = None) -> bytes:
    """Return the body of a streamed answer, byte for byte as a client sees it."""
    options = "" if include_usage is None else f', "stream_options": {{"include_usage": {str(include_usage).lower()}}}'
    body = f'{{"model": "m", "stream": true, "messages": []{options}}}'
    head = f"POST /v1/chat/completions HTTP/1.0\r\nHost: g\r\nx-api-key: {session.token}\r\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(session.directory / "gateway.sock"))
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer.partition(b"\r\n\r\n")[2]


def test_stream_passes_byte_for_byte(gateway: GatewayProcess, make_spec: Spec, calls: Calls, upstream: Any) -> None:
    """With include_usage the client gets the endpoint's bytes; without it, the same bytes less the usage chunk."""
    session = gateway.open(make_spec(model=upstream.model("ok")))
    full, without = _read_stream(session, include_usage=True), _read_stream(session)
    totals = gateway.close(session)
    usage = b'"choices": [], "usage": {"prompt_tokens": 20'
    events = full.split(b"\r\n\r\n")
    assert sum(usage in event for event in events) == 1
    assert without == b"\r\n\r\n".join(event for event in events if usage not in event)
    assert full.endswith(b"data: [DONE]\n\n")
    assert [line["tokens_in"] for line in calls()] == [20, 20]
    assert [line["response_bytes"] for line in calls()] == [len(full), len(without)]
    assert (totals.tokens_out, totals.tokens_cached) == (6, None)
    assert all(asked["stream_options"]["include_usage"] for asked in upstream.asked[-2:])


def test_stream_without_usage_is_unmetered(
    gateway: GatewayProcess, make_spec: Spec, calls: Calls, upstream: Any
) -> None:
    """If the endpoint never states usage, the totals are None, and say how many calls they lack."""
    session = gateway.open(make_spec(model=upstream.model("nousage")))
    _read_stream(session)
    totals = gateway.close(session)
    assert (totals.tokens_in, totals.tokens_out, totals.unmetered_calls, totals.failed_calls) == (None, None, 1, 0)
    assert calls()[0]["usage_source"] == "unknown"


def test_providers_error_passes_and_is_recorded(
    gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls, upstream: Any
) -> None:
    """An error of the endpoint reaches the SDK as its own exception, with its headers, and is the provider's doing."""
    session = gateway.open(make_spec(model=upstream.model("limited")))
    with pytest.raises(openai.RateLimitError) as error:
        sdk(session).chat.completions.create(model="m", messages=HELLO)
    assert error.value.response.headers["Retry-After"] == "7"
    totals = gateway.close(session)
    assert (totals.last_error, totals.last_error_fault) == ("429: slow down", "provider")
    assert (totals.tokens_in, totals.unmetered_calls) == (0, 0)
    assert calls()[0]["status"] == 429


def test_bad_request_is_the_frameworks_doing(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, upstream: Any) -> None:
    """A request the model cannot take, like too long a context, is not blamed on the provider."""
    session = gateway.open(make_spec(model=upstream.model("toolong")))
    with pytest.raises(openai.BadRequestError):
        sdk(session).chat.completions.create(model="m", messages=HELLO)
    assert gateway.close(session).last_error_fault == "framework"


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("html", 502, "the provider answered 502"),
        ("moved", 502, "status 307"),
        ("silent", 504, "did not answer in time"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_broken_endpoint_is_said_plainly(
    *,
    gateway: GatewayProcess,
    make_spec: Spec,
    sdk: Sdk,
    upstream: Any,
    how: str,
    status: int,
    words: str,
    stream: bool,
) -> None:
    """Nonsense, a redirect and silence each end in a clear error for the framework and in the totals."""
    session = gateway.open(make_spec(model=upstream.model(how)))
    with pytest.raises(openai.InternalServerError) as error:
        sdk(session).chat.completions.create(model="m", messages=HELLO, stream=stream)
    assert error.value.status_code == status
    totals = gateway.close(session)
    assert words in totals.last_error
    assert totals.unmetered_calls == (1 if how == "silent" else 0)


def test_endpoint_that_is_not_there(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk) -> None:
    """A refused connection names the endpoint and the reason."""
    model = Model(provider="openai", name="m", base_url="http://127.0.0.1:9/v1")
    session = gateway.open(make_spec(model=model))
    with pytest.raises(openai.InternalServerError, match=r"cannot connect to http://127\.0\.0\.1:9/v1: "):
        sdk(session).chat.completions.create(model="m", messages=HELLO)
    assert "refused" in gateway.close(session).last_error.lower()


@pytest.mark.parametrize("how", ["cut", "short"])
def test_stream_that_breaks_off_is_an_error(
    *, gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls, upstream: Any, how: str
) -> None:
    """If the endpoint's connection breaks or ends in mid-stream, the SDK raises instead of taking half an answer for whole."""
    session = gateway.open(make_spec(model=upstream.model(how)))
    with pytest.raises(openai.APIError, match=r"lost the connection|ended in the middle"):
        list(sdk(session).chat.completions.create(model="m", messages=HELLO, stream=True))
    totals = gateway.close(session)
    assert (totals.failed_calls, totals.unmetered_calls, totals.tokens_in) == (1, 1, None)
    assert calls()[0]["fault"] == "provider"


def test_client_that_leaves_in_mid_stream(
    *, gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls, upstream: Any, wait_until: Any
) -> None:
    """A framework that goes away is recorded as gone, the endpoint is told to stop, and no error is blamed on anyone."""
    upstream.given_up.clear()
    session = gateway.open(make_spec(model=upstream.model("endless")))
    stream = sdk(session).chat.completions.create(model="m", messages=HELLO, stream=True)
    next(iter(stream))
    stream.close()
    wait_until(calls)
    wait_until(upstream.given_up.is_set)
    totals = gateway.close(session)
    assert (calls()[0]["client_gone"], calls()[0]["usage_source"]) == (True, "unknown")
    assert (totals.last_error, totals.unmetered_calls, totals.tokens_out) == ("", 1, None)


def test_close_waits_for_an_answer_under_way(
    gateway: GatewayProcess, make_spec: Spec, upstream: Any, calls: Calls, wait_until: Any
) -> None:
    """A call that the container's end left behind is still metered, as the provider will count it."""
    session = gateway.open(make_spec(model=upstream.model("slow")))
    before = len(upstream.asked)
    body = b'{"model": "m", "messages": []}'
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(session.directory / "gateway.sock"))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nx-api-key: {session.token}\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: len(upstream.asked) > before)
    totals = gateway.close(session)
    assert (totals.api_calls, totals.tokens_in, calls()[0]["client_gone"]) == (1, 11, True)


def test_call_that_takes_too_long_is_recorded_as_far_as_it_got(
    gateway: GatewayProcess, make_spec: Spec, upstream: Any, sdk: Sdk, calls: Calls
) -> None:
    """A stream that does not end within the drain time is cut, recorded and counted as unmetered."""
    session = gateway.open(make_spec(model=upstream.model("endless")))
    stream = sdk(session).chat.completions.create(model="m", messages=HELLO, stream=True)
    next(iter(stream))
    reader = threading.Thread(target=_exhaust, args=(stream,))
    reader.start()
    totals = gateway.close(session)
    reader.join()
    assert (totals.api_calls, totals.unmetered_calls) == (1, 1)
    assert calls()[0]["client_gone"] is True


def _exhaust(stream: Any) -> None:
    with pytest.raises(Exception, match=r".*"):
        list(stream)


def test_key_is_never_seen(
    *, gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, upstream: Any, sentinel: str, tmp_path: Path
) -> None:
    """The key is in no argument, environment, error, log or calls file, even if the endpoint repeats it."""
    session = gateway.open(make_spec(model=upstream.model("echo")))
    with pytest.raises(openai.AuthenticationError) as error:
        sdk(session).chat.completions.create(model="m", messages=HELLO)
    totals = gateway.close(session)
    process = Path(f"/proc/{gateway.pid}")
    seen = {
        "error": repr(error.value) + error.value.response.text,
        "totals": repr(totals),
        "settings": repr(gateway.settings),
        "calls": "".join(path.read_text() for path in tmp_path.rglob("*.jsonl")),
        "arguments": (process / "cmdline").read_text(),
        "environment": (process / "environ").read_text(),
        "log": (gateway.folder / "log").read_text(),
    }
    assert "[key removed]" in seen["calls"]
    assert [where for where, text in seen.items() if sentinel in text] == []


def test_enormous_request_is_refused(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls) -> None:
    """A request beyond 64 MiB is a 413 in the provider's shape, recorded as the framework's doing."""
    model = Model(provider="openai", name="m", base_url="http://127.0.0.1:9/v1")
    session = gateway.open(make_spec(model=model))
    huge: Any = [{"role": "user", "content": "x" * (65 << 20)}]
    with pytest.raises(openai.APIStatusError, match="more than 67108864 bytes"):
        sdk(session).chat.completions.create(model="m", messages=huge)
    assert gateway.close(session).last_error_fault == "framework"
    assert calls()[0]["status"] == 413
