"""Who waits for whom, and what of the workspace each step works on."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from support.graphs import chart, graphs, step

from runner.plan.graph import Placement, ancestors, dependencies, is_linear, placements
from runner.plan.models import PlannedStep


def test_a_step_that_says_nothing_waits_for_the_one_before() -> None:
    """The first waits for none, `depends_on: []` for none either."""
    assert dependencies(chart("a b c: d:a,b")) == {"a": (), "b": ("a",), "c": (), "d": ("a", "b")}


@pytest.mark.parametrize(
    ("text", "linear"),
    [("a", True), ("a b c", True), ("a b:a c:a,b", True), ("a b:", False), ("a b:a c:a", False), ("a b c:a", False)],
)
def test_a_list_is_linear(text: str, linear: bool) -> None:  # noqa: FBT001  a parametrised expectation
    """Only where each step waits for the one before it can no two be under way at once."""
    assert is_linear(chart(text)) is linear


def _walk(steps: Sequence[PlannedStep], name: str) -> set[str]:
    """Find ancestors by walking, without any of what is tested."""
    place = next(i for i, one in enumerate(steps) if one.id == name)
    after = steps[place].depends_on
    near = (steps[place - 1].id,) if after is None and place else after or ()
    return set(near).union(*(_walk(steps, one) for one in near))


@given(graphs())
def test_ancestors_are_all_that_comes_before(steps: tuple[PlannedStep, ...]) -> None:
    """They are what one reaches by walking from dependency to dependency."""
    assert ancestors(steps) == {one.id: _walk(steps, one.id) for one in steps}


def _modes(steps: Sequence[PlannedStep]) -> dict[str, str]:
    return {
        name: f"{one.mode}{'*' if one.shared else ''} {one.block} {','.join(one.upstream)}".strip()
        for name, one in placements(steps).items()
    }


def test_a_list_works_on_the_one_workspace() -> None:
    """Steps in a row have the trunk, one after the other."""
    assert _modes(chart("a b c")) == {"a": "trunk 0", "b": "trunk 1", "c": "trunk 2"}


def test_branches_have_views_and_the_join_has_the_trunk() -> None:
    """Between two steps of the trunk is a block; a step further along a branch builds on the one before it."""
    found = _modes(chart("a b:a c:a d:b e:c,d f:e g:e"))
    assert found == {
        "a": "trunk 0",
        "b": "view 1",
        "c": "view 1",
        "d": "view 1 b",
        "e": "trunk 1 b,c,d",
        "f": "view 2",
        "g": "view 2",
    }


def test_readers_beside_each_other_need_no_copy() -> None:
    """Read-only steps read the trunk where nothing before them in the block changes anything, else a view."""
    read = {"workspace": "read-only"}
    assert _modes(chart("a b:a c:a d:b,c", b=read, c=read)) == {
        "a": "trunk 0",
        "b": "read 1",
        "c": "read 1",
        "d": "trunk 1",
    }
    assert _modes(chart("a: b: c:a", c=read)) == {"a": "view 0", "b": "view 0", "c": "view 0 a"}


def test_what_sees_no_workspace_is_beside_nobody() -> None:
    """Model calls, approvals and steps without a workspace leave the others the trunk; a call may read it."""
    none = {"workspace": "none"}
    changes = {"b": none, "c": {"kind": "model"}, "d": {"kind": "approval"}}
    assert _modes(chart("a b:a c:a d:a e:a", **changes)) == {
        "a": "trunk 0",
        "b": "none 1",
        "c": "none 1",
        "d": "none 1",
        "e": "trunk 1",
    }
    assert placements((step("a", 1, kind="model", workspace="read-only"),))["a"].mode == "trunk"


def test_shared_steps_are_side_by_side_on_the_trunk() -> None:
    """They are told from those that have it to themselves, and begin no new block for each other."""
    shared = {"workspace": "shared"}
    found = placements(chart("a b:a c:a d:b,c", b=shared, c=shared))
    assert found["b"] == found["c"] == Placement(mode="trunk", shared=True, block=1)
    assert found["d"] == Placement(mode="trunk", block=1)


@given(graphs(workspaces=("own", "read-only", "none", "shared")))
def test_no_two_steps_beside_each_other_write_to_the_same_place(steps: tuple[PlannedStep, ...]) -> None:
    """Whatever the graph: who writes to the trunk unshared has nobody beside it, and views are given what they build on."""
    found, before = placements(steps), ancestors(steps)
    for one in steps:
        mine = found[one.id]
        for other in steps:
            beside = one.id not in {other.id, *before[other.id]} and other.id not in before[one.id]
            if beside and mine.mode == "trunk" and not mine.shared:
                assert found[other.id].mode == "none"
        if mine.mode == "none":
            continue
        wanted = [
            two.id
            for two in steps
            if two.id in before[one.id]
            and found[two.id].block == mine.block
            and found[two.id].mode == "view"
            and two.workspace == "own"
        ]
        assert list(mine.upstream) == wanted


def test_a_thousand_steps_are_quick() -> None:
    """A thousand steps in groups that wait for all of the group before are analysed in well under a second."""
    steps = tuple(
        step(f"s{i}", i + 1, [f"s{j}" for j in range((i // 25 - 1) * 25, i // 25 * 25) if j >= 0]) for i in range(1000)
    )
    begun = time.process_time()
    found = placements(steps)
    assert time.process_time() - begun < 1.0
    assert len(found["s999"].upstream) == 975
