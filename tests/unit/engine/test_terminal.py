"""Talking to a container: bytes in both directions, neither waiting for the other."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.engine.terminal import converse

LARGE = 4 * 1024**2


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return our end of a connection, and the container's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def frame(stream: int, data: bytes) -> bytes:
    """Return data as the engine sends it without a terminal."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side has nothing more to say."""
    parts = []
    while chunk := connection.recv(65536):
        parts.append(chunk)
    return b"".join(parts)


def test_frames_go_to_their_streams(ends: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    """Without a terminal both streams come apart; without an input the container's is at its end at once."""
    ours, theirs = ends
    theirs.sendall(frame(1, b"out") + frame(2, b"err") + frame(1, b"more"))
    theirs.shutdown(socket.SHUT_WR)
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        converse(ours, None, {"stdout": out.fileno(), "stderr": err.fileno()}, terminal=False)
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "err").read_bytes()) == (b"outmore", b"err")
    assert read_all(theirs) == b""


def test_a_terminal_says_everything_on_one_stream(ends: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    """With a terminal bytes are what it shows, whatever they look like."""
    ours, theirs = ends
    theirs.sendall(b"\x01\x00\x00\x00bytes")
    theirs.close()
    with (tmp_path / "out").open("wb") as out:
        converse(ours, None, {"stdout": out.fileno(), "stderr": out.fileno()}, terminal=True)
    assert (tmp_path / "out").read_bytes() == b"\x01\x00\x00\x00bytes"


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_much_in_both_directions(ends: tuple[socket.socket, socket.socket], tmp_path: Path, kind: str) -> None:
    """A container that reads nothing until it has said all it has to say is no deadlock, nor is one that only reads."""
    ours, theirs = ends
    (tmp_path / "in").write_bytes(os.urandom(LARGE))
    got: list[bytes] = []

    def container() -> None:
        theirs.sendall(bytes(LARGE))
        got.append(read_all(theirs))
        theirs.close()

    thread = threading.Thread(target=container)
    thread.start()
    source = os.open(tmp_path / "in", os.O_RDONLY) if kind == "file" else _piped(tmp_path / "in")
    try:
        with (tmp_path / "out").open("wb") as out:
            converse(ours, source, {"stdout": out.fileno(), "stderr": out.fileno()}, terminal=True)
    finally:
        os.close(source)
        thread.join()
    assert got == [(tmp_path / "in").read_bytes()]
    assert (tmp_path / "out").stat().st_size == LARGE


def _piped(path: Path) -> int:
    """Return the reading end of a pipe that a thread writes a file into."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as stream:
            stream.write(path.read_bytes())

    threading.Thread(target=write, daemon=True).start()
    return reader


def test_input_after_the_end(ends: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    """A container that ends without reading its input takes nothing of ours with it."""
    ours, theirs = ends
    (tmp_path / "in").write_bytes(bytes(LARGE))
    theirs.sendall(b"done")
    theirs.close()
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as out:
        converse(ours, source.fileno(), {"stdout": out.fileno(), "stderr": out.fileno()}, terminal=True)
    assert (tmp_path / "out").read_bytes() == b"done"
