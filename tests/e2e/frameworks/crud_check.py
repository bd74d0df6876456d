"""Judge a workspace of the scenario crud from outside: start the service as its prompt says, and call every route.

Runs inside a framework's image, in the workspace, with the standard library alone. It knows the prompts, not the code:
any framework's workspace must pass. Exit code 0 and the number of requests, or the first request that went wrong.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

PORT = 8123
START_SECONDS = 120.0

ADA = {"name": "Ada Lovelace", "enrolment_year": 2024, "email": "ada@example.org"}
GRACE = {"name": "Grace Hopper", "enrolment_year": 2023, "email": "grace@example.org"}
LOGIC = {"code": "CS101", "title": "Logic", "credits": 5}
ALGEBRA = {"code": "MA201", "title": "Algebra", "credits": 6}
EMMY = {"name": "Emmy Noether", "email": "emmy@example.org"}
ALAN = {"name": "Alan Turing", "email": "alan@example.org"}

requests = 0


def call(method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Send one request; return the status and the decoded body, None if there is none."""
    global requests  # noqa: PLW0603  the one counter of a program of one file
    connection = HTTPConnection("127.0.0.1", PORT, timeout=60)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    requests += 1
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if content else None


def want(method: str, path: str, status: int, content: object = ..., body: object = None) -> Any:
    """Send one request and compare; `...` stands for any content."""
    found = call(method, path, body)
    if found[0] != status or (content is not ... and found[1] != content):
        sent = "" if body is None else f" with {json.dumps(body)}"
        sys.exit(f"{method} {path}{sent}: expected {status} {content}, got {found[0]} {found[1]}")
    return found[1]


def check_resource(path: str, name: str, first: dict[str, Any], second: dict[str, Any], extra: dict[str, Any]) -> None:
    """Create two, list, read, replace, refuse, delete; leaves the first as id 1 and the second as id 3."""
    unknown = {"detail": f"{name} not found"}
    want("GET", path, 200, [])
    want("POST", path, 201, {"id": 1} | first | extra, first)
    want("POST", path, 201, {"id": 2} | second | extra, second)
    want("GET", path, 200, [{"id": 1} | first | extra, {"id": 2} | second | extra])
    want("GET", f"{path}/2", 200, {"id": 2} | second | extra)
    for method, body in (("GET", None), ("PUT", first), ("DELETE", None)):
        want(method, f"{path}/77", 404, unknown, body)
    for key in first:
        want("POST", path, 422, body={other: value for other, value in first.items() if other != key})
    want("POST", path, 422, body=first | {"unknown": 1})
    want("DELETE", f"{path}/2", 204, None)
    want("GET", f"{path}/2", 404, unknown)
    want("POST", path, 201, {"id": 3} | second | extra, second)


def check_students() -> None:
    """Go through what the prompts say of students and their addresses."""
    check_resource("/students", "Student", ADA, GRACE, {})
    want("PUT", "/students/1", 200, ADA | {"id": 1, "name": "A. Lovelace"}, ADA | {"name": "  A. Lovelace "})
    want("PUT", "/students/1", 200, ADA | {"id": 1}, ADA)
    taken = {"detail": "Email already in use"}
    want("POST", "/students", 409, taken, ADA | {"email": "ADA@example.org"})
    want("PUT", "/students/3", 409, taken, GRACE | {"email": "ada@example.org"})
    want("GET", "/students?email=Ada@Example.org", 200, [ADA | {"id": 1}])
    want("GET", "/students?email=nobody@example.org", 200, [])
    changes: tuple[dict[str, Any], ...] = (
        *({"name": name} for name in ("", "   ", "a" * 101)),
        *({"enrolment_year": year} for year in (1899, 2101, "soon", None)),
        *(
            {"email": email}
            for email in ("ada", "ada@home", "a@b@example.org", "a b@example.org", "@example.org", None)
        ),
    )
    for change in changes:
        want("PUT", "/students/1", 422, body=ADA | change)
    want("GET", "/students/1", 200, ADA | {"id": 1})


def check_courses() -> None:
    """Go through what the prompts say of courses and who takes them."""
    check_resource("/courses", "Course", LOGIC, ALGEBRA, {"teacher_id": None})
    want("PUT", "/courses/1", 200, LOGIC | {"id": 1, "teacher_id": None}, LOGIC | {"code": "cs101"})
    want("POST", "/courses", 409, {"detail": "Code already in use"}, LOGIC)
    for change in (
        {"code": "C101"},
        {"code": "CS1"},
        {"code": "CS1012"},
        {"title": " "},
        {"credits": 0},
        {"credits": 31},
    ):
        want("POST", "/courses", 422, body=ALGEBRA | change)
    for _ in range(2):
        want("PUT", "/students/1/courses/3", 204, None)
    want("PUT", "/students/1/courses/1", 204, None)
    want("PUT", "/students/3/courses/1", 204, None)
    assert [one["code"] for one in want("GET", "/students/1/courses", 200)] == ["CS101", "MA201"]
    assert [one["id"] for one in want("GET", "/courses/1/students", 200)] == [1, 3]
    want("PUT", "/students/77/courses/77", 404, {"detail": "Student not found"})
    want("PUT", "/students/1/courses/77", 404, {"detail": "Course not found"})
    want("DELETE", "/students/3/courses/3", 404, {"detail": "Enrolment not found"})
    want("DELETE", "/courses/1", 409, {"detail": "Course has students"})
    want("DELETE", "/students/1", 204, None)
    want("DELETE", "/students/3/courses/1", 204, None)
    want("GET", "/courses/1/students", 200, [])


def check_teachers() -> None:
    """Go through what the prompts say of teachers and their courses."""
    check_resource("/teachers", "Teacher", EMMY, ALAN, {})
    want("POST", "/teachers", 409, {"detail": "Email already in use"}, EMMY)
    want("POST", "/teachers", 201, ..., {"name": "Grace Hopper", "email": GRACE["email"]})
    want("PUT", "/courses/3", 200, ALGEBRA | {"id": 3, "teacher_id": 1}, ALGEBRA | {"teacher_id": 1})
    want("PUT", "/courses/1", 422, {"detail": "Teacher not found"}, LOGIC | {"teacher_id": 77})
    want("POST", "/courses", 201, ..., {"code": "PH300", "title": "Optics", "credits": 4, "teacher_id": 1})
    assert [one["code"] for one in want("GET", "/teachers/1/courses", 200)] == ["MA201", "PH300"]
    want("GET", "/teachers/77/courses", 404, {"detail": "Teacher not found"})
    want("DELETE", "/teachers/1", 204, None)
    assert [one["teacher_id"] for one in want("GET", "/courses", 200)] == [None, None, None]


def start(database: Path) -> subprocess.Popen[bytes]:
    """Start the service and wait until it answers."""
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(PORT), "--log-level", "warning"]
    server = subprocess.Popen(command, env={**os.environ, "DATABASE_PATH": str(database)})
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            want("GET", "/health", 200, {"status": "ok"})
        except ConnectionError:
            time.sleep(0.1)
        else:
            return server
    server.kill()
    sys.exit(f"the service does not answer; exit code {server.wait()}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the service and wait for it."""
    server.terminate()
    server.wait()


def main() -> None:
    """Start the service on a new database, call it, and see that a restart keeps what is there."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "school.db"
        server = start(database)
        try:
            check_students()
            check_courses()
            check_teachers()
            kept = want("GET", "/courses", 200)
        finally:
            stop(server)
        server = start(database)
        try:
            want("GET", "/courses", 200, kept)
        finally:
            stop(server)
        connection = sqlite3.connect(database)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    sys.stdout.write(f"{requests} requests answered as asked for\n")


if __name__ == "__main__":
    main()
