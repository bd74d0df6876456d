"""How the runner steers the gateway process: HTTP and JSON over a socket that only its owner may use."""

from __future__ import annotations

import os
import socket
import struct

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import TypeAdapter

from runner.errors import RunnerError
from runner.gateway.session import Session, SessionSpec, Totals
from runner.gateway.sessions import Sessions

SOCKET = "admin.sock"
SPECS = TypeAdapter(SessionSpec)
SESSIONS = TypeAdapter(Session)
TOTALS = TypeAdapter(Totals)
_CREDENTIALS = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""


def make_admin(sessions: Sessions) -> web.Application:
    """Return the admin application: POST /sessions opens, DELETE /sessions/ID closes and returns the totals."""

    async def open_session(request: web.Request) -> web.Response:
        spec = SPECS.validate_json(await request.read())
        return _json(SESSIONS.dump_json(await sessions.open(spec)))

    async def close_session(request: web.Request) -> web.Response:
        return _json(TOTALS.dump_json(await sessions.close(request.match_info["id"])))

    app = web.Application(middlewares=[_owner_only, _errors])
    app.router.add_post("/sessions", open_session)
    app.router.add_delete("/sessions/{id}", close_session)
    return app


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


@web.middleware
async def _owner_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn away every other user, should the folder's mode ever let one in."""
    peer = request.transport.get_extra_info("socket") if request.transport is not None else None
    if peer is None:
        raise web.HTTPForbidden
    _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid not in {os.getuid(), 0}:
        raise web.HTTPForbidden
    return await handler(request)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Hand errors over as values, for the client to raise them again."""
    try:
        return await handler(request)
    except RunnerError as error:
        parts = {"what": error.what, "where": error.where, "why": error.why, "hint": error.hint}
        return web.json_response({"kind": type(error).__name__, **parts}, status=422)
    except KeyError as error:
        return web.json_response({"kind": "GatewayError", "what": f"there is no session {error}"}, status=404)
    except OSError as error:
        return web.json_response({"kind": "GatewayError", "what": f"no session can be opened: {error}"}, status=500)
