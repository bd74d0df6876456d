"""Replacing members of a request without touching the rest of its text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.gateway.jsontext import read_object, replace_members

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    before=st.dictionaries(st.text(max_size=4), JSON, max_size=6),
    changes=st.dictionaries(st.text(max_size=4), JSON, max_size=3),
    indent=st.sampled_from([None, 2]),
    plain=st.booleans(),
)
def test_replaced_object_is_what_a_dictionary_would_be(
    *, before: dict[str, Any], changes: dict[str, Any], indent: int | None, plain: bool
) -> None:
    """Whatever an object holds and however it is written, it reads as before, but for the changes."""
    data = json.dumps(before, indent=indent, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    body = read_object(data)
    assert body is not None
    assert body.values == before
    assert replace_members(body, {}) == data
    assert json.loads(replace_members(body, changes)) == before | changes


@pytest.mark.parametrize(
    "value", ["1.0", "1e400", "0.1000000000000000055511151231257827", "123456789012345678901234567890"]
)
def test_other_members_keep_their_bytes(value: str) -> None:
    """Numbers that no machine holds, escapes and spaces are sent as the framework wrote them."""
    data = f'{{ "n" : {value} , "model":"a", "t":"\\u00e9\\/", "deep": {{"x":{value}}} }}'.encode()
    body = read_object(data)
    assert body is not None
    assert replace_members(body, {"model": "b"}) == data.replace(b'"a"', b'"b"')
    assert replace_members(body, {"new": 1}) == data[:-1] + b',"new":1}'


def test_name_that_comes_twice_is_replaced_twice() -> None:
    """A provider that reads the first of two, and one that reads the last, get the same."""
    body = read_object(b'{"model":"a","model":"c"}')
    assert body is not None
    assert replace_members(body, {"model": "b"}) == b'{"model":"b","model":"b"}'


def test_empty_object_is_added_to() -> None:
    """An object without members gets its first."""
    body = read_object(b" { } ")
    assert body is not None
    assert replace_members(body, {"a": 1, "b": None}) == b' { "a":1,"b":null} '


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}{}",
        b"{} x",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b"{1:2}",
        b"\xff{}",
        b'{"a":' + b"[" * 100_000,
    ],
)
def test_what_is_no_object_is_none(data: bytes) -> None:
    """Broken text, anything but an object, and nesting without end are None, not an exception."""
    assert read_object(data) is None
