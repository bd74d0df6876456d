"""Look at the head of a connection's first request, and hand the connection to whom it concerns.

Proxy requests (CONNECT, or an address in full) go to the session's proxy; everything else goes to the web server, with
every byte that was read, and is not looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from runner.gateway.egress.head import END, LONGEST, answer
from runner.gateway.egress.upstream import Ends
from runner.names import GATEWAY_PORT

if TYPE_CHECKING:
    from runner.gateway.egress.egress import Egress

HEAD_SECONDS = 30.0
MOST = 1024
"""Connections of one session at once: descriptors are the whole process's, and no step may take those of the others."""
_OURSELVES = {f"127.0.0.1:{GATEWAY_PORT}", f"localhost:{GATEWAY_PORT}"}


class Switchboard:
    """Makes the protocol of each connection, and holds those whose first head is not there yet."""

    def __init__(self, make: Callable[[Switchboard], _Switch]) -> None:
        self._make = make
        self._closed = False
        self._all: set[asyncio.Transport] = set()
        self.waiting: set[asyncio.Transport] = set()

    def __call__(self) -> asyncio.BaseProtocol:
        return self._make(self)

    def begin(self, transport: asyncio.Transport) -> bool:
        """Note a new connection, one that comes after the end is ended; tell whether there may be one more."""
        if len(self._all) >= MOST:
            self._all = {one for one in self._all if not one.is_closing()}
        if len(self._all) >= MOST:
            return False
        self._all.add(transport)
        self.waiting.add(transport)
        if self._closed:
            transport.abort()
        return True

    def close(self) -> None:
        """End the connections that wait for a head: none of them becomes a request any more."""
        self._closed = True
        for transport in tuple(self.waiting):
            transport.abort()


def make_protocol_factory(
    web_server: Callable[[], asyncio.Protocol],
    egress: Egress | None,
    *,
    head_seconds: float = HEAD_SECONDS,
    on_refused: Callable[[int, str], None] = lambda _status, _message: None,
) -> Switchboard:
    """Return what makes the protocol of each connection, for `create_unix_server` and `create_server`.

    Args:
        web_server: makes the web server's own protocol, like aiohttp's `AppRunner.server`.
        egress: where proxy requests go; None refuses them.
        head_seconds: how long the first request's head may take.
        on_refused: hears of heads that are too long: the status they are answered with, and why.
    """
    return Switchboard(lambda board: _Switch(board, web_server, egress, head_seconds, on_refused))


class _Switch(asyncio.Protocol):
    """Holds a connection until the head of its first request is there."""

    def __init__(
        self,
        board: Switchboard,
        web_server: Callable[[], asyncio.Protocol],
        egress: Egress | None,
        head_seconds: float,
        on_refused: Callable[[int, str], None],
    ) -> None:
        self._board, self._web_server, self._egress = board, web_server, egress
        self._seconds, self._on_refused = head_seconds, on_refused
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._transport.abort)
        if not self._board.begin(self._transport):
            self._refuse(503, f"this step has {MOST} connections already")

    def connection_lost(self, _: Exception | None) -> None:
        self._timer.cancel()
        self._board.waiting.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        begin = max(0, len(self._data) - len(END) + 1)
        self._data += data
        end = self._data.find(END, begin)
        if end >= 0 and end <= LONGEST:
            self._timer.cancel()
            self._board.waiting.discard(self._transport)
            self._hand_over(end + len(END))
        elif end > LONGEST or len(self._data) > LONGEST:
            message = f"the request's headers have more than {LONGEST} bytes"
            self._on_refused(431, message)
            self._refuse(431, message)

    def _hand_over(self, size: int) -> None:
        if not _concerns_proxy(self._data):
            protocol = self._web_server()
            self._transport.set_protocol(protocol)
            protocol.connection_made(self._transport)
            protocol.data_received(self._data)
        elif self._egress is None:
            self._refuse(403, "this step may reach no host but the model's; `allow` in its recipe names further ones")
        else:
            _as_stream(self._transport, self._egress, self._data[:size], self._data[size:])

    def _refuse(self, status: int, message: str) -> None:
        self._transport.write(answer(status, message))
        self._transport.close()


def _as_stream(transport: asyncio.Transport, egress: Egress, head: bytes, rest: bytes) -> None:
    """Go on with a connection as a pair of streams."""
    reader = asyncio.StreamReader(limit=LONGEST)

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        egress.accept(head, Ends(reader=reader, writer=writer))

    protocol = asyncio.StreamReaderProtocol(reader, accept)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if rest:
        protocol.data_received(rest)


def _concerns_proxy(data: bytes) -> bool:
    """Tell whether a request is one to a proxy; one with the gateway's own address in full is an ordinary one."""
    method, _, rest = data[: data.find(b"\r\n")].partition(b" ")
    if method == b"CONNECT":
        return True
    return own_target(rest.split(b" ", 1)[0].decode("latin-1")) is None


def own_target(target: str) -> str | None:
    """Return a request's target as a path, if it is one or the gateway's own address in full; None for any other address."""
    if target.startswith(("/", "*")) or "://" not in target:
        return target
    try:
        place = urlsplit(target).netloc
    except ValueError:
        return None
    if place.rpartition("@")[2] not in _OURSELVES:
        return None
    return target.partition("://")[2].removeprefix(place) or "/"
