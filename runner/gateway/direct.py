"""Ask a model once over a session's socket, in the wire format of whoever answers there.

Sources: the API references of OpenAI (chat completions) and Anthropic (messages, version 2023-06-01).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runner.gateway.session import Session
from runner.names import GATEWAY_SOCKET

WireName = Literal["openai-chat", "anthropic-messages"]
Telling = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""Has a callback called if the user stops everything inside the block."""

_ANTHROPIC_TOKENS = 4096
"""Longest answer where nobody names one: that API wants a number."""
_MOST_BYTES = 16 * 1024**2
_SHOWN = 300


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a model is asked."""

    wire: WireName
    model: str
    prompt: str
    system: str = ""
    """Empty for none."""
    max_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of it."""

    text: str | None = None
    """None if there is no answer; then `error` says why, or the time was over."""
    error: str = ""
    timed_out: bool = False
    cut: bool = False
    """Whether the answer was cut off at its longest."""


@dataclass(frozen=True, kw_only=True)
class _Wire:
    """How a family of APIs is asked, and where its answer has the text."""

    path: str
    headers: Mapping[str, str]
    body: Callable[[Question], dict[str, Any]]
    text: Callable[[Mapping[str, Any]], str]
    cut: Callable[[Mapping[str, Any]], bool]


def ask(session: Session, question: Question, *, seconds: float, telling: Telling) -> Answer:
    """Ask, and wait for the whole answer.

    Args:
        session: an open session.
        question: what is asked.
        seconds: how long it may take altogether.
        telling: hangs up when the user stops everything; then the answer has an error.
    """
    wire = _WIRES[question.wire]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {session.token}", **wire.headers}
    content = json.dumps(wire.body(question)).encode()
    expired = threading.Event()
    try:
        with _connected(session) as connection, _bounded(connection, seconds, expired, telling):
            connection.request("POST", wire.path, body=content, headers=headers)
            response = connection.getresponse()
            data = response.read(_MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        if expired.is_set():
            return Answer(timed_out=True)
        return Answer(error=f"the gateway did not answer: {error or type(error).__name__}")
    return _read(wire, response.status, data)


def _read(wire: _Wire, status: int, data: bytes) -> Answer:
    if len(data) > _MOST_BYTES:
        return Answer(error=f"the answer has more than {_MOST_BYTES} bytes")
    shown = data[:_SHOWN].decode("utf-8", "replace")
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return Answer(error=f"the answer (status {status}) is no JSON: {shown}")
    if status != http.client.OK:
        return Answer(error=_error_message(answer) or f"the answer has status {status}: {shown}")
    try:
        return Answer(text=wire.text(answer), cut=wire.cut(answer))
    except (KeyError, IndexError, TypeError, AttributeError):
        return Answer(error=f"the answer holds no text: {shown}")


@contextlib.contextmanager
def _connected(session: Session) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("gateway")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        with _near(session.directory) as folder:
            connection.sock.connect(f"{folder}/{GATEWAY_SOCKET}")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _near(folder: Path) -> Iterator[str]:
    """Name a folder in few bytes: the address of a socket has room for 107."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


@contextlib.contextmanager
def _bounded(
    connection: http.client.HTTPConnection, seconds: float, expired: threading.Event, telling: Telling
) -> Iterator[None]:
    """Hang up when the time is over or the user stops everything, whatever the other side does meanwhile."""
    # The connection itself forgets its socket as soon as it has handed it to an answer that ends with it.
    held = connection.sock

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)

    def expire() -> None:
        expired.set()
        hang_up()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    with telling(hang_up):
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _error_message(answer: object) -> str:
    """Return what an error answer of either family says; empty if it says nothing."""
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


def _chat_body(question: Question) -> dict[str, Any]:
    system = [{"role": "system", "content": question.system}] if question.system else []
    longest = {"max_completion_tokens": question.max_tokens} if question.max_tokens is not None else {}
    messages = [*system, {"role": "user", "content": question.prompt}]
    return {"model": question.model, "messages": messages, **longest}


def _messages_body(question: Question) -> dict[str, Any]:
    system = {"system": question.system} if question.system else {}
    return {
        "model": question.model,
        "max_tokens": question.max_tokens or _ANTHROPIC_TOKENS,
        "messages": [{"role": "user", "content": question.prompt}],
        **system,
    }


def _chat_text(answer: Mapping[str, Any]) -> str:
    return _joined([answer["choices"][0]["message"]["content"]])


def _messages_text(answer: Mapping[str, Any]) -> str:
    return _joined([one["text"] for one in answer["content"] if one["type"] == "text"])


def _joined(texts: list[object]) -> str:
    strings = [one for one in texts if isinstance(one, str)]
    if not strings:
        raise TypeError("there is no text")
    return "".join(strings)


_WIRES: Mapping[WireName, _Wire] = {
    "openai-chat": _Wire(
        path="/v1/chat/completions",
        headers={},
        body=_chat_body,
        text=_chat_text,
        cut=lambda answer: answer["choices"][0].get("finish_reason") == "length",
    ),
    "anthropic-messages": _Wire(
        path="/v1/messages",
        headers={"anthropic-version": "2023-06-01"},
        body=_messages_body,
        text=_messages_text,
        cut=lambda answer: answer.get("stop_reason") == "max_tokens",
    ),
}
