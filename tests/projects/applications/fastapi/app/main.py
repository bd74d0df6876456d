"""A school's service."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from app.database import Database, migrate


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    migrate()
    yield


app = FastAPI(title="School", lifespan=lifespan)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Teacher(Body):
    name: str = Field(min_length=1, max_length=100)
    email: str = Field(pattern=r"^[^@ ]+@[^@ ]+\.[^@ ]+$")


class Course(Body):
    title: str = Field(min_length=1, max_length=200)
    credits: int = Field(ge=1, le=30)
    teacher_id: int | None = None


class Student(Body):
    name: str = Field(min_length=1, max_length=100)


def find(database: sqlite3.Connection, table: str, key: int, status: int = 404) -> dict[str, object]:
    row = database.execute(f"SELECT * FROM {table} WHERE id = ?", (key,)).fetchone()
    if row is None:
        raise HTTPException(status, f"not in {table}")
    return dict(row)


def rows(database: sqlite3.Connection, query: str, *values: object) -> list[dict[str, object]]:
    return [dict(row) for row in database.execute(query, values)]


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/teachers", status_code=201)
def create_teacher(body: Teacher, database: Database) -> dict[str, object]:
    try:
        made = database.execute("INSERT INTO teachers (name, email) VALUES (?, ?)", (body.name, body.email))
    except sqlite3.IntegrityError as error:
        raise HTTPException(409, "email in use") from error
    return find(database, "teachers", made.lastrowid)


@app.get("/teachers")
def list_teachers(database: Database) -> list[dict[str, object]]:
    return rows(database, "SELECT * FROM teachers ORDER BY id")


@app.get("/teachers/{key}")
def read_teacher(key: int, database: Database) -> dict[str, object]:
    return find(database, "teachers", key)


@app.put("/teachers/{key}")
def update_teacher(key: int, body: Teacher, database: Database) -> dict[str, object]:
    find(database, "teachers", key)
    database.execute("UPDATE teachers SET name = ?, email = ? WHERE id = ?", (body.name, body.email, key))
    return find(database, "teachers", key)


@app.delete("/teachers/{key}", status_code=204)
def delete_teacher(key: int, database: Database) -> None:
    find(database, "teachers", key)
    database.execute("DELETE FROM teachers WHERE id = ?", (key,))


@app.get("/teachers/{key}/courses")
def list_teacher_courses(key: int, database: Database) -> list[dict[str, object]]:
    find(database, "teachers", key)
    return rows(database, "SELECT * FROM courses WHERE teacher_id = ? ORDER BY id", key)


def checked(database: sqlite3.Connection, body: Course) -> Course:
    if body.teacher_id is not None:
        find(database, "teachers", body.teacher_id, 422)
    return body


@app.post("/courses", status_code=201)
def create_course(body: Course, database: Database) -> dict[str, object]:
    checked(database, body)
    made = database.execute(
        "INSERT INTO courses (title, credits, teacher_id) VALUES (?, ?, ?)", (body.title, body.credits, body.teacher_id)
    )
    return find(database, "courses", made.lastrowid)


@app.get("/courses")
def list_courses(database: Database) -> list[dict[str, object]]:
    return rows(database, "SELECT * FROM courses ORDER BY id")


@app.get("/courses/{key}")
def read_course(key: int, database: Database) -> dict[str, object]:
    return find(database, "courses", key)


@app.put("/courses/{key}")
def update_course(key: int, body: Course, database: Database) -> dict[str, object]:
    find(database, "courses", key)
    checked(database, body)
    database.execute(
        "UPDATE courses SET title = ?, credits = ?, teacher_id = ? WHERE id = ?",
        (body.title, body.credits, body.teacher_id, key),
    )
    return find(database, "courses", key)


@app.delete("/courses/{key}", status_code=204)
def delete_course(key: int, database: Database) -> None:
    find(database, "courses", key)
    database.execute("DELETE FROM courses WHERE id = ?", (key,))


@app.post("/students", status_code=201)
def create_student(body: Student, database: Database) -> dict[str, object]:
    made = database.execute("INSERT INTO students (name) VALUES (?)", (body.name,))
    return find(database, "students", made.lastrowid)


@app.get("/students")
def list_students(database: Database) -> list[dict[str, object]]:
    return rows(database, "SELECT * FROM students ORDER BY id")


@app.get("/students/{key}")
def read_student(key: int, database: Database) -> dict[str, object]:
    return find(database, "students", key)


@app.put("/students/{key}")
def update_student(key: int, body: Student, database: Database) -> dict[str, object]:
    find(database, "students", key)
    database.execute("UPDATE students SET name = ? WHERE id = ?", (body.name, key))
    return find(database, "students", key)


@app.delete("/students/{key}", status_code=204)
def delete_student(key: int, database: Database) -> None:
    find(database, "students", key)
    database.execute("DELETE FROM students WHERE id = ?", (key,))


@app.put("/students/{key}/courses/{course}", status_code=204)
def enrol(key: int, course: int, database: Database) -> None:
    find(database, "students", key)
    find(database, "courses", course)
    database.execute("INSERT INTO enrolments VALUES (?, ?)", (key, course))


@app.delete("/students/{key}/courses/{course}", status_code=204)
def leave(key: int, course: int, database: Database) -> None:
    database.execute("DELETE FROM enrolments WHERE student_id = ? AND course_id = ?", (key, course))


@app.get("/students/{key}/courses")
def list_student_courses(key: int, database: Database) -> list[dict[str, object]]:
    find(database, "students", key)
    query = "SELECT courses.* FROM courses JOIN enrolments ON course_id = id WHERE student_id = ? ORDER BY id"
    return rows(database, query, key)
