"""Ask a gateway process for something, over the admin socket in its folder."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from runner.errors import ConfigError, RunnerError
from runner.gateway.session import GatewayError

ADMIN_SOCKET = "admin.sock"


def request(folder: Path, method: str, path: str, body: bytes, seconds: float) -> bytes:
    """Ask the process of a folder for something and return the answer.

    Raises:
        OSError: if it does not answer, TimeoutError among them.
        GatewayError: if it refuses.
        ConfigError: if it refuses because of what the user wrote.
    """
    connection = http.client.HTTPConnection("gateway")
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(seconds)
        connection.sock.connect(os.fspath(folder / ADMIN_SOCKET))
        connection.request(method, path, body=body)
        response = connection.getresponse()
        content = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"the answer broke off: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise _error(response.status, content)
    return content


def _error(status: int, content: bytes) -> RunnerError:
    try:
        error: dict[str, Any] = json.loads(content)
    except ValueError:
        error = {"what": f"the gateway answered {status}"}
    kind = ConfigError if error.pop("kind", "") in {"ConfigError", "SpecError"} else GatewayError
    return kind(error.pop("what"), **error)
