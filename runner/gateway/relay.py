"""An answer on its way to the framework: a stream as it arrives, byte for byte, anything else in one piece.

The end of an answer is passed on only once the call is recorded: what a framework acted on is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from runner.gateway.draft import Draft, is_error
from runner.gateway.jsontext import parse_object
from runner.gateway.metering import Seen, error_message
from runner.gateway.providers.protocol import Refused, Reply
from runner.gateway.record import settle
from runner.gateway.served import Served
from runner.gateway.sse import Event, last_end, next_end

_LARGE = 1 << 18
"""Bytes from which a body is written in pieces, each with its own time."""
_LOOK_AT_FIRST = 3
"""Events of a stream that are read whatever they look like: the model's name stands in one of them."""
_AFTER_THE_END = 2.0
"""Seconds for what a provider may still send after its last word; a connection that is read to its end can be used again."""
_SHOWN = 80


async def relay(served: Served, request: web.Request, draft: Draft, reply: Reply) -> web.StreamResponse:
    """Pass an answer on and record it. Raises Refused if it cannot be passed on and nothing of it has been."""
    draft.counted_by_rule = reply.counted_by_rule
    async with contextlib.aclosing(reply.body):
        if reply.stream and not is_error(reply.status):
            return await _stream(served, request, draft, reply)
        return await _whole(served, request, draft, reply)


async def _whole(served: Served, request: web.Request, draft: Draft, reply: Reply) -> web.StreamResponse:
    """Relay an answer in one piece; a framework that has gone meanwhile is noted, and the answer metered all the same."""
    draft.begun = not is_error(reply.status)
    body = b"".join([piece async for piece in reply.body])
    content = parse_object(body)
    draft.kept = [body]
    draft.seen = draft.format.see(Seen(), content or {})
    if is_error(reply.status):
        said = (error_message(content) if content else None) or f"the provider answered {reply.status}"
        draft.error, draft.fault = f"{reply.status}: {said}", reply.fault
    elif draft.seen.error:
        draft.error, draft.fault = draft.seen.error, "provider"
    elif content is None and draft.format.reads:
        said = body[:_SHOWN].decode("utf-8", "replace")
        message = f"the provider's answer is no JSON object, but begins {said!r}"
        raise Refused(502, message, kind="api_error", fault="provider", begun=True, retry=False)
    draft.status = reply.status
    return await finish(served, request, draft, body, dict(reply.headers))


async def finish(
    served: Served, request: web.Request, draft: Draft, body: bytes, headers: dict[str, str]
) -> web.StreamResponse:
    """Record a call and return its answer, or the error that it could not be recorded."""
    draft.client_gone = draft.client_gone or request.transport is None or request.transport.is_closing()
    draft.answered(body)
    problem = await settle(served, draft)
    if problem:
        lost = Refused(500, problem, kind="gateway_error", fault="runner")
        return web.Response(status=500, body=draft.format.error(lost), headers={"content-type": "application/json"})
    if len(body) <= _LARGE:
        return web.Response(status=draft.status, body=body, headers=headers)
    response = web.StreamResponse(status=draft.status, headers=headers)
    response.content_length = len(body)
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        for start in range(0, len(body), _LARGE):
            await _write(served, request, response, body[start : start + _LARGE])
    return response


async def _stream(served: Served, request: web.Request, draft: Draft, reply: Reply) -> web.StreamResponse:
    """Relay a stream; should it break off, say so in an event of its own."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    draft.status, draft.begun = reply.status, True
    try:
        await response.prepare(request)
        try:
            last = await _until_the_end(served, request, draft, reply, response)
            await _settled(served, draft)
        except Refused as refused:
            draft.refused(refused)
            last = draft.format.broken(refused)
            draft.keep(last)
            draft.answered(last)
            await settle(served, draft)
        await _write(served, request, response, last)
        await response.write_eof()
        await _drain(reply)
    except ConnectionError:
        # Not always a reset: one who leaves while a write waits for him is a plain connection error to the library.
        draft.client_gone = True
        await settle(served, draft)
    return response


async def _settled(served: Served, draft: Draft) -> None:
    """Record a stream before its end is passed on. Raises Refused if it cannot be recorded."""
    problem = await settle(served, draft)
    if problem:
        raise Refused(500, problem, kind="gateway_error", fault="runner", begun=True)


async def _until_the_end(
    served: Served, request: web.Request, draft: Draft, reply: Reply, response: web.StreamResponse
) -> bytes:
    """Pass on a stream but for its last words, and return those. Raises Refused if it broke off."""
    last = b""
    async for piece in reply.body:
        visible, last = read_piece(draft, piece)
        if visible:
            draft.answered(visible)
            await _write(served, request, response, visible)
        if draft.seen.done or draft.seen.error:
            break
    if draft.seen.error and not draft.seen.done:
        last += await _remaining(draft, reply)
    draft.answered(last)
    if draft.seen.error:
        draft.error, draft.fault = draft.seen.error, "provider"
    elif draft.format.ends and not draft.seen.done and draft.seen.finish_reason is None:
        message = "the provider's stream ended in the middle of the answer"
        raise Refused(502, message, kind="api_connection_error", fault="provider", begun=True)
    return last


def read_piece(draft: Draft, piece: bytes) -> tuple[bytes, bytes]:
    """Read the events in a piece of a stream.

    Returns:
        The bytes to pass on at once, without events that the framework did not ask for; and those to hold back until
        the call is recorded, because they end the answer or say that it failed.
    """
    draft.keep(piece)
    visible: list[bytes] = []
    last: list[bytes] = []
    at = 0
    while at < len(piece) and not draft.seen.done:
        begin = _next_to_read(draft, piece, at)
        (last if draft.seen.error else visible).append(piece[at:begin])
        at = next_end(piece, begin)
        event = Event(raw=piece[begin:at])
        draft.looked += 1
        draft.seen = draft.format.see_event(draft.seen, event)
        if not draft.format.hidden(event, draft.values):
            (last if draft.seen.done or draft.seen.error else visible).append(event.raw)
    last.append(piece[at:])
    return b"".join(visible), b"".join(last)


def _next_to_read(draft: Draft, piece: bytes, start: int) -> int:
    """Return where the next event begins that has to be read; the piece's end if there is none."""
    if draft.seen.model is None and draft.looked < _LOOK_AT_FIRST:
        return start
    found = draft.format.matters(piece, start)
    if found is None:
        return len(piece)
    before = last_end(piece, start, found.start())
    return start if before is None else before


async def _remaining(draft: Draft, reply: Reply) -> bytes:
    """Return what comes after an error; usage may be in it."""
    more: list[bytes] = []
    with contextlib.suppress(TimeoutError, Refused):
        async with asyncio.timeout(_AFTER_THE_END):
            async for piece in reply.body:
                more += read_piece(draft, piece)
    return b"".join(more)


async def _drain(reply: Reply) -> None:
    """Read what comes after the end, which means nothing, so that the connection can be used again."""
    with contextlib.suppress(TimeoutError, Refused):
        async with asyncio.timeout(_AFTER_THE_END):
            async for _ in reply.body:
                pass


async def _write(served: Served, request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Write to the framework. Raises ConnectionResetError if it has gone, or reads nothing for too long."""
    try:
        async with asyncio.timeout(served.write_seconds):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client reads nothing") from None
