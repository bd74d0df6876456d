"""Ask an application over HTTP, within bounds of time and size, and remember how it answered."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from judge.clock import Clock
from judge.proc import Listener
from judge.report import MOST_TEXT
from judge.watchdog import Watchdog

MOST_BODY = 1024 * 1024
"""Bytes of an answer that are read."""
_MOST_REDIRECTS = 3
_PATIENCE = 3
"""Requests to one route that may go unanswered before no more are sent."""
_IDENTIFIER = re.compile(r"/(?:\d+|[0-9a-fA-F]{8,}[0-9a-fA-F-]*)(?=/|$)")
_REPEATED = frozenset({301, 302, 307, 308})
"""Redirections after which the same request is sent again. RFC 9110 lets a client change the method of a POST after 301
and 302; frameworks that add a slash to a path mean the same request."""
_NO_ROUTE = frozenset({404, 405, 501})
_DONE, _CLIENTS_FAULT = range(200, 300), range(400, 500)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request, and what came of it."""

    method: str
    path: str
    """Path and query that was answered: after redirections the last."""
    body: Any = None
    status: int | None = None
    """None: no answer."""
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    error: str = ""
    """Why there was no answer."""

    @property
    def ok(self) -> bool:
        """Whether it was carried out: any 2xx."""
        return self.status in _DONE

    @property
    def refused(self) -> bool:
        """Whether it was refused as the client's mistake: 4xx, but not for want of a route."""
        return self.status in _CLIENTS_FAULT and self.status != HTTPStatus.METHOD_NOT_ALLOWED

    @property
    def no_route(self) -> bool:
        """Whether the answer may mean that there is no such route or method."""
        return self.status in _NO_ROUTE

    @property
    def json(self) -> Any:
        """The answer's body; None if it is no JSON."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    @property
    def said(self) -> str:
        """What came, in a few words."""
        if self.status is None:
            return f"{self.method} {self.path}: {self.error}"
        return f"{self.method} {self.path} was answered with {self.status}"

    def evidence(self) -> dict[str, Any]:
        """Return request and answer, bounded."""
        body = None if self.body is None else json.dumps(self.body)[:MOST_TEXT]
        asked = {"method": self.method, "path": self.path, "body": body}
        kept = {name: self.headers[name] for name in ("content-type", "location") if name in self.headers}
        answered = {"status": self.status, "headers": kept, "body": self.text[:MOST_TEXT], "error": self.error}
        return {"request": asked, "response": answered}


_Route = tuple[str, str, str]
"""Method, path with identifiers left out, and the names and types of what is sent."""


class Client:
    """Sends requests to one port, one at a time, and counts."""

    def __init__(self, at: Listener, clock: Clock, seconds: float, watchdog: Watchdog | None = None) -> None:
        """Know where to send.

        Args:
            at: address and port.
            clock: of the check.
            seconds: that one request may take.
            watchdog: another client's, where no further thread is to be made.
        """
        self.at = at
        self.sent: Counter[str] = Counter()
        self.latencies: list[float] = []
        self._clock = clock
        self._seconds = seconds
        self._watchdog = watchdog or Watchdog()
        self._silent: Counter[_Route] = Counter()

    def ask(self, method: str, path: str, body: Any = None) -> Exchange:
        """Send a request and follow redirections on the same host.

        Raises:
            OutOfTime: if the check's time is up.
        """
        route = _route(method, path, body)
        if self._silent[route] >= _PATIENCE:
            error = "not sent, because requests like it were not answered"
            return Exchange(method=method, path=path, body=body, error=error)
        answer = self._once(method, path, body)
        for _ in range(_MOST_REDIRECTS):
            target = _redirected(answer)
            if target is None:
                break
            answer = self._once("GET" if answer.status == HTTPStatus.SEE_OTHER else method, target, body)
        if answer.status is None:
            self._silent[route] += 1
        return answer

    def beside(self, at: Listener) -> Client:
        """Return a client that counts for itself, but makes no thread."""
        return Client(at, self._clock, self._seconds, self._watchdog)

    def avoid(self, exchange: Exchange) -> None:
        """Send nothing more like a request that ended the application."""
        self._silent[_route(exchange.method, exchange.path, exchange.body)] = _PATIENCE

    def _once(self, method: str, path: str, body: Any) -> Exchange:
        seconds = self._clock.share(self._seconds)
        connection = http.client.HTTPConnection(self.at.host, self.at.port, timeout=seconds)
        begun, late = time.monotonic(), False
        try:
            connection.connect()
            # The connection's timeout is for each piece; an application that drips would outlast it.
            self._watchdog.watch(connection.sock, max(seconds - (time.monotonic() - begun), 0))
            try:
                status, headers, text = _exchange(connection, method, path, body)
            finally:
                late = self._watchdog.release()
            if late:
                raise TimeoutError  # what came until the cut is no answer either
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.sent["unanswered"] += 1
            slow = late or isinstance(error, TimeoutError)
            why = f"no answer in {seconds:.3g} s" if slow else f"no answer: {error or type(error).__name__}"
            return Exchange(method=method, path=path, body=body, error=why)
        finally:
            connection.close()
            self.sent["all"] += 1
        self.latencies.append(time.monotonic() - begun)
        self.sent["server_error"] += status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return Exchange(method=method, path=path, body=body, status=status, headers=headers, text=text)


def _route(method: str, path: str, body: Any) -> _Route:
    form = sorted((name, type(value).__name__) for name, value in body.items()) if isinstance(body, dict) else []
    return method, _IDENTIFIER.sub("/{}", urlsplit(path).path), str(form)


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any
) -> tuple[int, dict[str, str], str]:
    headers = {"Accept": "application/json", "Connection": "close"}
    sent = None
    if body is not None:
        sent = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    connection.request(method, path, sent, headers)
    answer = connection.getresponse()
    data = answer.read(MOST_BODY)
    found = {name.lower(): value[:MOST_TEXT] for name, value in answer.getheaders()}
    return answer.status, found, data.decode("utf-8", "replace")


def _redirected(answer: Exchange) -> str | None:
    location = answer.headers.get("location")
    if answer.status not in _REPEATED | {HTTPStatus.SEE_OTHER} or not location:
        return None
    parts = urlsplit(location)
    if parts.hostname not in {None, "127.0.0.1", "localhost", "::1"}:
        return None
    return parts.path + (f"?{parts.query}" if parts.query else "")
