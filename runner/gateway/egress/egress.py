"""The ways out of one session besides the model: its proxy and its packages, until it closes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from time import monotonic

import aiohttp
from aiohttp import web

from runner.gateway.egress.connections import NAME, Connection, append_connection, read_connections
from runner.gateway.egress.head import answer
from runner.gateway.egress.index_settings import IndexSettings
from runner.gateway.egress.packages import Served, package_routes
from runner.gateway.egress.policy import parse_pattern
from runner.gateway.egress.proxy import Rules, Story, end, serve
from runner.gateway.egress.source import find_source
from runner.gateway.egress.upstream import Ends, Resolve, Resolver, machine_proxies
from runner.gateway.session import Denied, SessionSpec

IDLE_SECONDS = 600.0
MOST = 256
"""Connections at once; each holds at most four buffers of 64 KiB."""


class Egress:
    """Holds a session's connections that lead elsewhere than to the model.

    Args:
        spec: the session.
        token: what whoever uses it has to know.
        http: asks package indexes; None without any.
        index: this machine's package indexes.
        proxies: this machine's own proxies; None: those of the process's environment.
        idle_seconds: how long nothing may move on a connection.
        resolve: finds the addresses of hosts; None: the system does.
    """

    def __init__(
        self,
        spec: SessionSpec,
        token: str,
        *,
        http: aiohttp.ClientSession | None = None,
        index: IndexSettings | None = None,
        proxies: Mapping[str, str] | None = None,
        idle_seconds: float = IDLE_SECONDS,
        resolve: Resolve | None = None,
    ) -> None:
        self._resolver = Resolver()
        self.spec = spec
        self.token = token
        self.file = spec.calls_file.parent / NAME
        self.rules = Rules(
            token=token,
            patterns=[parse_pattern(text) for text in spec.allow],
            proxies=dict(machine_proxies() if proxies is None else proxies),
            idle_seconds=idle_seconds,
            resolve=resolve or self._resolver,
        )
        self.source = find_source(spec, http, index)
        self.tasks: set[asyncio.Task[None]] = set()
        self.problem = ""
        """Why connections cannot be recorded any more; none is let through then."""
        self._denied = Counter(
            (one.host, one.port)
            for one in read_connections(self.file)
            if (one.index, one.attempt) == (spec.index, spec.attempt) and one.host and _is_denial(one)
        )

    @property
    def denied(self) -> tuple[Denied, ...]:
        """Return the connections that no pattern allowed, by host."""
        return tuple(Denied(host=host, port=port, times=times) for (host, port), times in sorted(self._denied.items()))

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the package index; none if the session offers no packages."""
        return (
            package_routes(self.source, self.token, self._served, lambda: self.problem)
            if self.source is not None
            else ()
        )

    def accept(self, head: bytes, ends: Ends) -> None:
        """Serve a proxy request on a connection of which the head has been read."""
        task = asyncio.create_task(self._serve(head, ends))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        """End all connections; each is recorded as far as it got."""
        going = set(self.tasks)
        for task in going:
            task.cancel()
        if going:
            await asyncio.wait(going)
        self._resolver.close()

    async def _serve(self, head: bytes, ends: Ends) -> None:
        story, began, clock = Story(), datetime.now(UTC), monotonic()
        try:
            if self.problem or len(self.tasks) > MOST:
                why = self.problem or f"this run has {MOST} connections already"
                story.status, story.reason, story.ended = 503, why, "refused"
                ends.writer.write(answer(503, why))
                return
            await serve(self.rules, head, ends, story)
        finally:
            end(ends, story)
            self._record(story, began, monotonic() - clock)

    def _record(self, story: Story, began: datetime, seconds: float) -> None:
        if story.counted is not None:
            self._denied[story.counted] += 1
        host, port = story.counted or (story.host, story.port)
        self._append(
            began,
            seconds,
            kind=story.kind,
            host=host,
            port=port,
            allowed=story.allowed,
            status=story.status,
            reason=story.reason,
            bytes_up=story.flow.up,
            bytes_down=story.flow.down,
            ended=story.ended,
        )

    def _served(self, served: Served) -> None:
        """Record a page or a file of the package index."""
        self._append(
            served.began,
            served.seconds,
            kind="package",
            host="",
            port=0,
            package=served.package,
            sha256=served.sha256,
            allowed=served.allowed,
            status=served.status,
            reason=served.reason,
            bytes_up=0,
            bytes_down=served.size,
            ended=served.ended,
        )

    def _append(self, began: datetime, seconds: float, **facts: object) -> None:
        spec = self.spec
        about = {"run": spec.run, "step": spec.step, "index": spec.index, "attempt": spec.attempt}
        time = began.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        line = Connection.model_validate({"time": time, "seconds": round(seconds, 6), **about, **facts})
        try:
            append_connection(self.file, line)
        except OSError as error:
            self.problem = f"connections cannot be recorded in {self.file.name}: {error.strerror or error}"


def _is_denial(one: Connection) -> bool:
    """Tell whether a host was not allowed; who did not know the token was refused whatever the host."""
    return one.ended == "refused" and one.status == HTTPStatus.FORBIDDEN
