"""A proxy in front of a real engine's socket that makes single calls go wrong, on order or at random from a seed.

Every call gets a connection of its own to the engine, so that nothing has to be known of how an answer ends: a call's
bytes go to the engine as they come, and the answer's bytes come back until the engine hangs up.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import selectors
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

Kind = Literal["delay", "hang", "close", "status", "hang_after", "lose", "status_after", "cut"]
"""What happens to a call. The engine never hears of it after `hang` (no answer, ever), `close` (hung up on) and `status`
(refused); it does what it is told before `hang_after` (the answer never arrives), `lose` (the answer is lost with the
connection), `status_after` (an error stands in its place) and `cut` (its body breaks off). `delay` only takes time."""

_HEAD_END = b"\r\n\r\n"
_CHUNK = 64 * 1024
_VERSION = re.compile(r"^/v\d+\.\d+(?=/)")


@dataclass(kw_only=True)
class Fault:
    """Trouble for calls of one kind."""

    kind: Kind
    method: str = ""
    """GET, POST, ...; empty: any."""
    path: str = ""
    """Regular expression, searched in the path without version and query, like `/containers/create$`."""
    times: int | None = 1
    """Calls it meets; None: all."""
    skip: int = 0
    """Calls that fit and are let through first."""
    chance: float = 1.0
    """Share of the calls that it meets of those that fit; drawn from the proxy's seed."""
    seconds: float = 0.2
    """How long `delay` takes."""
    after: int = 0
    """Bytes of the answer's body that arrive before `cut`."""
    status: int = 500
    message: str = "a fault was ordered"

    def fits(self, method: str, path: str) -> bool:
        """Say whether a call is one of those it is for."""
        return self.method in {"", method} and re.search(self.path, path) is not None


@dataclass
class FaultProxy:
    """A proxy on a socket of its own; a context manager that listens inside its block.

    Usage: `with FaultProxy(Path("/var/run/docker.sock"), tmp_path / "p.sock") as proxy:` then connect to `proxy.host`,
    `proxy.add(Fault(kind="lose", path="/containers/create$"))`, and look at `proxy.met` afterwards.
    """

    engine: Path
    listen: Path
    """Where it listens; a short path, as sockets need one."""
    seed: int = 0
    seen: list[str] = field(default_factory=list)
    """Every call, as `METHOD /path` without version and query."""
    met: list[tuple[str, Kind]] = field(default_factory=list)
    """Calls that met a fault, and which."""

    def __post_init__(self) -> None:
        self._faults: list[Fault] = []
        self._dice = random.Random(self.seed)
        self._lock = threading.Lock()
        self._lines: set[socket.socket] = set()
        self._server: _Server | None = None
        self.over = threading.Event()
        """Set when calls that hang are to end."""

    @property
    def host(self) -> str:
        """DOCKER_HOST for who goes through it."""
        return f"unix://{self.listen}"

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Listen, as an engine that has come back does."""
        self.over = threading.Event()
        self._server = _Server(str(self.listen), _Call)
        self._server.proxy = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Hang up on everybody and listen no more, as an engine that has died does."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        self.listen.unlink(missing_ok=True)
        self.over.set()
        with self._lock:
            lines = tuple(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def add(self, fault: Fault) -> Fault:
        """Order trouble; of several faults that fit a call, the first that was ordered meets it."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Order no more trouble."""
        with self._lock:
            self._faults.clear()

    def due(self, method: str, path: str) -> Fault | None:
        """Note a call, and return the fault that it meets."""
        call = f"{method} {path}"
        with self._lock:
            self.seen.append(call)
            for fault in self._faults:
                if not fault.fits(method, path) or fault.times == 0:
                    continue
                if fault.skip:
                    fault.skip -= 1
                elif self._dice.random() < fault.chance:
                    fault.times = None if fault.times is None else fault.times - 1
                    self.met.append((call, fault.kind))
                    return fault
        return None

    def meet(self, line: socket.socket) -> None:
        """Have a connection cut by `down`."""
        with self._lock:
            self._lines.add(line)

    @contextlib.contextmanager
    def known(self, *lines: socket.socket) -> Iterator[None]:
        """Have connections cut by `down` inside the block."""
        with self._lock:
            self._lines.update(lines)
        try:
            yield
        finally:
            with self._lock:
                self._lines.difference_update(lines)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: FaultProxy

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection that is known from then on: its thread may begin only after everybody was hung up on."""
        line, address = super().get_request()
        self.proxy.meet(line)
        return line, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: either side may hang up at any moment."""


class _Call(socketserver.BaseRequestHandler):
    request: socket.socket
    server: _Server

    def handle(self) -> None:
        with self.server.proxy.known(self.request):
            self._answer()

    def _answer(self) -> None:
        head, rest = _head(self.request)
        if not head:
            return
        method, target = head.split(b" ", 2)[:2]
        path = _VERSION.sub("", target.decode("latin-1").partition("?")[0])
        proxy = self.server.proxy
        fault = proxy.due(method.decode("latin-1"), path)
        if fault is not None and fault.kind == "delay":
            proxy.over.wait(fault.seconds)
        if fault is not None and fault.kind in {"hang", "close", "status"}:
            self._refuse(fault)
        else:
            with socket.socket(socket.AF_UNIX) as engine, proxy.known(engine):
                engine.connect(str(proxy.engine))
                engine.sendall(_alone(head) + rest)
                self._relay(engine, fault)

    def _refuse(self, fault: Fault) -> None:
        if fault.kind == "hang":
            self.server.proxy.over.wait()
        elif fault.kind == "status":
            self.request.sendall(_error(fault))

    def _relay(self, engine: socket.socket, fault: Fault | None) -> None:
        """Carry bytes both ways until one side ends, or the fault does."""
        swallows = fault is not None and fault.kind in {"hang_after", "lose", "status_after"}
        left = fault.after if fault is not None and fault.kind == "cut" else None
        answer = b""
        for side, data in _arriving(self.request, engine):
            if side is self.request:
                engine.sendall(data)
            elif swallows:
                continue
            elif left is None:
                self.request.sendall(data)
            else:
                answer += data
                head, found, body = answer.partition(_HEAD_END)
                if found and len(body) >= left:
                    self.request.sendall(head + found + body[:left])
                    return
        if fault is not None and swallows:
            if fault.kind == "hang_after":
                self.server.proxy.over.wait()
            elif fault.kind == "status_after":
                self.request.sendall(_error(fault))
        elif left is not None:
            self.request.sendall(answer)


def _arriving(client: socket.socket, engine: socket.socket) -> Iterator[tuple[socket.socket, bytes]]:
    """Yield what comes from either side until the engine has ended; a client that ends is passed on."""
    with selectors.DefaultSelector() as both:
        both.register(client, selectors.EVENT_READ)
        both.register(engine, selectors.EVENT_READ)
        while True:
            for key, _ in both.select():
                side = engine if key.fileobj is engine else client
                data = side.recv(_CHUNK)
                if data:
                    yield side, data
                elif side is engine:
                    return
                else:
                    both.unregister(client)
                    with contextlib.suppress(OSError):
                        engine.shutdown(socket.SHUT_WR)


def _head(line: socket.socket) -> tuple[bytes, bytes]:
    """Read a call's head; return it, and what came after it. Empty if the client hung up."""
    data = b""
    while _HEAD_END not in data:
        piece = line.recv(_CHUNK)
        if not piece:
            return b"", b""
        data += piece
    head, end, rest = data.partition(_HEAD_END)
    return head + end, rest


def _alone(head: bytes) -> bytes:
    """Ask for the connection to be closed after the answer, unless it is to become a raw one."""
    if re.search(rb"(?im)^upgrade:", head):
        return head
    kept = re.sub(rb"(?im)^connection:[^\r]*\r\n", b"", head)
    return kept.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def _error(fault: Fault) -> bytes:
    body = json.dumps({"message": fault.message}).encode()
    head = f"HTTP/1.1 {fault.status} Fault\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def wait_for(socket_path: Path, seconds: float = 30.0) -> None:
    """Wait until something listens at a socket.

    Raises:
        TimeoutError: if nothing does in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.connect(str(socket_path))
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens at {socket_path}")
