"""One connection of the proxy: from a request's head to the record of what came of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from runner.gateway.egress.head import END, BadHead, Head, answer, closing, parse_head
from runner.gateway.egress.policy import Pattern, as_address, match
from runner.gateway.egress.relay import Flow, relay
from runner.gateway.egress.upstream import (
    Ends,
    Resolve,
    Unreachable,
    choose_proxy,
    connect_direct,
    connect_proxy,
    connect_through,
)

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_CHALLENGE = {"Proxy-Authenticate": 'Basic realm="codegen-runner"'}
_WEB = frozenset({80, 443})
_INTERIM = range(100, 200)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a session's proxy goes by."""

    token: str
    patterns: Sequence[Pattern]
    proxies: dict[str, str]
    """This machine's own, see `machine_proxies`."""
    idle_seconds: float
    resolve: Resolve


@dataclass(kw_only=True)
class Story:
    """What is known of one connection, filled in as it goes on."""

    kind: str = "http"
    host: str = ""
    port: int = 0
    allowed: bool = False
    counted: tuple[str, int] | None = None
    """Host and port that no pattern allows, if that is why it ended."""
    status: int = 0
    reason: str = ""
    ended: str = "closed"
    flow: Flow = field(default_factory=Flow)


async def serve(rules: Rules, head: bytes, step: Ends, story: Story) -> None:
    """Serve one proxy request on a connection; how it went stands in `story`, also if this is cancelled."""
    try:
        request = parse_head(head)
        story.kind = "tunnel" if request.is_tunnel else "http"
        story.host, story.port = request.host, request.port
        pattern = _require_allowed(rules, request, story)
        story.allowed = True
        await (_tunnel if request.is_tunnel else _request)(rules, request, pattern, step, story)
    except BadHead as error:
        await _refuse(step, story, 400 if not story.allowed else 502, str(error))
    except Unreachable as error:
        if error.barred:
            story.allowed, story.counted = False, _advised(story, error.barred)
        await _refuse(step, story, error.status, error.message)
    except OSError:
        story.ended = "broken"


class _Denied(Unreachable):
    """No pattern allows it, or nobody knows who asks."""


def _require_allowed(rules: Rules, request: Head, story: Story) -> Pattern:
    if not request.is_from(rules.token):
        raise _Denied("the proxy wants the run's token; it stands in HTTP_PROXY and HTTPS_PROXY", status=407)
    pattern = match(rules.patterns, request.host, request.port)
    if pattern is None:
        story.counted = (request.host, request.port)
        raise _Denied(f"no pattern allows {request.host} port {request.port}: {_remedy(request)}", status=403)
    return pattern


def _remedy(request: Head) -> str:
    address = as_address(request.host)
    if address is not None and ":" in request.host:
        return "an IPv6 address cannot be written there, a name can"
    entry = request.host if request.port in _WEB else f"{request.host}:{request.port}"
    return f"to allow it write `allow: [{entry}]` in framework.yaml or in the scenario's step, or give `gateway serve` --allow"


def _advised(story: Story, address: str) -> tuple[str, int]:
    """Return what has to be written to reach an address that a name led to: the name if that is enough."""
    found = as_address(address)
    near = found is None or found.is_loopback or found.is_link_local
    return (address if near else story.host), story.port


async def _refuse(step: Ends, story: Story, status: int, message: str) -> None:
    story.status, story.reason = status, message
    story.ended = "unreachable" if story.allowed else "refused"
    with contextlib.suppress(OSError):
        step.writer.write(answer(status, message, _CHALLENGE if status == 407 else None))  # noqa: PLR2004  RFC 9110
        step.writer.write_eof()
        await step.writer.drain()
        await _let_go(step)


async def _let_go(step: Ends) -> None:
    """Read on for a moment: an answer is lost if its connection is reset while the request still arrives."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2.0):
            while await step.reader.read(1 << 16):
                pass


@contextlib.contextmanager
def _held(host: Ends, story: Story) -> Iterator[None]:
    """Let go of a connection in the end; what is not taken by a side that does not move is dropped."""
    try:
        yield
    finally:
        end(host, story)


def end(ends: Ends, story: Story) -> None:
    """Close a connection, at once if nobody waits for what is still on its way."""
    if story.ended in {"idle", "closed"}:
        ends.writer.transport.abort()
    else:
        ends.writer.close()


async def _tunnel(rules: Rules, request: Head, pattern: Pattern, step: Ends, story: Story) -> None:
    proxy = choose_proxy(rules.proxies, "https", request.host, request.port)
    host = (
        await connect_through(proxy, request.host, request.port)
        if proxy is not None
        else await connect_direct(request.host, request.port, pattern.reach, rules.resolve)
    )
    with _held(host, story):
        story.status = 200
        step.writer.write(_ESTABLISHED)
        story.ended = await relay(step, host, story.flow, idle_seconds=rules.idle_seconds)


async def _request(rules: Rules, request: Head, pattern: Pattern, step: Ends, story: Story) -> None:
    """Pass on one request and its answer; the answer's end is the connection's."""
    proxy = choose_proxy(rules.proxies, "http", request.host, request.port)
    if proxy is not None:
        host = await connect_proxy(proxy)
    else:
        host = await connect_direct(request.host, request.port, pattern.reach, rules.resolve)
    with _held(host, story):
        host.writer.write(request.forwarded(credentials=proxy.credentials if proxy is not None else None))

        async def opening() -> bool:
            return await _answer_head(host, step, story)

        story.ended = await relay(step, host, story.flow, idle_seconds=rules.idle_seconds, opening=opening)
    if not story.status and story.ended != "done":
        what = "did not answer in time" if story.ended == "idle" else "broke off, or did not answer in HTTP/1.1"
        raise Unreachable(f"{request.host} port {request.port} {what}", status=504 if story.ended == "idle" else 502)


async def _answer_head(host: Ends, step: Ends, story: Story) -> bool:
    """Hand on the head of the host's answer, and interim ones before it; tell whether there was one."""
    try:
        while True:
            head = await host.reader.readuntil(END)
            changed, status = closing(head)
            if status not in _INTERIM:
                story.status = status
                step.writer.write(changed)
                await step.writer.drain()
                return True
            step.writer.write(head)
    except (OSError, EOFError, BadHead, asyncio.LimitOverrunError):
        return False
