"""One try of one call over HTTP: what all providers that are endpoints have in common.

The real key goes into a request's headers and nowhere else, and is taken out of everything that comes back. Redirects are
not followed: the key was meant for one endpoint. Nothing that comes back is taken in without a bound.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass

import aiohttp
from pydantic import SecretStr
from yarl import URL

from runner.gateway.hiding import hide_bytes, hide_text
from runner.gateway.providers.protocol import Ask, Fault, Refused, Reply
from runner.gateway.sse import Cutter

MAX_BODY = 64 * 1024 * 1024
EVENT_STREAM = "text/event-stream"
_PASSED_BACK = (
    *("content-type", "retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "request-id"),
    *("openai-version", "openai-processing-ms"),
)
_PASSED_BACK_FAMILIES = ("x-ratelimit-", "anthropic-ratelimit-")
_FRAMEWORK_ERRORS = {400, 413, 422}
"""What the request itself is to blame for: too long a conversation, a parameter the model does not know."""
_FIRST_ERROR = 400
_ANSWERS = range(200, 300)
_LARGE = 1 << 20
"""Bytes from which a body is written in pieces, so that other calls are not held up."""
_PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where calls go, and with which key."""

    http: aiohttp.ClientSession
    base_url: str
    """Without a slash at its end."""
    key: SecretStr | None

    @property
    def shown(self) -> str:
        """Return the address for messages: a password in it is the gateway's, not the framework's, to know."""
        try:
            url = URL(self.base_url)
            return self.hide_text(str(url.with_user(None) if url.raw_user or url.raw_password else url))
        except ValueError:
            return "the base URL"

    def hide(self, data: bytes) -> bytes:
        """Take the key out of bytes."""
        return hide_bytes(data, self.key)

    def hide_text(self, text: str) -> str:
        """Take the key out of a text."""
        return hide_text(text, self.key)


async def send(endpoint: Endpoint, ask: Ask, url: str, headers: Mapping[str, str]) -> Reply:
    """Send a request, once, and return its answer as it begins.

    Args:
        endpoint: whom to ask.
        ask: what.
        url: the address, encoded already.
        headers: those with the key, and what of the request's own is to go with them.

    Raises:
        Refused: if there is no connection, no answer, or a redirect.
    """
    body = io.BytesIO(ask.content) if len(ask.content) > _LARGE else ask.content or None
    # A User-Agent that says nothing, so that a record does not depend on a library's version.
    plain = {"Accept-Encoding": "identity", "User-Agent": "codegen-runner", **headers}
    address = _address(endpoint, url, plain)
    with _network(endpoint):
        response = await endpoint.http.request(ask.method, address, data=body, headers=plain, allow_redirects=False)
    status = response.status
    if status < _FIRST_ERROR and status not in _ANSWERS:
        response.close()
        raise _lost(502, f"{endpoint.shown} answered with status {status}, not with an answer", retry=False)
    stream = status < _FIRST_ERROR and response.content_type == EVENT_STREAM
    return Reply(
        status=status,
        headers=_passed_back(endpoint, response),
        body=_events(endpoint, response) if stream else _whole(endpoint, response),
        stream=stream,
        fault=whose_fault(status),
    )


def whose_fault(status: int) -> Fault:
    """Return whose doing an error status of the endpoint is."""
    return "framework" if status in _FRAMEWORK_ERRORS else "provider"


def _address(endpoint: Endpoint, url: str, headers: Mapping[str, str]) -> URL:
    """Return an address; a password in it gives way to a key in the same header.

    Raises:
        Refused: if it is none, or not the endpoint's: a path that a framework makes up must not lead the key elsewhere.
    """
    try:
        address, base = URL(url, encoded=True), URL(endpoint.base_url)
        theirs = (address.scheme, address.raw_host, address.port) != (base.scheme, base.raw_host, base.port)
        plain = address.with_user(None) if "Authorization" in headers and address.raw_user is not None else address
    except ValueError:
        raise _unusable(endpoint) from None
    if theirs:
        raise Refused(
            400, "the path leads to another host", kind="invalid_request_error", fault="framework", retry=False
        )
    return plain


def without_version(path: str) -> str:
    """Return what stands in a path behind `/v1`, where that is a whole part of it; else the path."""
    rest = path.removeprefix("/v1")
    return rest if rest[:1] in {"", "/", "?"} else path


def _passed_back(endpoint: Endpoint, response: aiohttp.ClientResponse) -> dict[str, str]:
    return {
        name.lower(): endpoint.hide_text(value)
        for name, value in response.headers.items()
        if name.lower() in _PASSED_BACK or name.lower().startswith(_PASSED_BACK_FAMILIES)
    }


async def _events(endpoint: Endpoint, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """Yield a stream in whole events: the key may stand in any of them, and must not be cut in two."""
    cutter, size = Cutter(), 0
    with contextlib.closing(response), _network(endpoint):
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > MAX_BODY:
                raise _lost(502, f"{endpoint.shown} streamed more than {MAX_BODY} bytes", begun=True, retry=False)
            try:
                whole = cutter.take(piece)
            except ValueError as error:
                raise _lost(502, f"{endpoint.shown} streamed {error}", begun=True, retry=False) from None
            if whole:
                yield endpoint.hide(whole)
    if rest := cutter.rest():
        yield endpoint.hide(rest)


async def _whole(endpoint: Endpoint, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """Yield a body in one piece."""
    pieces: list[bytes] = []
    size = 0
    with contextlib.closing(response), _network(endpoint):
        async for piece in response.content.iter_chunked(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BODY:
                raise _lost(502, f"{endpoint.shown} answered with more than {MAX_BODY} bytes", begun=True, retry=False)
    yield endpoint.hide(b"".join(pieces))


@contextlib.contextmanager
def _network(endpoint: Endpoint) -> Iterator[None]:
    """Turn failures of the network into errors in the provider's shape. Texts of the library are left out: they may hold the key."""
    shown = endpoint.shown
    try:
        yield
    except aiohttp.ClientConnectorCertificateError:
        raise _lost(502, f"the certificate of {shown} is not trusted", retry=False) from None
    except aiohttp.ClientConnectorError as error:
        raise _lost(502, f"cannot connect to {shown}: {_reason(error.os_error)}", retry=True) from None
    except aiohttp.ConnectionTimeoutError:
        raise _lost(504, f"cannot connect to {shown} in time", retry=True) from None
    except TimeoutError:
        # It had its time: another try would take as long, and cost as much.
        raise _lost(504, f"{shown} did not answer in time", begun=True, retry=False) from None
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise _unusable(endpoint) from None
    except (aiohttp.ClientError, OSError) as error:
        raise _lost(502, f"lost the connection to {shown}: {type(error).__name__}", begun=True, retry=True) from None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _unusable(endpoint: Endpoint) -> Refused:
    return _lost(502, f"{endpoint.shown!r} is no usable base URL", retry=False)


def _lost(status: int, message: str, *, retry: bool, begun: bool = False) -> Refused:
    return Refused(status, message, kind="api_connection_error", fault="provider", begun=begun, retry=retry)
