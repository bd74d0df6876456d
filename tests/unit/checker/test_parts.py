"""Small parts of the judge: names of paths, values to send, answers read fairly, libraries that are missing, the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge import answers, missing, openapi, routes
from judge.asked import Entity, Field
from judge.clock import Clock, OutOfTime
from judge.refusals import unknown
from judge.report import MOST_ASSERTIONS, MOST_FINDINGS, Report, write
from judge.values import Values

STUDENT = Entity(name="student", fields=(Field(name="name", type="text"),))


@pytest.mark.parametrize(
    ("word", "many"),
    [("student", "students"), ("category", "categories"), ("day", "days"), ("class", "classes"), ("box", "boxes")],
)
def test_plurals_follow_the_regular_rules(word: str, many: str) -> None:
    """A word's plural is the one that a path would have."""
    assert routes.plural(word) == many


def test_names_of_an_entity_are_those_of_paths() -> None:
    """Words are joined by hyphens, underscores or nothing, plural before singular."""
    assert routes.names("orderItem")[:4] == ("order-items", "order_items", "orderitems", "order-item")
    assert routes.candidates("student")[:3] == ("/students", "/api/students", "/api/v1/students")


def described(*paths: tuple[str, str]) -> tuple[openapi.Route, ...]:
    """Return routes as a description gives them: path, and methods separated by spaces."""
    body = {"openapi": "3.1.0", "paths": {path: {one: {} for one in methods.split()} for path, methods in paths}}
    return openapi.routes(body) or ()


def test_entity_is_found_in_a_description() -> None:
    """The collection that creates is chosen, with the form of its records' paths and what may be done there."""
    known = described(
        ("/teachers/{id}/students", "get"),
        ("/students", "get"),
        ("/api/student/", "get post"),
        ("/api/student/{student_id}", "get patch"),
        ("/health", "get"),
    )
    place = routes.described("student", known)
    assert place is not None
    assert (place.collection, place.item) == ("/api/student/", "/api/student/{id}")
    assert place.item_methods == frozenset({"GET", "PATCH"})
    assert routes.described("course", known) is None


def test_declared_path_is_the_only_one() -> None:
    """With a declared path a route of the right name elsewhere does not count; a slash at the end does not matter."""
    known = described(("/api/students", "get post"), ("/people/", "get post"))
    place = routes.described("student", known, "/people")
    assert place is not None
    assert place.collection == "/people/"
    assert routes.described("student", known, "/students") is None


def test_description_tells_what_a_new_record_needs() -> None:
    """Required fields of the schema behind a reference come with a value that fits."""
    schema = {
        "required": ["name", "age", "email"],
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 18},
            "email": {"format": "email"},
        },
    }
    body = {
        "openapi": "3.0.0",
        "components": {"schemas": {"S": schema}},
        "paths": {
            "/students": {
                "post": {
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/S"}}}}
                }
            }
        },
    }
    place = routes.described("student", openapi.routes(body) or ())
    assert place is not None
    assert dict(place.asks_for) == {"name": "text", "age": 18, "email": "someone@example.org"}


@pytest.mark.parametrize("body", [None, [], {"paths": {}}, {"openapi": "3", "paths": []}, "text", {"openapi": 1}])
def test_what_is_no_description_is_none(body: Any) -> None:
    """Any other JSON is not taken for a description."""
    assert openapi.routes(body) is None


@pytest.mark.parametrize(
    ("sent", "got", "alike"),
    [
        (" Ada ", "ada", True),
        ("Ada", "Adam", False),
        (5, 5.0, True),
        (5, "5", True),
        (5, 6, False),
        (5, "five", False),
        (5, None, False),
        (True, 1, True),
        (True, False, False),
        (True, "yes", False),
        ("2024-01-15", "2024-01-15T00:00:00", True),
        ("2024-01-15T10:30:00", "2024-01-15T10:30:00.000000Z", True),
        ("2024-01-15", "2024-01-16", False),
        ([1, "A"], [1, "a"], True),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False),
    ],
)
def test_values_are_compared_by_what_they_mean(sent: Any, got: Any, alike: bool) -> None:  # noqa: FBT001  # a table
    """How a value is written does not count, what it says does."""
    assert answers.same(sent, got) is alike


@pytest.mark.parametrize(
    "body",
    [
        [{"id": 1}],
        {"students": [{"id": 1}], "total": 1},
        {"data": [{"id": 1}], "errors": []},
        {"data": {"students": [{"id": 1}]}},
        {"anything": [{"id": 1}]},
    ],
)
def test_list_is_found_in_its_envelope(body: Any) -> None:
    """A list counts wherever frameworks put it."""
    assert answers.records(body, routes.names("student")) == [{"id": 1}]


@pytest.mark.parametrize("body", [None, 3, "text", {"a": 1}, {"a": [1], "b": [2]}])
def test_what_is_no_list_is_none(body: Any) -> None:
    """An answer without a list, or with several that nobody can tell apart, is none."""
    assert answers.records(body, routes.names("student")) is None


def test_record_and_identifier_are_found_in_an_envelope() -> None:
    """The one object that looks like the record is it; its identifier may have a usual name."""
    assert answers.record({"student": {"id": 4, "name": "x"}, "ok": True}, STUDENT) == {"id": 4, "name": "x"}
    assert answers.record({"message": "x"}, STUDENT) is None
    assert answers.identifier({"student_id": 7}, STUDENT) == 7
    assert answers.identifier({"id": True, "_id": "a1"}, STUDENT) == "a1"


def test_examples_come_first_and_unique_values_once() -> None:
    """Examples are used in their order; beyond them a unique value is made like the first, another one not."""
    code = Field(name="code", type="text", unique=True, examples=("CS101", "MA202"))
    level = Field(name="level", type="integer", examples=(1, 2))
    values = Values(Entity(name="course", fields=(code, level)), "7")
    found = [values.valid() for _ in range(6)]
    assert [one["code"] for one in found[:2]] == ["CS101", "MA202"]
    assert len({one["code"] for one in found}) == 6
    assert all(one["code"][:2] == "CS" and one["code"][2:].isdigit() for one in found[2:])
    assert [one["level"] for one in found] == [1, 2, 1, 2, 1, 2]
    again = Values(Entity(name="course", fields=(code, level)), "7")
    assert [again.valid() for _ in range(6)] == found


@pytest.mark.parametrize("kind", ["text", "integer", "number", "boolean", "date", "datetime", "email", "list"])
def test_every_type_has_a_value_another_and_a_wrong_one(kind: str) -> None:
    """Without examples each type has a valid value, a different one to change it to, and one to be refused."""
    field = Field(name="it", type=kind)
    values = Values(Entity(name="thing", fields=(field,)), "1")
    first = values.valid()
    assert not answers.same(first["it"], values.changed(first)["it"])
    (wrong,) = values.wrong(field)
    assert not answers.same(first["it"], wrong)


def test_unknown_identifier_has_the_form_of_a_known_one() -> None:
    """A number stays one of 32 bits, a UUID a UUID, anything else a text."""
    assert unknown(3) == 1_000_000_010
    assert unknown("12") < 2**31
    known = "6f1c0a52-7a51-4b0e-9d0e-3a8b6f1f8a11"
    assert len(unknown(known)) == 36
    assert unknown(known) != known
    assert unknown("abc") == "no-such-one"


def test_missing_library_is_told_from_the_applications_own_mistake(tree: Callable[[dict[str, str]], Path]) -> None:
    """Only what a list of requirements names, and neither the workspace nor Python has, is a missing library."""
    workspace = tree(
        {
            "requirements.txt": "fastapi\nmodels\nPassLib[bcrypt]>=1.7\n",
            "pyproject.toml": 'dependencies = [\n  "python-jose==3",\n]\n',
            "package.json": '{"dependencies": {"fastify": "^5"}}',
            "app/models.py": "",
        }
    )
    assert missing.named("x\nModuleNotFoundError: No module named 'passlib.hash'\n") == "passlib.hash"
    assert missing.named("Error: Cannot find module 'fastify'\nRequire stack") == "fastify"
    assert missing.named("Error: Cannot find module './own'") is None
    found = {
        name: missing.is_foreign(workspace, name)
        for name in ("passlib.hash", "jose", "fastify", "app.x", "models", "zlib", "other")
    }
    assert found == {
        "passlib.hash": True,
        "jose": True,
        "fastify": True,
        "app.x": False,
        "models": False,
        "zlib": False,
        "other": False,
    }


def test_nothing_passes_that_nobody_said() -> None:
    """An assertion is unjudged until somebody says otherwise; closing gives it a reason and leaves the others alone."""
    report = Report()
    report.expect("a", "start")
    report.expect("b", "start")
    report.passed("b")
    report.passed("never announced")
    report.close("no time")
    content = report.content({})
    assert [(one["id"], one["verdict"], one["reason"]) for one in content["assertions"]] == [
        ("a", "unjudged", "no time"),
        ("b", "passed", ""),
    ]


def test_report_is_bounded(tmp_path: Path) -> None:
    """Beyond 2,000 assertions and 500 findings nothing is taken; the same finding is taken once; reasons are cut."""
    report = Report()
    for number in range(MOST_ASSERTIONS + 10):
        report.expect(f"a{number}", "start")
        report.failed(f"a{number}", "x" * 5000)
    for number in range(MOST_FINDINGS + 10):
        report.find("ruff", "E1", "same", line=number // 2)
    content = report.content({})
    assert len(content["assertions"]) == MOST_ASSERTIONS
    assert len(content["findings"]) == (MOST_FINDINGS + 10) // 2
    assert len(content["assertions"][0]["reason"]) == 1000
    write(tmp_path / "checks.json", content)
    assert [path.name for path in tmp_path.iterdir()] == ["checks.json"]


def test_clock_keeps_time_for_the_verdict() -> None:
    """Five seconds at least are kept back; when the rest is used up, asking for more raises."""
    assert 94 < Clock(100).left() <= 95
    assert Clock(100).share(3) == 3
    with pytest.raises(OutOfTime):
        _exhausted().left()


def _exhausted() -> Clock:
    clock = Clock(1)
    clock._end -= 10
    return clock


def test_made_values_do_not_repeat() -> None:
    """Of a form with nine values all nine are given, and no example among them, before one comes twice."""
    code = Field(name="code", type="text", unique=True, examples=("C0",))
    values = Values(Entity(name="course", fields=(code,)), "7")
    assert len({values.made(code) for _ in range(9)}) == 9
