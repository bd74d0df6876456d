"""Talk to a container's main process as it runs: standard streams over a connection of their own, and a terminal's size.

Protocol: the engine API's `attach`, upgraded to raw bytes in both directions. With a terminal these are what it shows;
without one the container's output comes in frames, see `frames.py`.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from runner.engine.frames import demultiplex
from runner.engine.protocol import EngineInfo
from runner.errors import EngineError

_CHUNK = 64 * 1024
_GREETING = 30.0
"""Seconds the engine may take to agree to anything."""
_LONGEST_HEAD = 64 * 1024
_SWITCHED = (b"101", b"200")
"""Status of an answer after which the connection is the container's; old engines say 200."""


@contextmanager
def attached(info: EngineInfo, container: str) -> Iterator[socket.socket]:
    """Lend a connection to a container that is made and not started yet, so that nothing it says is missed.

    Raises:
        EngineError: if the engine is elsewhere or refuses.
    """
    head, connection = _call(info, f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1", upgrade=True)
    with connection:
        if _status(head) not in _SWITCHED:
            raise EngineError("the engine does not connect to the container", why=head.decode("utf-8", "replace"))
        yield connection


def resize(info: EngineInfo, container: str, size: os.terminal_size) -> None:
    """Tell a container's terminal how large it is; one that has ended meanwhile is told nothing."""
    query = f"/containers/{container}/resize?h={size.lines}&w={size.columns}"
    _, connection = _call(info, query, upgrade=False)
    connection.close()


def converse(connection: socket.socket, source: int | None, sinks: Mapping[str, int], *, terminal: bool) -> None:
    """Carry bytes between file descriptors of this process and a container until the container says no more.

    Args:
        connection: as `attached` lends it.
        source: descriptor that is read for the container's standard input; at its end the container's ends too. None:
            it has none.
        sinks: descriptor for `stdout` and for `stderr`.
        terminal: whether the container has one; all it says goes to `stdout` then.

    Raises:
        EngineError: if the engine reports trouble of its own.
        OSError: if a descriptor cannot be written.
    """
    chunks = _exchange(connection, source)
    for name, chunk in (("stdout", one) for one in chunks) if terminal else demultiplex(chunks):
        _write(sinks[name], chunk)


def _exchange(connection: socket.socket, source: int | None) -> Iterator[bytes]:
    """Yield what the container says, and send it what the source has, neither waiting for the other."""
    waiting = b""
    connection.setblocking(False)
    if source is None:
        _finish(connection)
    while True:
        ready = _ready(connection, None if waiting else source, writes=bool(waiting))
        if ready.writable:
            waiting = _send(connection, waiting)
        if ready.source and source is not None and not (waiting := os.read(source, _CHUNK)):
            _finish(connection)
            source = None
        if ready.readable:
            chunk = _receive(connection)
            if not chunk:
                return
            yield chunk


@dataclass(frozen=True)
class _Ready:
    """What can be done without waiting."""

    readable: bool
    writable: bool
    source: bool


def _ready(connection: socket.socket, source: int | None, *, writes: bool) -> _Ready:
    """Wait until something can be done; a plain file, which no selector takes, can always be read."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0))
        plain = source is not None and not _registered(selector, source)
        found = selector.select(0 if plain else None)
    events = {key.fd: mask for key, mask in found}
    of_connection = events.get(connection.fileno(), 0)
    return _Ready(
        readable=bool(of_connection & selectors.EVENT_READ),
        writable=bool(of_connection & selectors.EVENT_WRITE),
        source=plain or source in events,
    )


def _registered(selector: selectors.BaseSelector, source: int) -> bool:
    try:
        selector.register(source, selectors.EVENT_READ)
    except PermissionError:
        return False
    return True


def _send(connection: socket.socket, data: bytes) -> bytes:
    """Send what the connection takes and return the rest; none if nobody listens any more."""
    try:
        return data[connection.send(data) :]
    except BlockingIOError:
        return data
    except (BrokenPipeError, ConnectionResetError):
        return b""


def _finish(connection: socket.socket) -> None:
    """End the container's standard input; what it says still comes."""
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the other side has gone first


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(_CHUNK)
    except ConnectionResetError:
        return b""


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def _call(info: EngineInfo, path: str, *, upgrade: bool) -> tuple[bytes, socket.socket]:
    """Make one call on a connection of its own; return the answer's head and the connection."""
    if not info.socket:
        raise EngineError("the engine is on another machine", why="it has no socket here to talk to a container by")
    switch = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else "Connection: close\r\n"
    request = f"POST /v{info.api_version}{path} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n{switch}\r\n"
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_GREETING)
        connection.connect(info.socket)
        connection.sendall(request.encode("ascii"))
        head = _head(connection)
        connection.settimeout(None)
    except OSError as error:
        connection.close()
        raise EngineError(f"the engine at {info.socket} gave no answer", why=str(error)) from error
    return head, connection


def _head(connection: socket.socket) -> bytes:
    """Read an answer's head byte by byte: what follows it is not ours to take."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < _LONGEST_HEAD and (one := connection.recv(1)):
        head += one
    return head


def _status(head: bytes) -> bytes:
    return head.partition(b" ")[2].partition(b" ")[0]
