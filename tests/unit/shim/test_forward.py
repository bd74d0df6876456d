"""The way from the container's loopback port to the gateway's socket, seen from a client."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner import names

pytestmark = pytest.mark.processes

_CHUNK = 65536


class _Echo(socketserver.BaseRequestHandler):
    """Reads to the end of what the client sends, then answers with all of it and how long it was."""

    def handle(self) -> None:
        data = b""
        while chunk := self.request.recv(_CHUNK):
            data += chunk
        self.request.sendall(b"%d:" % len(data) + data)


class _Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 256
    daemon_threads = True


@contextlib.contextmanager
def _echo(path: Path) -> Iterator[None]:
    path.unlink(missing_ok=True)
    with _Server(str(path), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="shim-") as path:
        yield Path(path)


def _port() -> int:
    """Return a port that is free, and below those that the kernel gives to whoever wants any; see ip(7)."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        number = random.SystemRandom().randrange(first // 3, first)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", number))
            return number


@contextlib.contextmanager
def _shim(argv: Callable[..., list[str]], path: Path, *, patience: float) -> Iterator[int]:
    number = _port()
    more = ("--gateway", f"--port={number}", f"--socket={path}", f"--patience={patience}")
    with subprocess.Popen(argv("sh", "-c", "echo up; sleep 600", more=more), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield number
        process.terminate()


@pytest.fixture
def port(argv: Callable[..., list[str]], folder: Path) -> Iterator[int]:
    """Return the loopback port of a shim that leads to `folder/s` while its command runs."""
    with _shim(argv, folder / "s", patience=0.5) as number:
        yield number


def _send(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)


def _exchange(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=100) as client:
        sender = threading.Thread(target=_send, args=(client, data))
        sender.start()
        answer = b""
        while chunk := client.recv(_CHUNK):
            answer += chunk
        sender.join()
    return answer


def test_names_agree_with_the_runner() -> None:
    """The shim, which cannot import the runner, uses the same port, socket and report name."""
    local = Path(__file__).parents[3] / "images/base/rootfs/usr/local"
    probe = (
        "import runpy, sys, json\n"
        f"sys.dont_write_bytecode = True\n"
        f"names = runpy.run_path({str(local / 'bin/runner-shim')!r})\n"
        "from runner_shim import report, command\n"
        "options = names['parse'](['--deadline=1', '--grace=0', '--log-limit=9', '--', 'x'])[0]\n"
        "print(json.dumps([int(options['port']), options['socket'], options['out'], report.NAME, "
        "command.EXIT_TIMED_OUT]))"
    )
    found = json.loads(subprocess.run([sys.executable, "-c", probe], capture_output=True, check=True).stdout)
    expected = [names.GATEWAY_PORT, f"{names.GATEWAY_DIR}/{names.GATEWAY_SOCKET}", names.OUT_DIR, names.SHIM_REPORT]
    assert found == [*expected, names.EXIT_TIMED_OUT]


def test_half_closed_connection_is_answered(port: int, folder: Path) -> None:
    """A client that has finished sending still gets its answer, and the server sees the end of the request."""
    with _echo(folder / "s"):
        assert _exchange(port, b"hello") == b"5:hello"


def test_much_data_both_ways_arrives_unchanged(port: int, folder: Path) -> None:
    """Twenty megabytes pass in both directions without loss."""
    data = bytes(range(256)) * 80_000
    with _echo(folder / "s"):
        assert _exchange(port, data) == b"%d:" % len(data) + data


def test_many_connections_at_once(port: int, folder: Path) -> None:
    """A hundred concurrent clients each get their own answer."""
    with _echo(folder / "s"), ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda n: _exchange(port, b"x" * n), range(1, 101)))
    assert answers == [b"%d:" % n + b"x" * n for n in range(1, 101)]


def _post(port: int, size: int) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    connection.request("POST", "/v1/chat/completions", body=b"x" * size)
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


def test_absent_gateway_is_a_503_with_json(port: int) -> None:
    """Without a gateway a client gets an HTTP error it can show, also after sending a large request."""
    for size in (10, 5_000_000):
        status, body = _post(port, size)
        assert status == 503
        assert body["error"]["message"] == "the model gateway does not answer: No such file or directory"


def test_refusal_says_when_to_ask_again(port: int) -> None:
    """A client that is refused hears, in words of either family of APIs, that asking again may help, and when."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    connection.request("POST", "/v1/messages", body=b"{}")
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    assert (response.status, response.headers["Retry-After"]) == (503, "2")
    assert (body["type"], body["error"]["type"]) == ("error", "gateway_error")


def test_connection_waits_for_a_gateway_that_is_started_again(argv: Callable[..., list[str]], folder: Path) -> None:
    """A request that meets no gateway is held and answered once there is one; others are served meanwhile."""
    socket_path = folder / "s"
    with _shim(argv, socket_path, patience=100) as port, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(_exchange, port, b"early")
        time.sleep(0.5)
        assert not answer.done()
        with _echo(socket_path):
            assert answer.result(timeout=100) == b"5:early"


def test_waiting_connections_hold_up_nobody(argv: Callable[..., list[str]], folder: Path) -> None:
    """While connections wait for a gateway, the step's deadline and its output go on as ever."""
    started = time.monotonic()
    number = _port()
    more = ("--gateway", f"--port={number}", f"--socket={folder / 'none'}", "--patience=200")
    code = (
        "import socket, time\n"
        f"held = [socket.create_connection(('127.0.0.1', {number})) for _ in range(20)]\n"
        "print('up', flush=True)\n"
        "time.sleep(600)"
    )
    done = subprocess.run(
        argv(sys.executable, "-c", code, more=more, deadline=8, grace=0.2), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (124, b"up\n")
    assert time.monotonic() - started < 100


def test_gateway_that_comes_back_is_found(port: int, folder: Path) -> None:
    """A gateway that ends and starts anew at the same path serves the next connection."""
    with _echo(folder / "s"):
        assert _exchange(port, b"one") == b"3:one"
    assert _post(port, 10)[0] == 503
    with _echo(folder / "s"):
        assert _exchange(port, b"again") == b"5:again"


def test_taken_port_is_said(argv: Callable[..., list[str]], report: Callable[[], dict[str, Any]]) -> None:
    """If the port cannot be had, the command is not started and the report says why."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        more = ("--gateway", f"--port={taken.getsockname()[1]}", "--socket=/nonexistent")
        done = subprocess.run(argv("echo", "ran", more=more), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (125, b"")
    assert "cannot listen on 127.0.0.1:" in report()["error"]
