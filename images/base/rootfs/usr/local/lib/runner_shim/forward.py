"""Lead connections from the loopback port to the gateway's socket."""

from __future__ import annotations

import select
import socket
import time

from runner_shim.loop import Loop

CHUNK = 65536
AGAIN_SECONDS = 0.1
RETRY_AFTER = 2
"""Seconds after which a client is told to ask again."""
BACKLOG = 512
UNREACHABLE = (
    '{"type": "error", "error": {"message": "the model gateway does not answer", '
    '"type": "gateway_error", "code": null}}'
)
"""An error object of both families of APIs."""


class Connection:
    """Holds a client's connection and the gateway's; each direction ends on its own, and waits for its reader."""

    def __init__(self, loop: Loop, client: socket.socket, gateway: socket.socket) -> None:
        self.loop, self.ends = loop, (client, gateway)
        self.pending = [b"", b""]
        """Bytes on their way to the client, to the gateway."""
        self.open = [True, True]
        """Whether the client, the gateway may still send."""
        for end in self.ends:
            end.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        for side, end in enumerate(self.ends):
            reads = self.open[side] and not self.pending[1 - side]
            events = (select.POLLIN if reads else 0) | (select.POLLOUT if self.pending[side] else 0)
            self.loop.watch(end.fileno(), events, self._move)

    def _move(self) -> None:
        try:
            for side in (0, 1):
                self._receive(side)
                self._send(side)
        except OSError:
            self.open, self.pending = [False, False], [b"", b""]
        self._listen()
        if not any(self.open) and not any(self.pending):
            for end in self.ends:
                end.close()

    def _receive(self, side: int) -> None:
        if not self.open[side] or self.pending[1 - side]:
            return
        try:
            chunk = self.ends[side].recv(CHUNK)
        except BlockingIOError:
            return
        self.pending[1 - side] = chunk
        self.open[side] = bool(chunk)
        if chunk:
            self._send(1 - side)
        else:
            self.ends[1 - side].shutdown(1)

    def _send(self, side: int) -> None:
        if self.pending[side]:
            try:
                self.pending[side] = self.pending[side][self.ends[side].send(self.pending[side]) :]
            except BlockingIOError:
                return


class Refusal:
    """Holds a connection that gets a 503 once it has asked, and is read to its end so that the answer arrives."""

    def __init__(self, loop: Loop, client: socket.socket, why: str) -> None:
        self.loop, self.client, self.answered = loop, client, False
        body = UNREACHABLE.replace("answer", f"answer: {why}", 1)
        head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
        head += f"Retry-After: {RETRY_AFTER}\r\n"
        self.answer = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("ascii", "replace")
        client.setblocking(False)
        loop.watch(client.fileno(), select.POLLIN, self._read)

    def _read(self) -> None:
        try:
            asked = self.client.recv(CHUNK)
            if asked and not self.answered:
                self.answered = True
                self.client.send(self.answer)
                self.client.shutdown(1)
        except BlockingIOError:
            return
        except OSError:
            asked = b""
        if not asked:
            self.loop.watch(self.client.fileno(), 0, self._read)
            self.client.close()


def forward(loop: Loop, port: int, path: str, patience: float) -> None:
    """Listen on the loopback port and lead each connection to the gateway's socket, which may come and go.

    A connection waits `patience` seconds for a gateway that is being started again.
    """

    def accept() -> None:
        try:
            client = listener.accept()[0]
        except OSError:
            return
        connect(client, time.monotonic() + patience)

    def connect(client: socket.socket, until: float) -> None:
        gateway = socket.socket(socket.AF_UNIX)
        gateway.setblocking(False)
        try:
            gateway.connect(path)
        except OSError as error:
            # No socket, nobody behind it, or more who wait than it takes: each may be over in a moment.
            gateway.close()
            if time.monotonic() < until:
                loop.call(AGAIN_SECONDS, lambda: connect(client, until))
            else:
                Refusal(loop, client, error.strerror or "time out")
        else:
            Connection(loop, client, gateway)

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    loop.watch(listener.fileno(), select.POLLIN, accept)
