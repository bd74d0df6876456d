"""Calls of the engine's HTTP API: deadlines, retries, and errors in our own words."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import IO, Any

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from runner.engine.protocol import NotFound, Unanswered
from runner.errors import EngineError

DEADLINE = 30.0
"""Seconds an ordinary call may take: they take milliseconds, and seconds on a busy disk."""
SLOW_DEADLINE = 180.0
"""Seconds for calls that move data or processes: create, start, remove."""
IDLE = 60.0
"""Seconds a stream of what the engine has at hand may be silent."""
LONG_IDLE = 3600.0
"""Seconds a stream may be silent while the engine works for it: builds an image, unpacks one, packs one up."""
_CHUNK = 64 * 1024
_TRIES = 5
"""Of a call that gets no answer, some seconds in all: for longer than that only the caller knows what to do."""
_TRIES_AFTER_FAULT = 3
"""Of a call that the engine answers with a fault of its own (status 5xx): many of these do not pass."""

_LOST = (
    *(requests.ConnectionError, requests.Timeout),
    *(requests.exceptions.ChunkedEncodingError, requests.exceptions.JSONDecodeError),
)
"""What a call ends with when the connection is refused, reset or cut, or nothing or half of it arrives in time."""
_PASSING = (
    "context deadline exceeded",
    "connection reset by peer",
    "transport is closing",
    "i/o timeout",
    "device or resource busy",
    "is already in progress",
)
"""Words in an engine's error that name a passing condition: the same call may succeed a moment later."""


class TimedOut(Unanswered):
    """The deadline of a call passed."""


class Fault(EngineError):
    """The engine failed at what it was told, by its own word."""


def _enough(state: RetryCallState) -> bool:
    fault = state.outcome is not None and isinstance(state.outcome.exception(), Fault)
    return state.attempt_number >= (_TRIES_AFTER_FAULT if fault else _TRIES)


_RETRYING = Retrying(
    retry=retry_if_exception_type((Unanswered, Fault)),
    stop=_enough,
    wait=wait_exponential_jitter(multiplier=0.1, max=2.0, jitter=0.1),
    reraise=True,
)


class Api:
    """The engine's API at one version, through one pooled session.

    The session is shared by all threads: urllib3's pools are thread-safe, nothing changes the session after `connect`,
    and no cookies are involved. Threads beyond the pool's size get connections of their own, closed after use.
    """

    def __init__(self, session: requests.Session, root: str, place: str) -> None:
        self._session = session
        self._root = root
        self.place = place
        """Where the engine is, for messages."""

    def at(self, version: str) -> Api:
        """Return the same connection, speaking this version of the API."""
        return Api(self._session, f"{self._root}/v{version}", self.place)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        deadline: float = DEADLINE,
        idempotent: bool = False,
        fine: Collection[int] = (),
    ) -> Any:
        """Make one call and return its decoded answer.

        Args:
            method: HEAD, GET, POST or DELETE.
            path: below the API's root, each part quoted already.
            query: values; a mapping or list becomes JSON, None is left out.
            body: sent as JSON; None for no body.
            deadline: seconds without a sign of the answer before it counts as lost.
            idempotent: whether the call does no harm when made twice, so that it may be made again when it got lost.
            fine: error statuses that are no error here, and give None.

        Raises:
            NotFound: for status 404.
            TimedOut: if the deadline passed, after retries.
            Unanswered: if the connection was lost, after retries.
            EngineError: if the engine refuses.
        """
        request = {"params": _query(query), "json": body, "timeout": (DEADLINE, deadline)}

        def attempt() -> Any:
            try:
                with closing(self._session.request(method, self._root + path, **request)) as response:  # type: ignore[arg-type]  # one mapping for several types
                    if response.status_code in fine:
                        return None
                    _check(response, f"{method} {path}", self.place)
                    return response.json() if response.content else None
            except _LOST as error:
                raise self._lost(error, f"{method} {path}", deadline) from error

        return _RETRYING(attempt) if idempotent else attempt()

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        data: IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        idle: float | None = IDLE,
    ) -> Iterator[bytes]:
        """Make a call and return its answer piece by piece, as it arrives; the call is made before this returns.

        Args:
            method: GET or POST.
            path: as for `call`.
            query: as for `call`.
            data: file sent as the body.
            headers: besides the usual ones.
            idle: seconds without a piece after which the connection counts as lost; None waits for ever.

        Raises:
            NotFound: for status 404.
            TimedOut: if the stream was silent for too long.
            Unanswered: if the connection is cut.
            EngineError: if the engine refuses.
        """
        what = f"{method} {path}"
        try:
            response = self._session.request(
                method,
                self._root + path,
                params=_query(query),
                data=data,
                headers=dict(headers or {}),
                stream=True,
                timeout=(DEADLINE, idle),
            )
        except _LOST as error:
            raise self._lost(error, what, idle) from error
        try:
            _check(response, what, self.place)
        except EngineError:
            response.close()
            raise
        return self._pieces(response, what, idle)

    def _pieces(self, response: requests.Response, what: str, idle: float | None) -> Iterator[bytes]:
        with closing(response):
            try:
                yield from response.iter_content(_CHUNK)
            except _LOST as error:
                raise self._lost(error, what, idle) from error

    def _lost(self, error: requests.RequestException, what: str, deadline: float | None) -> Unanswered:
        if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
            return TimedOut(f"the engine at {self.place} gave no answer within {deadline} s to {what}")
        return Unanswered(f"the engine at {self.place} was lost during {what}", why=str(error))


def quote(part: str) -> str:
    """Quote a name or id for use as one part of a path."""
    return urllib.parse.quote(part, safe=":@")


def label_filter(labels: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Return the engine's filter for labels; None as value accepts any."""
    return {"label": [key if value is None else f"{key}={value}" for key, value in labels.items()]}


def _query(query: Mapping[str, object] | None) -> dict[str, str]:
    """Write query values the way the engine reads them."""
    values = {key: value for key, value in (query or {}).items() if value is not None}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def _check(response: requests.Response, what: str, place: str) -> None:
    """Raise what an error status means."""
    status = response.status_code
    if status < requests.codes.bad_request:
        return
    try:
        message = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = response.text.strip() or response.reason
    if status == requests.codes.not_found:
        raise NotFound(message)
    raise _kind(status, message)(message, why=f"the engine at {place} answered {status} to {what}")


def _kind(status: int, message: str) -> type[EngineError]:
    if status == requests.codes.service_unavailable or any(words in message for words in _PASSING):
        return Unanswered
    return Fault if status >= requests.codes.internal_server_error else EngineError
