"""How tests talk to a session of the gateway: calls over its socket, and bytes that no library would send."""

from __future__ import annotations

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

from runner.gateway.session import Session

CHAT = "/v1/chat/completions"
PATIENCE = 120.0
"""Seconds: of a machine that has much else to do, unless a test says otherwise."""


def connect(session: Session, seconds: float = PATIENCE) -> socket.socket:
    """Return a connection to the session's socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    try:
        connection.connect(str(session.directory / "gateway.sock"))
    except OSError:
        connection.close()
        raise
    return connection


def ask(session: Session, body: object, seconds: float = PATIENCE, token: str | None = None) -> tuple[int, bytes]:
    """Make one call and read its answer to the end; `body` is bytes, or what JSON is made of.

    Raises:
        OSError: if there is no connection, or none any more.
        http.client.HTTPException: if the answer breaks off.
    """
    connection = http.client.HTTPConnection("gateway", timeout=seconds)
    connection.sock = connect(session, seconds)
    try:
        headers = {"Authorization": f"Bearer {token or session.token}", "Content-Type": "application/json"}
        connection.request("POST", CHAT, body if isinstance(body, bytes) else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def insist(session: Session, body: object) -> tuple[int, dict[str, Any]]:
    """Make a call as SDKs do: again and again after errors of the connection."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            status, content = ask(session, body)
            return status, json.loads(content)
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < end, f"no gateway came back within {PATIENCE:g} s"
            time.sleep(0.05)


def say(text: str = "x", **more: Any) -> dict[str, Any]:
    """Return a request."""
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def head(session: Session, *lines: str, path: str = CHAT) -> bytes:
    """Return the head of a request with this session's token and further header lines."""
    start = (f"POST {path} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {session.token}")
    return "\r\n".join((*start, *lines, "", "")).encode()


def raw(session: Session, data: bytes, seconds: float = PATIENCE, *, end: bool = False) -> bytes:
    """Send bytes, with `end` say that there are no more, and return all that comes back until the connection ends."""
    with connect(session, seconds) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side ends the connection."""
    pieces = []
    try:
        while piece := connection.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def memory(pid: int) -> int:
    """Return the resident memory of a process, bytes; see proc(5), VmRSS."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
