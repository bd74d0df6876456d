"""One call, from the request to its record."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace

from aiohttp import ClientError, web

from runner.gateway.budgets import Purses
from runner.gateway.calls import GONE
from runner.gateway.draft import Draft
from runner.gateway.egress.switch import own_target
from runner.gateway.formats import api_path
from runner.gateway.formats.protocol import asks_stream
from runner.gateway.jsontext import read_object, replace_members
from runner.gateway.metering import text
from runner.gateway.providers.protocol import Ask, Provider, Refused, Reply
from runner.gateway.relay import finish, relay
from runner.gateway.served import Served
from runner.spec.model import Model

MAX_REQUEST = 64 * 1024 * 1024
MAX_HELD = 512 * 1024 * 1024
"""Bytes of requests that one session may have under way at once: the process serves other runs as well."""
_READ_SECONDS = 120.0
"""How long a request's body may make no progress."""
_PASSED_ON = ("accept", "content-type", "openai-beta", "anthropic-version", "anthropic-beta", "idempotency-key")
_DECODED = {"", "identity", "gzip", "deflate", "br", "zstd"}
"""Encodings that are undone while a body is read."""
_SOON = 0.1
"""Seconds of waiting for the provider that are none."""
_INVALID = "invalid_request_error"


async def perform(served: Served, request: web.Request, draft: Draft) -> web.StreamResponse:
    """Answer one call. Raises Refused if it is not answered, and nothing has been passed on."""
    try:
        return await _perform(served, request, draft)
    finally:
        served.held -= draft.held


async def _perform(served: Served, request: web.Request, draft: Draft) -> web.StreamResponse:
    draft.request = await read_request(served, request, draft)
    provider, model = the_provider(served), the_model(served)
    draft.body = read_object(draft.request)
    n = served.take_turn()
    try:
        ask, sent = make_ask(served, model, request, draft, n)
        served.purses.begin()
        draft.counted = True
        served.pending.begin(draft.n, {**draft.facts(), "model_sent": sent})
        noted = _Noted(provider=provider, request=request, draft=draft, sent=sent, purses=served.purses)
        async with served.lane.answered(noted, ask, draft.tries) as reply:
            return await relay(served, request, draft, reply)
    except Refused:
        if not draft.begun:
            served.give_turn_back(n)
        raise


async def fail(served: Served, request: web.Request, draft: Draft, refused: Refused) -> web.StreamResponse:
    """Record a call that is not answered, and return why."""
    draft.refused(refused)
    body = draft.format.error(refused)
    draft.kept = [body]
    return await finish(served, request, draft, body, error_headers(refused))


def error_headers(refused: Refused) -> dict[str, str]:
    """Return the headers of an error reply: SDKs see in them whether, and when, to try again."""
    headers = {"content-type": "application/json"}
    if refused.retry is False:
        headers["x-should-retry"] = "false"
    if refused.after is not None:
        headers["retry-after"] = str(int(-(-refused.after // 1)))
    return headers


async def read_request(served: Served, request: web.Request, draft: Draft) -> bytes:
    """Return a request's body, decoded. Raises Refused if it is too large, broken, or does not come.

    So are those that come when others of the same session, not answered yet, take up all the room that it gets.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        while not request.content.at_eof():
            async with asyncio.timeout(_READ_SECONDS):
                piece = await request.content.readany()
            pieces.append(piece)
            size += len(piece)
            draft.held += len(piece)
            served.held += len(piece)
            if size > MAX_REQUEST:
                raise _bad(413, f"the request has more than {MAX_REQUEST} bytes")
            if served.held > MAX_HELD:
                raise _no_room()
    except TimeoutError:
        raise _bad(408, f"nothing came of the request's body for {_READ_SECONDS:.0f} s") from None
    except web.RequestPayloadError:
        raise _bad(400, "the request's body is not what its headers say") from None
    except (ConnectionResetError, ClientError):
        draft.client_gone = True
        raise _bad(400, "the request broke off") from None
    return b"".join(pieces)


def make_ask(served: Served, model: Model, request: web.Request, draft: Draft, n: int) -> tuple[Ask, str | None]:
    """Return what the provider is to be sent, and the model it is asked for.

    Raises:
        Refused: if the request is not what its path says, or asks for another model and must not.
    """
    wire, values = draft.format, draft.values
    if wire.reads and (draft.body is None or not wire.fits(values)):
        raise _bad(400, f"the request is not {wire.wants}")
    asked = text(values.get("model"))
    sent, content = asked, draft.request
    if wire.reads and draft.body is not None:
        require_model(model, asked)
        sent = model.name if asked is None or (wire.takes_model and model.mismatch != "keep") else asked
        draft.pinned = wire.pins(values, model.sampling, served.spec.seed)
        changes = {"model": sent} if sent != values.get("model") else {}
        changes |= {**draft.pinned, **wire.usage_asked(values)}
        content = replace_members(draft.body, changes) if changes else draft.request
    ask = Ask(
        n=n,
        method=draft.method,
        path=_target(request),
        format=wire.name,
        headers=passed_on(request.headers),
        content=content,
        original=values,
        received=draft.request,
        step=served.spec.step,
        stream=asks_stream(values),
    )
    return ask, sent


def the_model(served: Served) -> Model:
    """Return the session's model. Raises Refused if it has none."""
    if served.spec.model is None:
        raise _no_model()
    return served.spec.model


def the_provider(served: Served) -> Provider:
    """Return who answers. Raises Refused if the session has no model."""
    if served.provider is None:
        raise _no_model()
    return served.provider


def require_model(model: Model, asked: str | None) -> None:
    """Check that a request asks for the experiment's model. Raises Refused if it does not, and that is configured."""
    if model.mismatch != "refuse" or asked is None or asked in {model.name, *model.aliases}:
        return
    message = (
        f"the framework asks for the model {asked!r}, but the experiment's is {model.name!r}; "
        "to allow it add it to model.aliases, or write model.mismatch: replace"
    )
    raise Refused(404, message, kind=_INVALID, code="model_not_found", fault="framework", retry=False)


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a request's headers that mean something to the provider, and hold no secret."""
    found = {name: headers[name] for name in _PASSED_ON if name in headers}
    encoding = headers.get("content-encoding", "").strip().lower()
    return found if encoding in _DECODED else {**found, "content-encoding": encoding}


def target_of(request: web.Request) -> str:
    """Return what a request asks for as it was written, without the gateway's own address before it."""
    return own_target(request.raw_path) or request.raw_path


def _target(request: web.Request) -> str:
    """Return a request's path as the provider's public API has it, with its query."""
    path, _, query = target_of(request).partition("?")
    plain = api_path(path)
    if not plain.startswith("/") or not request.raw_path.isascii():
        raise _bad(400, f"{path[:200]!r} is no path")
    # What stands behind Azure's paths is Azure's API version, which the provider knows of itself.
    return f"{plain}?{query}" if query and not (plain != path and path.startswith("/openai/")) else plain


def _no_model() -> Refused:
    message = "this step has no model: the experiment names none"
    return Refused(404, message, kind=_INVALID, code="model_not_found", fault="framework", retry=False)


def _no_room() -> Refused:
    message = f"requests under way take more than {MAX_HELD} bytes; send fewer at once"
    return Refused(429, message, kind="rate_limit_error", fault="framework", after=1.0)


def _bad(status: int, message: str) -> Refused:
    return Refused(status, message, kind=_INVALID, fault="framework", retry=False)


@dataclass(frozen=True, kw_only=True)
class _Noted:
    """A provider that notes in the draft that it has been asked, and that has as long as the budgets leave.

    It is not asked for a framework that has gone while its call waited: many then ask anew, and one answer is enough.
    """

    provider: Provider
    request: web.Request
    draft: Draft
    sent: str | None
    purses: Purses

    @property
    def name(self) -> str:
        return self.provider.name

    async def answer(self, ask: Ask) -> Reply:
        """Answer one call, in one try. Raises Refused."""
        if self.draft.tries.waited > _SOON and (self.request.transport is None or self.request.transport.is_closing()):
            self.draft.client_gone = True
            raise _bad(GONE, "the framework had gone before the provider could be asked")
        self.draft.model_sent = self.sent
        left = self.purses.seconds_left()
        if left is None:
            return await self.provider.answer(ask)
        deadline = asyncio.get_running_loop().time() + left
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self.provider.answer(ask)
        except TimeoutError:
            raise self.purses.out_of_time() from None
        return replace(reply, body=self._timed(reply.body, deadline))

    async def _timed(self, body: AsyncGenerator[bytes, None], deadline: float) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(body):
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        piece = await anext(body, None)
                except TimeoutError:
                    raise self.purses.out_of_time() from None
                if piece is None:
                    return
                yield piece
