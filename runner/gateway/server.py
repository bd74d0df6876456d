"""What a framework talks to: the HTTP side of one session."""

from __future__ import annotations

import asyncio
import hmac
import logging
import traceback
from collections.abc import Sequence
from urllib.parse import unquote

from aiohttp import web

from runner.gateway.draft import Draft
from runner.gateway.exchange import error_headers, fail, perform, require_model, target_of, the_model
from runner.gateway.formats import api_path, find, models
from runner.gateway.formats.protocol import Format
from runner.gateway.jsontext import encode
from runner.gateway.providers.protocol import Refused
from runner.gateway.record import settle, settle_anyhow
from runner.gateway.served import Served

_JSON = {"content-type": "application/json"}
_log = logging.getLogger(__name__)
"""Its lines go to the process's standard error, which is its log."""


def make_app(served: Served, routes: Sequence[web.RouteDef] = ()) -> web.Application:
    """Return the application of one session.

    Args:
        served: the session.
        routes: those of what it serves besides its model.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        served.tasks |= {task} if task is not None else set()
        try:
            path = target_of(request).partition("?")[0]
            wire = find(request.method, path, anthropic="anthropic-version" in request.headers)
            if wire.name == "models":
                return _models(served, request, wire)
            return await _call(served, request, path, wire)
        finally:
            served.tasks -= {task}

    app = web.Application()
    app.router.add_routes(routes)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


async def _call(served: Served, request: web.Request, path: str, wire: Format) -> web.StreamResponse:
    """Answer a call; whatever happens, it has its line."""
    served.requests += 1
    draft = Draft(n=served.requests, method=request.method, path=path, hide=served.bodies.redact_text)
    draft.format = wire
    if served.bodies.mode == "off":
        draft.kept = None
    try:
        _authorize(served, request)
        return await perform(served, request, draft)
    except Refused as refused:
        return await fail(served, request, draft, refused)
    except asyncio.CancelledError:
        draft.client_gone = True
        await settle(served, draft)
        raise
    except Exception as error:  # noqa: BLE001  the one place that turns a defect of ours into an answer and a record
        return await _unexpected(served, request, draft, error)


async def _unexpected(served: Served, request: web.Request, draft: Draft, error: Exception) -> web.StreamResponse:
    """Record a call that a defect of the gateway ended, log where it happened, and say so to the framework."""
    _log.error("%s", served.hide("".join(traceback.format_exception(error))))
    message = f"the gateway failed: {type(error).__name__}; its log has the details"
    refused = Refused(500, message, kind="gateway_error", fault="runner")
    begun = draft.first_byte is not None
    draft.refused(refused)
    body = draft.format.error(refused)
    if not begun:
        draft.status = refused.status
        draft.answered(body)
    await settle_anyhow(served, draft)
    if begun and request.transport is not None:
        # The answer's head has gone out: only a broken connection keeps half an answer from being taken for a whole one.
        request.transport.abort()
    return web.Response(status=500, body=body, headers=_JSON)


def _authorize(served: Served, request: web.Request) -> None:
    bearer = request.headers.get("Authorization", "").partition(" ")[2]
    token = bearer or request.headers.get("x-api-key", "") or request.headers.get("api-key", "")
    if not hmac.compare_digest(token.encode("utf-8", "surrogateescape"), served.token.encode()):
        kind, code = "authentication_error", "invalid_api_key"
        message = "this is not the session's token"
        raise Refused(401, message, kind=kind, code=code, fault="framework", retry=False)


def _models(served: Served, request: web.Request, wire: Format) -> web.Response:
    """Tell which models there are; none is called, so nothing is recorded."""
    anthropic = wire.family == "anthropic"
    try:
        _authorize(served, request)
        model = the_model(served)
        name = unquote(api_path(target_of(request).partition("?")[0])[len(models.PATH) :].strip("/"))
        if name:
            require_model(model, name)
            return web.Response(body=encode(models.one(name, anthropic=anthropic)), headers=_JSON)
        names = list(dict.fromkeys([model.name, *model.aliases]))
        return web.Response(body=encode(models.listed(names, anthropic=anthropic)), headers=_JSON)
    except Refused as refused:
        return web.Response(status=refused.status, body=wire.error(refused), headers=error_headers(refused))
