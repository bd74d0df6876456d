"""Endpoints for the gateway to talk to: a well-behaved one from an aiohttp application, and one made of raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from aiohttp import web

Behaviour = Callable[[socket.socket, bytes], None]
"""Gets a connection and the request that came on it."""


@contextlib.contextmanager
def serving(app: web.Application) -> Iterator[str]:
    """Serve an application on a loopback port, in a thread, for as long as the block lasts; gives its URL."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(120)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def behaving(behaviour: Behaviour) -> Iterator[str]:
    """Answer every connection to a loopback port as `behaviour` does, each in a thread; gives the URL."""
    over = threading.Event()
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(0.1)

        def accept() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    threads.append(threading.Thread(target=_answer, args=(behaviour, connection)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            acceptor.join()
            for thread in threads:
                thread.join()


def _answer(behaviour: Behaviour, connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(30)
        behaviour(connection, _read_request(connection))


def _read_request(connection: socket.socket) -> bytes:
    """Read a request with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    wanted = int(lengths[0]) if lengths else 0
    while len(body) < wanted and (piece := connection.recv(65536)):
        body += piece
    return head + b"\r\n\r\n" + body
