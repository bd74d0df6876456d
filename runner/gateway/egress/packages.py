"""The package index on the gateway's port: read-only, for whoever knows the session's token."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

from aiohttp import web

from runner.gateway.egress.head import basic_password
from runner.gateway.egress.pages import choose, render
from runner.gateway.egress.source import Source, Unavailable
from runner.names import canonical_project

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="codegen-runner"'}
_UNAUTHORIZED, _FIRST_ERROR = 401, 400
_ALLOWED = frozenset({"GET", "HEAD"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}")
"""What projects and files are called."""
_SLOWEST = 120.0
"""Seconds in which some bytes must have been taken by whoever downloads."""


@dataclass(kw_only=True)
class Served:
    """What was served, or not; filled in as it goes on."""

    began: datetime
    seconds: float = 0.0
    package: str = ""
    sha256: str | None = None
    allowed: bool = True
    status: int = 0
    reason: str = ""
    size: int = 0
    ended: Literal["done", "refused", "unreachable", "broken", "closed"] = "closed"


Handler = Callable[[web.Request, Served], Awaitable[web.StreamResponse]]


def package_routes(
    source: Source, token: str, on_served: Callable[[Served], None], problem: Callable[[], str] = str
) -> Sequence[web.RouteDef]:
    """Return the routes below /packages/.

    Args:
        source: what is offered.
        token: password of whoever may ask.
        on_served: hears of every page and file, also of those that could not be had.
        problem: tells why nothing may be served at present; empty if it may.
    """

    def recorded(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            served, clock = Served(began=datetime.now(UTC)), monotonic()
            served.package = "/".join(
                request.match_info[name] for name in ("project", "file") if name in request.match_info
            )
            try:
                _require(request, token, problem())
                return await handler(request, served)
            except Unavailable as error:
                served.allowed = error.status >= 500  # noqa: PLR2004  what is not offered is not allowed
                served.ended = "unreachable" if served.allowed else "refused"
                served.status, served.reason = error.status, error.message
                return _refusal(error)
            except OSError:
                served.ended = "broken"
                raise
            finally:
                served.seconds = monotonic() - clock
                on_served(served)

        return handle

    async def page(request: web.Request, served: Served) -> web.StreamResponse:
        return await _page(source, request, served)

    async def file(request: web.Request, served: Served) -> web.StreamResponse:
        return await _file(source, request, served)

    return [
        web.route("*", "/packages/simple/{project}/", recorded(page)),
        web.route("*", "/packages/simple/{project}", _with_slash),
        web.route("*", "/packages/files/{project}/{file}", recorded(file)),
        web.route("*", "/packages/{rest:.*}", recorded(_nothing)),
    ]


def _require(request: web.Request, token: str, problem: str) -> None:
    password = basic_password(request.headers.get("Authorization", ""))
    if not hmac.compare_digest(password.encode(), token.encode()):
        raise Unavailable(_UNAUTHORIZED, "the package index wants the run's token; it stands in PIP_INDEX_URL")
    if not all(_NAME.fullmatch(name) for key, name in request.match_info.items() if key != "rest"):
        raise Unavailable(404, "no project or file has such a name")
    if request.method not in _ALLOWED:
        raise Unavailable(405, "the package index is read-only")
    if problem:
        raise Unavailable(503, problem)


def _refusal(error: Unavailable) -> web.Response:
    """Return an error; the reason stands beside the status too, since that is all that pip shows of it."""
    headers = _CHALLENGE if error.status == _UNAUTHORIZED else {}
    return web.Response(status=error.status, reason=error.message, text=f"{error.message}\n", headers=headers)


async def _with_slash(request: web.Request) -> web.StreamResponse:
    """Lead to the page's real address: what stands in it is relative to that."""
    raise web.HTTPMovedPermanently(location=f"{request.path}/")


async def _nothing(_request: web.Request, _served: Served) -> web.StreamResponse:
    raise Unavailable(404, "the package index offers /packages/simple/<project>/ and the files named there")


async def _page(source: Source, request: web.Request, served: Served) -> web.StreamResponse:
    project = canonical_project(request.match_info["project"])
    served.package = project
    form = choose(request.headers.get("Accept", ""))
    body = render(project, await source.files(project), form)
    served.status, served.size, served.ended = 200, len(body), "done"
    return web.Response(body=body, headers={"Content-Type": form, "Vary": "Accept"})


async def _file(source: Source, request: web.Request, served: Served) -> web.StreamResponse:
    """Hand on a file as it comes, and note the digest of what was handed on."""
    project, name = canonical_project(request.match_info["project"]), request.match_info["file"]
    digest = hashlib.sha256()
    async with source.open(project, name) as opened:
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = opened.size
        served.status = 200
        await response.prepare(request)
        if request.method == "HEAD":
            served.ended = "done"
            return response
        try:
            async for piece in opened.pieces:
                async with asyncio.timeout(_SLOWEST):
                    await response.write(piece)
                digest.update(piece)
                served.size += len(piece)
            await response.write_eof()
        except (Unavailable, TimeoutError) as error:
            # Its head has gone: only a connection that breaks off tells that the file is not whole.
            served.ended, served.reason = "broken", str(error) or "nobody took the bytes"
            if request.transport is not None:
                request.transport.abort()
            return response
    served.sha256, served.ended = digest.hexdigest(), "done"
    return response
