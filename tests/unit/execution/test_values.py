"""What values are as bytes, as what a template sees, and where a step's inputs come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_world import World

from runner.evidence.layout import RunLayout
from runner.evidence.records import StepRecord
from runner.execution.step import skip_step
from runner.execution.values import Unusable, Value, Values, inputs_of, keep_values, make_value, read_value
from runner.plan.models import PlannedInput, PlannedStep
from runner.spec.scenario import ValueType

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _writable(content: object) -> bool:
    return "\\ud" not in json.dumps(content)


@given(_JSON.filter(_writable))
def test_what_is_written_is_read_again(content: object) -> None:
    """Any JSON value comes back from its bytes as it was, and the bytes are one line with an end."""
    value = make_value("x", content, "json", "x")
    assert value.content == content
    assert value.data.endswith(b"\n")
    assert json.loads(value.data) == content


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text", "a\r\nb \u00e9"),
        ("number", 3),
        ("number", 2.5),
        ("boolean", True),
        ("list", [1, "a"]),
        ("object", {"a": [None]}),
    ],
)
def test_each_type_takes_its_own(kind: ValueType, content: object) -> None:
    """A value of each type comes back as it was."""
    assert make_value("x", content, kind, "x").content == content


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text", 3),
        ("number", True),
        ("number", "3"),
        ("number", float("inf")),
        ("boolean", 1),
        ("list", {"a": 1}),
        ("object", [1]),
        ("json", float("nan")),
        ("text", "\ud800"),
        ("json", ["\ud800"]),
        ("text", "x" * (1024**2 + 1)),
    ],
)
def test_what_does_not_fit_is_refused(kind: ValueType, content: object) -> None:
    """A value of another type, one that JSON or UTF-8 cannot write, or a huge one is refused by name."""
    with pytest.raises(Unusable, match="input `x`"):
        make_value("x", content, kind, "input `x`")


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("text", b"ab\xff", "not UTF-8 from its byte 3 on"),
        ("number", b"four", "has to be a number, and is no JSON"),
        ("number", b"NaN", "is no JSON"),
        ("number", b"1e999", "has to be a number"),
        ("list", b'{"a": 1}', 'has to be a list, not {"a": 1}'),
        ("json", b"[" * 100_000, "is no JSON"),
        ("number", b"9" * 5000, "is no JSON"),
    ],
)
def test_bytes_that_mean_something_else_are_refused(kind: ValueType, data: bytes, words: str) -> None:
    """Whatever a framework wrote in place of a value ends in a sentence, not in an error of ours."""
    with pytest.raises(Unusable) as caught:
        read_value(data, kind, "output `x`")
    assert words in str(caught.value)


@pytest.fixture
def values(world: World) -> Values:
    """Return the values of a run in which step `begin` gave `app`, `count` and `raw`."""
    run = world.run
    layout = RunLayout(world.output / "run")
    made = [
        Value(name="app", type="text", data=b"shop"),
        make_value("count", [1, 2], "list", "count"),
        Value(name="raw", type="file", data=b"\xff\x00"),
    ]
    kept = keep_values(layout.step(1).given, made, "outputs")
    record = _record(world).model_copy(update={"outcome": "passed", "outputs": kept})
    return Values(layout, run, {"begin": record})


def _record(world: World) -> StepRecord:
    return skip_step(world.run, world.run.steps[0], "").record


def _step(world: World, *inputs: dict[str, Any]) -> PlannedStep:
    return world.run.steps[1].model_copy(update={"inputs": tuple(PlannedInput(**one) for one in inputs)})


def test_inputs_come_from_all_sources(world: World, values: Values, tmp_path: Path) -> None:
    """An earlier step, several of them, the workspace, the experiment and the scenario itself all give values."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "notes.md").write_text("note")
    step = _step(
        world,
        {"name": "a", "source": "step", "step": "begin", "output": "app", "type": "text"},
        {"name": "b", "source": "steps", "steps": ("begin", "gone"), "output": "count", "type": "list"},
        {"name": "c", "source": "workspace", "workspace": "sub/notes.md", "type": "text"},
        {"name": "d", "source": "experiment", "experiment": "repetition", "type": "number"},
        {"name": "e", "source": "value", "value": {"k": [True]}},
        {"name": "f", "source": "step", "step": "begin", "output": "raw", "type": "file"},
        {"name": "g", "source": "step", "step": "begin", "output": "count", "type": "json"},
        {"name": "h", "source": "value", "value": [1], "type": "file"},
        {"name": "i", "source": "step", "step": "begin", "output": "app", "type": "json"},
    )
    found = {one.name: one.data for one in inputs_of(step, values, tmp_path)}
    assert found == {
        "a": b"shop",
        "b": b"[[1, 2]]\n",
        "c": b"note",
        "d": b"1\n",
        "e": b'{"k": [true]}\n',
        "f": b"\xff\x00",
        "g": b"[1, 2]\n",
        "h": b"[1]\n",
        "i": b'"shop"\n',
    }


@pytest.mark.parametrize("how", ["link", "folder link", "outside", "missing", "folder"])
def test_the_workspace_is_not_left(world: World, values: Values, tmp_path: Path, how: str) -> None:
    """A path that is a link, lies behind one, is no file or is not there gives a sentence with its name."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x").write_text("secret")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    paths = {"link": "x", "folder link": "deep/x", "outside": "../secret/x", "missing": "none", "folder": "."}
    (workspace / "x").symlink_to(secret / "x")
    (workspace / "deep").symlink_to(secret)
    step = _step(world, {"name": "a", "source": "workspace", "workspace": paths[how], "type": "text"})
    with pytest.raises(Unusable, match="input `a`"):
        inputs_of(step, values, workspace)


def test_a_kept_value_that_was_changed_is_not_used(world: World, values: Values) -> None:
    """A kept output whose bytes are not those of the record is refused, as is one that has gone."""
    step = _step(world, {"name": "a", "source": "step", "step": "begin", "output": "app", "type": "text"})
    kept = values.layout.step(1).given / "app"
    kept.write_bytes(b"other")
    with pytest.raises(Unusable, match="is not what was recorded"):
        inputs_of(step, values, None)
    kept.unlink()
    with pytest.raises(Unusable, match="cannot be read"):
        inputs_of(step, values, None)


def test_an_input_of_another_type_is_refused(world: World, values: Values) -> None:
    """A step that wants a number and is given a text fails with both types in the sentence."""
    step = _step(world, {"name": "a", "source": "step", "step": "begin", "output": "app", "type": "number"})
    with pytest.raises(Unusable, match='has to be a number, not "shop"'):
        inputs_of(step, values, None)
