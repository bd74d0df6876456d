"""Judge a workspace of the scenario crud that BAEs made: the requests of `crud_check`, sent to where BAEs serves them.

Runs inside the framework's image, in a copy of the workspace. BAEs serves everything below /api, a list under a path
that ends with a slash, and its own health check; the database lies inside the system that it manages.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import Any

import crud_check

SYSTEM = "managed_system"
LIST = re.compile(r"(/(?:students|courses|teachers))(\?.*)?")
HEALTHY = (200, {"status": "healthy", "system": "BAE Managed System"})

send = crud_check.call


def call(method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Send a request to where BAEs serves it."""
    found = LIST.fullmatch(path)
    return send(method, f"/api{found[1]}/{found[2] or ''}" if found else f"/api{path}", body)


def start() -> subprocess.Popen[bytes]:
    """Start the service as the system's own script does, on a port of the check, and wait until it answers."""
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(crud_check.PORT), "--log-level", "error"]
    server = subprocess.Popen(command, cwd=SYSTEM)
    deadline = time.monotonic() + crud_check.START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            answer = send("GET", "/health")
        except ConnectionError:
            time.sleep(0.1)
            continue
        if answer == HEALTHY:
            return server
        sys.exit(f"/health answers {answer}")
    server.kill()
    sys.exit(f"the service does not answer; exit code {server.wait()}")


def main() -> None:
    """Call every route and see that a restart keeps what is there."""
    crud_check.call = call
    server = start()
    try:
        crud_check.check_students()
        crud_check.check_courses()
        crud_check.check_teachers()
        kept = crud_check.want("GET", "/courses", 200)
    finally:
        crud_check.stop(server)
    server = start()
    try:
        crud_check.want("GET", "/courses", 200, kept)
    finally:
        crud_check.stop(server)
    sys.stdout.write(f"{crud_check.requests} requests answered as asked for\n")


if __name__ == "__main__":
    main()
