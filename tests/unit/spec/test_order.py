"""The order that a file gives its steps."""

from __future__ import annotations

from typing import Any

import pytest

from runner.spec.order import ancestors, cycle_in, groups_of, in_order, predecessors
from runner.spec.scenario import Step


def _step(name: str, **changes: Any) -> Step:
    return Step(id=name, prompt="Do.", **changes)


def test_a_list_is_one_after_the_other() -> None:
    """Steps that say nothing wait for the one before them, and a disabled one is passed over."""
    steps = (_step("a"), _step("b", enabled=False), _step("c"), _step("d"))
    assert predecessors(steps) == {"a": (), "c": ("a",), "d": ("c",)}


def test_a_group_stands_side_by_side_between_its_neighbours() -> None:
    """The steps of a group wait for what is before it, and what is after it waits for all of them."""
    steps = (_step("a"), _step("b", parallel_group="g"), _step("c", parallel_group="g"), _step("d"))
    assert predecessors(steps) == {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    assert groups_of(steps) == {"g": ("b", "c")}


def test_a_group_waits_for_the_group_before_it() -> None:
    """Two groups in a row are two stages."""
    steps = tuple(_step(name, parallel_group=name[0]) for name in ("x1", "x2", "y1", "y2"))
    assert predecessors(steps) == {"x1": (), "x2": (), "y1": ("x1", "x2"), "y2": ("x1", "x2")}


def test_what_a_step_says_counts() -> None:
    """Named steps and groups replace what is before a step; an empty list is nothing to wait for; a group is no barrier."""
    steps = (
        _step("a", parallel_group="g"),
        _step("b", parallel_group="g", depends_on=()),
        _step("c", depends_on=("b",)),
        _step("d", depends_on=("c", "g", "b")),
        _step("e", depends_on=()),
    )
    assert predecessors(steps) == {"a": (), "b": (), "c": ("b",), "d": ("a", "b", "c"), "e": ()}


def test_a_later_step_can_be_waited_for() -> None:
    """The order of the file is only what a step says nothing about."""
    steps = (_step("a", depends_on=("b",)), _step("b", depends_on=()))
    assert in_order(predecessors(steps)) == ["b", "a"]


@pytest.mark.parametrize(
    ("needed", "cycle"),
    [
        ({"a": [], "b": ["a"]}, ()),
        ({"a": ["a"]}, ("a",)),
        ({"x": [], "a": ["c", "x"], "b": ["a"], "c": ["b"], "d": ["c"]}, ("a", "c", "b")),
    ],
)
def test_a_cycle_is_found_member_by_member(needed: dict[str, list[str]], cycle: tuple[str, ...]) -> None:
    """Only the steps of the cycle are named, each before the one it waits for."""
    assert cycle_in(needed) == cycle


def test_ancestors_go_all_the_way_back() -> None:
    """Everything that has to end before a step is its ancestor, and a cycle ends the search."""
    assert ancestors({"a": [], "b": ["a"], "c": ["b"], "d": []})["c"] == {"a", "b"}
    assert ancestors({"a": ["b"], "b": ["a"]})["a"] == {"a", "b"}
