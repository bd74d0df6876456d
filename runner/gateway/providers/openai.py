"""Provider `openai`: any endpoint with the chat completions API of OpenAI.

The real key is put in here and nowhere else, and taken out again should the endpoint repeat it. Redirects are not
followed: the key was meant for one endpoint.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic import SecretStr

from runner.gateway.providers.protocol import Ask, Fault, Refused, Reply
from runner.gateway.sse import split_events
from runner.gateway.wire import encode

MAX_BODY = 64 * 1024 * 1024
_HIDDEN = b"[key removed]"
_PASSED_BACK = ("content-type", "retry-after", "retry-after-ms", "x-request-id", "x-should-retry")
_FRAMEWORK_ERRORS = {400, 413, 422}
"""What the request itself is to blame for: too long a conversation, a parameter the model does not know."""
_ERRORS = range(400, 600)


@dataclass(frozen=True, kw_only=True)
class OpenAIProvider:
    """Passes calls on to an endpoint, with the experiment's model and the real key."""

    http: aiohttp.ClientSession
    base_url: str
    key: SecretStr | None
    model: str
    name: str = "openai"

    async def answer(self, ask: Ask) -> Reply:
        url = f"{self.base_url}/chat/completions"
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key.get_secret_value()}"
        body = encode(outgoing(ask, self.model))
        with _network(self.base_url):
            response = await self.http.post(url, data=body, headers=headers, allow_redirects=False)
        if response.status not in _ERRORS and response.status != 200:  # noqa: PLR2004  the one status of an answer
            response.close()
            raise _refused(502, f"{self.base_url} answered with status {response.status}, not with a completion")
        stream = response.content_type == "text/event-stream"
        return Reply(
            status=response.status,
            headers={name: response.headers[name] for name in _PASSED_BACK if name in response.headers},
            body=self._events(response) if stream else self._whole(response),
            stream=stream,
            fault=whose_fault(response.status),
        )

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        rest = b""
        with contextlib.closing(response), _network(self.base_url):
            async for piece in response.content.iter_any():
                events, rest = split_events(rest + piece)
                for event in events:
                    yield self._hide(event)
        if rest:
            yield self._hide(rest)

    async def _whole(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        pieces: list[bytes] = []
        with contextlib.closing(response), _network(self.base_url):
            async for piece in response.content.iter_any():
                pieces.append(piece)
                if sum(map(len, pieces)) > MAX_BODY:
                    raise _refused(502, f"{self.base_url} answered with more than {MAX_BODY} bytes", begun=True)
        yield self._hide(b"".join(pieces))

    def _hide(self, data: bytes) -> bytes:
        return data.replace(self.key.get_secret_value().encode(), _HIDDEN) if self.key is not None else data


def outgoing(ask: Ask, model: str) -> Mapping[str, Any]:
    """Return the request as it is sent: the experiment's model, and usage asked for in streams too."""
    body = {**ask.body, "model": model}
    if ask.stream:
        options = ask.body.get("stream_options")
        body["stream_options"] = {**(options if isinstance(options, Mapping) else {}), "include_usage": True}
    return body


def whose_fault(status: int) -> Fault:
    """Return whose doing an error status of the endpoint is."""
    return "framework" if status in _FRAMEWORK_ERRORS else "provider"


@contextlib.contextmanager
def _network(base_url: str) -> Iterator[None]:
    """Turn failures of the network into errors in the provider's shape. Errors of the library never show the key."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise _refused(502, f"cannot connect to {base_url}: {_reason(error.os_error)}") from None
    except (TimeoutError, aiohttp.ServerTimeoutError):
        raise _refused(504, f"{base_url} did not answer in time", begun=True) from None
    except aiohttp.InvalidURL:
        raise _refused(502, f"{base_url!r} is no usable base URL") from None
    except (aiohttp.ClientError, ConnectionError) as error:
        raise _refused(502, f"lost the connection to {base_url}: {type(error).__name__}", begun=True) from None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _refused(status: int, message: str, *, begun: bool = False) -> Refused:
    return Refused(status, message, kind="api_connection_error", fault="provider", begun=begun)
