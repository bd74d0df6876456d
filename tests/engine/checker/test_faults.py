"""Faults planted in a correct application: the judge finds each of them, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

MAIN, DATABASE = "app/main.py", "app/database.py"
CHECK: dict[str, Any] = {
    "kind": "application",
    "timeout_seconds": 150,
    "health": ["/health"],
    "start": {"timeout": 60},
    "entities": [
        {
            "name": "teacher",
            "fields": {
                "name": {"examples": ["Ada Lovelace", "Alan Turing"]},
                "email": {"type": "email", "unique": True, "examples": ["ada@example.org"]},
            },
        },
        {
            "name": "course",
            "fields": {
                "title": {"examples": ["Logic"]},
                "credits": {"type": "integer", "examples": [5, 6], "invalid": [0, "many"]},
            },
            "relations": {
                "teacher": {"to": "teacher", "field": "teacher_id", "listed_at": "/teachers/{other}/courses"}
            },
        },
        {
            "name": "student",
            "fields": {"name": {}},
            "relations": {
                "courses": {
                    "to": "course",
                    "path": "/students/{id}/courses/{other}",
                    "listed_at": "/students/{id}/courses",
                }
            },
        },
    ],
}
WAITS: dict[str, dict[str, Any]] = {
    "it hangs before it listens": {"start": {"timeout": 6}},
    "it answers nothing": {"start": {"timeout": 18}},
    "one route hangs": {"timeout_seconds": 90},
}
"""What the check of an application that is waited for in vain has otherwise, so that it is not waited for long."""
ENTITIES = ("teacher", "course", "student")
BAD_DATA = {
    f"{entity}.create.{kind}.{field}"
    for entity, fields in (("teacher", ("name", "email")), ("course", ("title", "credits")), ("student", ("name",)))
    for field in fields
    for kind in ("missing", "invalid")
}


def all_deeds(*entities: str) -> set[str]:
    """Return the assertions that fail of entities of which nothing can be done."""
    return {f"{entity}.{deed}.valid" for entity in entities for deed in ("create", "read", "list", "update", "delete")}


MAKING = 'app = FastAPI(title="School", lifespan=lifespan)'
HANGING = f"""{MAKING}


@app.middleware("http")
async def hang(request, proceed):
    import time

    time.sleep(3600)
"""
STUMBLING = f"""{MAKING}

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse


@app.exception_handler(RequestValidationError)
async def stumble(request, error):
    return JSONResponse({{}}, status_code=500)
"""
PAGE = """    from fastapi.responses import HTMLResponse

    find(database, "students", key)
    return HTMLResponse("<p>a student</p>")


@app.put("/students/{key}")"""
FAULTS: dict[str, tuple[str, str, str, set[str]]] = {
    "a route is missing": (MAIN, '@app.delete("/courses/{key}", status_code=204)\n', "", {"course.delete.valid"}),
    "creating has no route": (MAIN, '@app.post("/students", status_code=201)\n', "", {"student.create.valid"}),
    "an entity has no routes": (MAIN, '"/students', '"/pupils', all_deeds("student")),
    "a status is wrong": (
        MAIN,
        '@app.post("/teachers", status_code=201)',
        '@app.post("/teachers")',
        {"teacher.create.status"},
    ),
    "an unknown one is read": (
        MAIN,
        'return find(database, "courses", key)\n\n\n@app.put',
        'return (rows(database, "SELECT * FROM courses WHERE id = ?", key) or [{}])[0]\n\n\n@app.put',
        {"course.read.unknown"},
    ),
    "a restart loses all": (
        DATABASE,
        'SCHEMA = """',
        'SCHEMA = """DROP TABLE IF EXISTS teachers; DROP TABLE IF EXISTS courses; DROP TABLE IF EXISTS students;',
        {f"{entity}.persist" for entity in ENTITIES},
    ),
    "it starts only once": (DATABASE, "TABLE IF NOT EXISTS students", "TABLE students", {"application.restart"}),
    "it crashes at its start": (
        MAIN,
        "class Body(",
        'raise RuntimeError("no")\n\n\nclass Body(',
        {"application.start", *all_deeds(*ENTITIES)},
    ),
    "it hangs before it listens": (
        MAIN,
        "    migrate()",
        "    import time\n\n    time.sleep(3600)",
        {"application.start", *all_deeds(*ENTITIES)},
    ),
    "it answers nothing": (MAIN, MAKING, HANGING, {"application.health", *all_deeds(*ENTITIES)}),
    "one route hangs": (
        MAIN,
        "def list_courses(database: Database) -> list[dict[str, object]]:",
        "def list_courses(database: Database) -> list[dict[str, object]]:\n    import time\n\n    time.sleep(3600)",
        {"course.list.valid"},
    ),
    "a request ends it": (
        MAIN,
        "def list_students(database: Database) -> list[dict[str, object]]:",
        "def list_students(database: Database) -> list[dict[str, object]]:\n    import os\n\n    os._exit(3)",
        {"student.list.valid"},
    ),
    "bad data is a server error": (MAIN, MAKING, STUMBLING, BAD_DATA),
    "bad data is taken": (MAIN, "credits: int = Field(ge=1, le=30)", "credits: int", {"course.create.invalid.credits"}),
    "a second one is taken": (
        DATABASE,
        "email TEXT NOT NULL UNIQUE",
        "email TEXT NOT NULL",
        {"teacher.create.duplicate.email"},
    ),
    "what is refused is kept": (
        MAIN,
        '        raise HTTPException(409, "email in use") from error',
        """        database.execute("INSERT INTO teachers (name, email) VALUES ('x', 'x@' || hex(randomblob(8)))")
        raise HTTPException(409, "email in use") from error""",
        {"teacher.refused.unchanged"},
    ),
    "a field is dropped": (
        MAIN,
        "return dict(row)\n",
        'return {name: value for name, value in dict(row).items() if name != "credits"}\n',
        {"course.field.credits"},
    ),
    "answers are no JSON": (
        MAIN,
        '    return find(database, "students", key)\n\n\n@app.put("/students/{key}")',
        PAGE,
        {"student.read.valid"},
    ),
    "deleting deletes nothing": (
        MAIN,
        "DELETE FROM courses WHERE id = ?",
        "DELETE FROM courses WHERE id = -?",
        {"course.delete.valid"},
    ),
    "an update is ignored": (
        MAIN,
        "UPDATE students SET name = ? WHERE id = ?",
        "UPDATE students SET name = coalesce(name, ?) WHERE id = ?",
        {"student.update.valid"},
    ),
    "a relation is not kept": (
        MAIN,
        "(body.title, body.credits, body.teacher_id)\n    )",
        "(body.title, body.credits, None)\n    )",
        {"course.relation.teacher.valid"},
    ),
    "a relation lists too much": (
        MAIN,
        "FROM courses WHERE teacher_id = ? ",
        "FROM courses WHERE teacher_id = ? OR 1 ",
        {"course.relation.teacher.listed"},
    ),
    "an unknown other is taken": (
        MAIN,
        "    if body.teacher_id is not None:\n",
        "    if body.teacher_id is None:\n        body.teacher_id = None\n    elif body.teacher_id < 0:\n",
        {"course.relation.teacher.unknown"},
    ),
    "a relation cannot be ended": (
        MAIN,
        "DELETE FROM enrolments WHERE student_id = ? AND",
        "DELETE FROM enrolments WHERE student_id = -? AND",
        {"student.relation.courses.parted"},
    ),
    "its health is elsewhere": (MAIN, '@app.get("/health")', '@app.get("/alive")', {"application.health"}),
}


def failed(verdict: dict[str, Any]) -> set[str]:
    """Return the ids of the assertions that failed."""
    return {one["id"] for one in verdict["assertions"] if one["verdict"] == "failed"}


def not_passed(verdict: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return what did not pass, to be shown."""
    return [(one["id"], one["verdict"], one["reason"]) for one in verdict["assertions"] if one["verdict"] != "passed"]


def test_correct_application_passes_everything(judge: Callable[..., dict[str, Any]]) -> None:
    """An application without a fault passes every assertion, and every request was answered."""
    verdict = judge("fastapi", CHECK)
    assert not_passed(verdict) == []
    assert len(verdict["assertions"]) == 59
    assert verdict["figures"]["requests_unanswered"] == 0
    assert verdict["application"]["rule"] == "1 fastapi object app.main:app"


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found_and_nothing_else(judge: Callable[..., dict[str, Any]], name: str) -> None:
    """Exactly the assertions about the fault fail, and each says why and shows what it saw."""
    file, old, new, expected = FAULTS[name]
    verdict = judge("fastapi", CHECK | WAITS.get(name, {}), (file, old, new))
    assert failed(verdict) == expected, not_passed(verdict)
    assert all(one["reason"] for one in verdict["assertions"] if one["verdict"] != "passed")
