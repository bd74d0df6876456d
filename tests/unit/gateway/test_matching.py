"""Requests are the same when nothing but what may differ differs, and a difference is said in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import question

from runner.gateway.matching import MAY_DIFFER, Request, difference, nearest, normalise

PATH = "/v1/chat/completions"


def _of(body: Any, *names: str) -> Request:
    return normalise(PATH, json.dumps(body).encode(), names)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("at 2026-01-31T12:00:00Z", "at 2027-11-01T02:13:10.123+01:00"),
        ("-rw-r--r-- 1 root 12 Nov 21 05:36 a.py", "-rw-r--r-- 1 root 12 Dec  3  2025 a.py"),
        ("Sat Nov 21 05:36:50 UTC", "Sun Feb  1 15:00:01 UTC"),
        ("[21/Nov/2026 05:36:50] GET", "[01/Feb/2027 15:00:01] GET"),
        ("2 passed in 0.03s", "2 passed in 1.4s"),
        ("took 12 ms", "took 9 ms"),
        ("<object at 0x7f00deadbeef>", "<object at 0x7fffcafe0012>"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-0000-0000-0000-000000000000"),
        ("wrote /tmp/tmpab12cd34/x", "wrote /tmp/tmp_0z9y8x7/x"),
        ("12:00:00 started", "13:01:59,123 started"),
    ],
)
def test_what_changes_from_run_to_run(one: str, two: str) -> None:
    """Moments, lengths of time, addresses, UUIDs and temporary names do not make another request."""
    assert _of(question(one)).key == _of(question(two)).key


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("write a file", "write two files"),
        ("port 8000", "port 8001"),
        ("version 1.2.3", "version 1.2.4"),
        ("exit code 0", "exit code 1"),
        ("ratio 3:4", "ratio 4:3"),
        ("/tmp/output", "/tmp/outputs"),
    ],
)
def test_what_is_another_request(one: str, two: str) -> None:
    """Everything else does."""
    assert _of(question(one)).key != _of(question(two)).key


@pytest.mark.parametrize("name", sorted(MAY_DIFFER))
def test_members_that_may_differ(name: str) -> None:
    """Names and labels at the top of a body do not count; the same name deeper in it does."""
    assert _of({**question("a"), name: "x"}).key == _of({**question("a"), name: {"y": 1}}).key
    assert _of({"tools": [{name: "x"}]}).key != _of({"tools": [{name: "y"}]}).key


def test_the_runs_own_names() -> None:
    """A run's id is the same thing in its own requests as another's in another's."""
    one = _of(question("in build-r1-aaaa"), "build-r1-aaaa")
    assert one.key == _of(question("in build-r1-bbbb"), "build-r1-bbbb").key
    assert one.key != _of(question("in build-r1-bbbb"), "build-r1-aaaa").key


def test_the_order_of_members_does_not_count() -> None:
    """JSON's members have no order, its lists do; the query of a path does not count, the path does."""
    assert _of({"a": 1, "b": 2}).key == _of({"b": 2, "a": 1}).key
    assert _of({"a": [1, 2]}).key != _of({"a": [2, 1]}).key
    assert normalise(f"{PATH}?x=1", b"{}", []).key == normalise(PATH, b"{}", []).key
    assert normalise("/v1/responses", b"{}", []).key != normalise(PATH, b"{}", []).key


def test_bodies_that_are_no_json() -> None:
    """Any bytes have a key: what is no JSON, or nested beyond reason, is compared as text."""
    deep = b"[" * 100_000 + b"]" * 100_000
    keys = {normalise(PATH, body, []).key for body in (b"", b"\xff\xfe", b"text", deep, b"[" * 400 + b"]" * 400)}
    assert len(keys) == 5


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_request_does_not_differ_from_itself(body: Any) -> None:
    """Whatever a request is, reading it again gives the same key and no difference."""
    one, two = _of(body), _of(body)
    assert one.key == two.key
    assert difference(one, two) == ""


def test_a_difference_in_words() -> None:
    """The first value that differs is named with its path and both sides around the place, cut where they are long."""
    old, new = question("x" * 500 + " old " + "y" * 500), question("x" * 500 + " new " + "y" * 500)
    words = difference(_of(old), _of(new))
    assert words.startswith("messages[0].content is ...x")
    assert " old yyy" in words
    assert " new yyy" in words
    assert len(words) < 300


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"a": 1}, {"a": 2}, "a is 1, and here 2"),
        ({"a": 1}, {"a": 1, "b": [True]}, "b[0] is absent, and here true"),
        ({"a": 1, "b": {}}, {"a": 1}, "b is {}, and here absent"),
        ("text", {"a": 1}, "a is absent, and here 1"),
        ("one", "two", 'the body is "one", and here "two"'),
    ],
)
def test_differences_of_each_kind(old: Any, new: Any, words: str) -> None:
    """A value that changed, came or went is told apart."""
    assert difference(_of(old), _of(new)) == words


def test_another_path_is_the_difference() -> None:
    """A call of another kind is told by its path."""
    words = difference(normalise("/v1/a", b"{}", []), normalise("/v1/b", b"{}", []))
    assert words == "its path is /v1/a, and here /v1/b"


def test_the_nearest() -> None:
    """Of several requests the one with most values in common is nearest; of none there is none."""
    others = [_of({"a": 1}), _of({"a": 1, "b": 2, "c": 3}), _of({"z": 1})]
    assert nearest(_of({"a": 1, "b": 2, "c": 4}), others) == 1
    assert nearest(_of({}), []) is None
