"""What can be wrong around the runner: an engine of another age, a folder that takes nothing, a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent"}
"""Environment of a machine without an engine."""


@contextlib.contextmanager
def old_engine(api_version: str) -> Iterator[dict[str, str]]:
    """Serve an engine that can only say its version; yield the environment that leads to it."""
    answer = json.dumps({"Version": "1.18.0", "ApiVersion": api_version, "MinAPIVersion": "1.12"}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it
            """Keep quiet."""

    # A socket's path has room for 107 bytes, a test's own folder may be longer.
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/docker.sock"
        with socketserver.ThreadingUnixStreamServer(path, Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield {"DOCKER_HOST": f"unix://{path}"}
            finally:
                server.shutdown()
                thread.join()


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory on a folder; the test is skipped where this user may not."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"uid {os.getuid()} may not mount: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        # What a program that has just ended had open there may be held for a moment.
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
