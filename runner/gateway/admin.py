"""How the runner steers the gateway process: HTTP and JSON over a socket that only its owner may use."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict

from runner.errors import ConfigError, RunnerError
from runner.gateway.session import Listen, Session, SessionSpec, Totals, adapter
from runner.gateway.sessions import Sessions

_CREDENTIALS = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""


class Opening(BaseModel):
    """A session to open."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: SessionSpec
    session: Session | None
    """The session as a process before this one had it open."""
    listen: Listen | None


def make_admin(sessions: Sessions, tell: Callable[[bytes], None]) -> web.Application:
    """Return the admin application.

    POST /sessions opens, DELETE /sessions/ID closes and returns the totals; with `?drain=SECONDS` calls under way are
    given that long.

    Args:
        sessions: what is steered.
        tell: tells the runner a line; `closed ID` says that every call of a session has been told before.
    """

    async def open_session(request: web.Request) -> web.Response:
        opening = Opening.model_validate_json(await request.read())
        try:
            session = await sessions.open(opening.spec, opening.session, listen=opening.listen)
        except OSError as error:
            if opening.listen is None:
                raise
            raise _cannot_listen(opening.listen, error) from error
        if opening.listen is not None and opening.listen.path is not None:
            opening.listen.path.chmod(0o600)
        return _json(adapter(Session).dump_json(replace(session, port=sessions.by_id[session.id].port)))

    async def close_session(request: web.Request) -> web.Response:
        identity = request.match_info["id"]
        drain = request.query.get("drain")
        totals = await sessions.close(identity, float(drain) if drain is not None else None)
        tell(f"closed {identity}\n".encode())
        return _json(adapter(Totals).dump_json(totals))

    app = web.Application(middlewares=[_owner_only, _errors])
    app.router.add_post("/sessions", open_session)
    app.router.add_delete("/sessions/{id}", close_session)
    return app


def _cannot_listen(listen: Listen, error: OSError) -> ConfigError:
    place = str(listen.path) if listen.path is not None else f"{listen.host}:{listen.port}"
    return ConfigError(
        f"cannot listen on {place}: {_reason(error)}",
        hint="choose another --port, --host or --socket",
    )


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno) if error.errno else str(error)


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
