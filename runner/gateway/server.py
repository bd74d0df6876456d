"""What a framework talks to: the HTTP side of one session.

A call is recorded, and the record synced, before the framework sees the end of its answer: what it acted on is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import ClientPayloadError, web

from runner.gateway.calls import Call, append_call
from runner.gateway.draft import Draft, is_error, to_call
from runner.gateway.metering import Seen, error_message, parse_object, read_event, see, see_event
from runner.gateway.providers.protocol import Ask, Provider, Refused, Reply
from runner.gateway.session import SessionSpec
from runner.gateway.sse import make_event
from runner.gateway.wire import encode, error_body, models_body

MAX_REQUEST = 64 * 1024 * 1024
_JSON = {"Content-Type": "application/json"}


@dataclass(kw_only=True)
class Served:
    """Holds one session while it is open."""

    spec: SessionSpec
    token: str
    provider: Provider
    calls: list[Call] = field(default_factory=list)
    """Recorded calls, in the order they ended."""
    requests: int = 0
    asks: int = 0
    """Requests that reached the provider and were not refused by it."""
    tasks: set[asyncio.Task[object]] = field(default_factory=set)


def make_app(served: Served) -> web.Application:
    """Return the application of one session."""
    routes = {("POST", "/v1/chat/completions"): _chat, ("GET", "/v1/models"): _models}

    async def handle(request: web.Request) -> web.StreamResponse:
        served.requests += 1
        draft = Draft(n=served.requests, method=request.method, path=request.path)
        task = asyncio.current_task()
        served.tasks |= {task} if task is not None else set()
        try:
            _authorize(served, request)
            return await routes.get((request.method, request.path), _unknown)(served, request, draft)
        except Refused as refused:
            draft.refused(refused)
            return await _finish(served, request, draft, encode(error_body(str(refused), refused.kind, refused.code)))
        except asyncio.CancelledError:
            draft.client_gone = True
            _record(served, draft)
            raise
        finally:
            served.tasks -= {task}

    app = web.Application(client_max_size=MAX_REQUEST)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


Handler = Callable[[Served, web.Request, Draft], Awaitable[web.StreamResponse]]


def _authorize(served: Served, request: web.Request) -> None:
    bearer = request.headers.get("Authorization", "").partition(" ")[2]
    token = bearer or request.headers.get("x-api-key", "") or request.headers.get("api-key", "")
    if not hmac.compare_digest(token.encode(), served.token.encode()):
        raise Refused(
            401,
            "this is not the session's token",
            kind="authentication_error",
            code="invalid_api_key",
            fault="framework",
        )


async def _unknown(_served: Served, request: web.Request, _draft: Draft) -> web.StreamResponse:
    raise Refused(
        404,
        f"the gateway does not serve {request.method} {request.path}; it serves POST /v1/chat/completions and "
        "GET /v1/models",
        kind="invalid_request_error",
        code="unknown_url",
        fault="runner",
    )


async def _models(served: Served, _request: web.Request, _draft: Draft) -> web.StreamResponse:
    """List the one model there is; no model is called, so nothing is recorded."""
    return web.Response(body=encode(models_body([served.provider.model])), headers=_JSON)


async def _chat(served: Served, request: web.Request, draft: Draft) -> web.StreamResponse:
    ask = await _read_ask(served, request, draft)
    draft.model_sent = served.provider.model
    served.asks += 1
    try:
        reply = await served.provider.answer(ask)
    except Refused:
        served.asks -= 1
        raise
    draft.counted_by_rule = reply.counted_by_rule
    async with contextlib.aclosing(reply.body):
        if reply.stream and not is_error(reply.status):
            return await _stream(served, request, draft, ask, reply)
        return await _whole(served, request, draft, reply)


async def _read_ask(served: Served, request: web.Request, draft: Draft) -> Ask:
    try:
        draft.request = await request.read()
    except web.HTTPRequestEntityTooLarge:
        message = f"the request has more than {MAX_REQUEST} bytes"
        raise Refused(413, message, kind="invalid_request_error", fault="framework") from None
    except (ConnectionResetError, ClientPayloadError):
        draft.client_gone = True
        raise Refused(400, "the request broke off", kind="invalid_request_error", fault="framework") from None
    body = parse_object(draft.request)
    if body is None or not isinstance(body.get("messages"), list):
        message = "the request is not a JSON object with a list of messages"
        raise Refused(400, message, kind="invalid_request_error", fault="framework")
    draft.body = body
    return Ask(n=served.asks + 1, body=body)


async def _whole(served: Served, request: web.Request, draft: Draft, reply: Reply) -> web.StreamResponse:
    """Relay an answer that comes in one piece; a framework that has gone meanwhile is noted."""
    draft.begun = not is_error(reply.status)
    body = b"".join([piece async for piece in reply.body])
    draft.status = reply.status
    content = parse_object(body)
    draft.seen = see(Seen(), content or {})
    if is_error(reply.status):
        draft.fault = reply.fault
        draft.error = (error_message(content) if content else None) or f"the provider answered {reply.status}"
        draft.error = f"{reply.status}: {draft.error}"
    draft.client_gone = request.transport is None or request.transport.is_closing()
    return await _finish(served, request, draft, body, headers=dict(reply.headers))


async def _finish(
    served: Served, request: web.Request, draft: Draft, body: bytes, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """Record a call and return its answer, or the error that it could not be recorded."""
    draft.client_gone = draft.client_gone or request.transport is None
    draft.answered(body)
    problem = await asyncio.to_thread(_record, served, draft)
    if problem:
        return web.Response(status=500, body=encode(error_body(problem, "gateway_error", None)), headers=_JSON)
    return web.Response(status=draft.status, body=body, headers=headers or _JSON)


async def _stream(served: Served, request: web.Request, draft: Draft, ask: Ask, reply: Reply) -> web.StreamResponse:
    """Relay a stream event by event, unchanged, but for a usage chunk that was not asked for."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    draft.status, draft.begun = reply.status, True
    try:
        await response.prepare(request)
        try:
            async for raw in reply.body:
                event = read_event(raw)
                draft.seen = see_event(draft.seen, event)
                if event.only_usage and not ask.wants_usage:
                    continue
                draft.answered(raw)
                if event.done:
                    await _settle(served, draft)
                await response.write(raw)
            await _settle(served, draft)
        except Refused as refused:
            draft.refused(refused)
            broken = make_event(encode(error_body(str(refused), refused.kind, refused.code)))
            draft.answered(broken)
            await asyncio.to_thread(_record, served, draft)
            await response.write(broken)
        await response.write_eof()
    except ConnectionResetError:
        draft.client_gone = True
        await asyncio.to_thread(_record, served, draft)
    return response


async def _settle(served: Served, draft: Draft) -> None:
    """Record a stream before its end is passed on. Raises Refused if it broke off or cannot be recorded."""
    if draft.recorded:
        return
    if draft.seen.error:
        draft.error, draft.fault = draft.seen.error, "provider"
    elif not draft.seen.done and draft.seen.finish_reason is None:
        message = "the provider's stream ended in the middle of the answer"
        raise Refused(502, message, kind="api_connection_error", fault="provider", begun=True)
    problem = await asyncio.to_thread(_record, served, draft)
    if problem:
        raise Refused(500, problem, kind="gateway_error", fault="runner", begun=True)


def _record(served: Served, draft: Draft) -> str:
    """Write the call's line, once; return what went wrong, or nothing."""
    if draft.recorded:
        return ""
    draft.recorded = True
    call = to_call(draft, served.spec)
    try:
        append_call(served.spec.calls_file, call)
    except OSError as error:
        problem = f"the call cannot be recorded in {served.spec.calls_file}: {error.strerror or error}"
        served.calls.append(call.model_copy(update={"error": problem, "fault": "runner"}))
        return problem
    served.calls.append(call)
    return ""
