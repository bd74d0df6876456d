"""The database and its connections."""

import os
import sqlite3
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends

SCHEMA = """
CREATE TABLE IF NOT EXISTS teachers (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS courses (
    id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, credits INTEGER NOT NULL, teacher_id INTEGER REFERENCES teachers
);
CREATE TABLE IF NOT EXISTS students (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS enrolments (student_id INTEGER REFERENCES students, course_id INTEGER REFERENCES courses);
"""


def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(
        os.environ.get("DATABASE_PATH", "school.db"), check_same_thread=False, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    return connection


def migrate() -> None:
    connection = connect()
    connection.executescript(SCHEMA)
    connection.close()


def opened() -> Iterator[sqlite3.Connection]:
    connection = connect()
    try:
        yield connection
    finally:
        connection.close()


Database = Annotated[sqlite3.Connection, Depends(opened)]
