#!/usr/bin/env python3
"""Start the service and judge it from outside, by HTTP on loopback."""

import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

PORT = 8000
START = 30.0
"""Seconds the service may take until it answers."""
RESOURCES = {
    "students": ({"name": " Ada ", "enrolment_year": 2024}, {"name": "Ada", "enrolment_year": 1800}, "Student"),
    "courses": ({"name": "Algebra", "credits": 6}, {"name": "Algebra"}, "Course"),
    "teachers": ({"name": "Grace", "subject": "Compilers"}, {"name": "G", "subject": "C", "age": 1}, "Teacher"),
}


def call(method: str, path: str, body: object = None) -> tuple[int, object]:
    """Send a request and return status and parsed body."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None
    finally:
        connection.close()


def want(what: str, found: object, wanted: object) -> None:
    """End with a sentence unless something is as it should be."""
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def wait() -> None:
    """Return once the service says that it is alive."""
    end = time.monotonic() + START
    while True:
        try:
            want("GET /health", call("GET", "/health"), (200, {"status": "ok"}))
        except OSError:
            if time.monotonic() > end:
                sys.exit(f"the service does not answer within {START:g} s")
            time.sleep(0.1)
        else:
            return


def judge(name: str, good: dict[str, object], bad: dict[str, object], title: str) -> None:
    """Go through the life of one object."""
    clean = {key: value.strip() if isinstance(value, str) else value for key, value in good.items()}
    want(f"POST /{name}", call("POST", f"/{name}", good), (201, {**clean, "id": 1}))
    want(f"GET /{name}/1", call("GET", f"/{name}/1"), (200, {**clean, "id": 1}))
    want(f"GET /{name}", call("GET", f"/{name}"), (200, [{**clean, "id": 1}]))
    want(f"POST /{name} with a bad body", call("POST", f"/{name}", bad)[0], 422)
    changed = {**clean, "name": "Other"}
    want(f"PUT /{name}/1", call("PUT", f"/{name}/1", changed), (200, {**changed, "id": 1}))
    want(f"DELETE /{name}/1", call("DELETE", f"/{name}/1"), (204, None))
    want(f"GET /{name}/1 of none", call("GET", f"/{name}/1"), (404, {"detail": f"{title} not found"}))
    want(f"POST /{name} after a deletion", call("POST", f"/{name}", good), (201, {**clean, "id": 2}))


with tempfile.TemporaryDirectory() as folder:
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(PORT), "--log-level", "warning"],
        env={**os.environ, "DATABASE_PATH": str(pathlib.Path(folder) / "school.db")},
    )
    try:
        wait()
        for name, (good, bad, title) in RESOURCES.items():
            judge(name, good, bad, title)
    finally:
        server.terminate()
        server.wait()
