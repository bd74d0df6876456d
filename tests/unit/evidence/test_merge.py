"""Changes of branches come together as a model of plain values says, or exclude each other where it does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from support.trees import SCRIPTS, Edit, Model, Thing, edited, parents, read_back, write_out

from runner.evidence.applying import apply
from runner.evidence.copying import copy_tree
from runner.evidence.merge import Changes, changed_paths, conflicts, same_bytes, settle, without
from runner.evidence.tree import scan

Results = Mapping[bytes, Thing | None]


def results_of(before: Model, after: Model) -> Results:
    """Return what a branch changed, as the model sees it."""
    return {path: after.get(path) for path in {*before, *after} if before.get(path) != after.get(path)}


def exclude(one: Results, other: Results) -> set[bytes]:
    """Return the paths where two branches exclude each other, as the model sees it."""
    found = {path for path in one.keys() & other.keys() if one[path] != other[path]}
    for first, second in ((one, other), (other, one)):
        found |= {
            path
            for path, thing in second.items()
            if thing is not None and any(parent in first and not _folder(first[parent]) for parent in parents(path))
        }
    return found


def _folder(thing: Thing | None) -> bool:
    return thing is not None and thing.kind == "folder"


def branch(root: Path, trunk: Path, index: int, after: Model) -> Changes:
    """Return the changes of a step that works on a copy of the trunk until that is what the model says."""
    copy = root / f"branch-{index}"
    copy_tree(trunk, copy)
    before = scan(copy)
    write_out(copy, after)
    found = scan(copy).entries
    paths = changed_paths(before.entries, found, lambda path: same_bytes(trunk, copy, path))
    return Changes(step=f"s{index}", index=index, root=copy, paths=paths, after=found)


def _collide(changes: Sequence[Changes]) -> set[bytes]:
    found = conflicts(changes, lambda _, __: True, lambda one, other, path: same_bytes(one.root, other.root, path))
    return {one.path for one in found}


@settings(max_examples=150, deadline=None)
@given(SCRIPTS, st.lists(SCRIPTS, min_size=2, max_size=3))
def test_merge_is_what_the_model_says(base: list[Edit], scripts: list[list[Edit]]) -> None:
    """Branches that do not exclude each other come together whatever their order; the others are named path by path."""
    with tempfile.TemporaryDirectory() as folder:
        root, model = Path(folder), edited({}, base)
        (root / "trunk").mkdir()
        write_out(root / "trunk", model)
        models = [edited(model, script) for script in scripts]
        changes = [branch(root, root / "trunk", index, one) for index, one in enumerate(models, start=1)]
        results = [results_of(model, one) for one in models]
        assert [set(one.paths) for one in changes] == [set(one) for one in results]
        expected: set[bytes] = set()
        for one, other in combinations(results, 2):
            expected |= exclude(one, other)
        assert _collide(changes) == expected
        if expected:
            return
        merged = dict(model)
        for one in results:
            merged |= {path: thing for path, thing in one.items() if thing is not None}
            merged = {path: thing for path, thing in merged.items() if one.get(path, thing) is not None}
        for number, order in enumerate(permutations(changes)):
            again = [Changes(**{**vars(one), "index": index}) for index, one in enumerate(order)]
            copy_tree(root / "trunk", root / f"merged-{number}")
            apply(root / f"merged-{number}", settle(again), move=False)
            assert read_back(root / f"merged-{number}") == merged
        apply(root / "trunk", settle(changes), move=True)
        assert read_back(root / "trunk") == merged


@settings(max_examples=60, deadline=None)
@given(SCRIPTS, SCRIPTS, SCRIPTS)
def test_a_later_step_prevails_over_one_it_knew(base: list[Edit], first: list[Edit], second: list[Edit]) -> None:
    """Changes of a step and of one after it come to what the later one left."""
    with tempfile.TemporaryDirectory() as folder:
        root, model = Path(folder), edited({}, base)
        (root / "trunk").mkdir()
        write_out(root / "trunk", model)
        one = branch(root, root / "trunk", 1, edited(model, first))
        copy_tree(root / "trunk", root / "view")
        apply(root / "view", settle([one]), move=False)
        assert read_back(root / "view") == edited(model, first)
        two = branch(root, root / "view", 2, edited(edited(model, first), second))
        apply(root / "trunk", settle([two, one]), move=True)
        assert read_back(root / "trunk") == edited(edited(model, first), second)


@settings(max_examples=100, deadline=None)
@given(SCRIPTS, SCRIPTS, SCRIPTS)
def test_what_excludes_each_other_is_left_alone(base: list[Edit], first: list[Edit], second: list[Edit]) -> None:
    """With conflicts left out everything else is merged, and at and below a disputed path the tree is what it was."""
    with tempfile.TemporaryDirectory() as folder:
        root, model = Path(folder), edited({}, base)
        (root / "trunk").mkdir()
        write_out(root / "trunk", model)
        models = [edited(model, script) for script in (first, second)]
        changes = [branch(root, root / "trunk", index, one) for index, one in enumerate(models, start=1)]
        found = conflicts(changes, lambda _, __: True, lambda one, other, path: same_bytes(one.root, other.root, path))
        disputed = {one.sides[0][1] for one in found}
        apply(root / "trunk", without(settle(changes), found), move=True)
        now = read_back(root / "trunk")
        one, other = (results_of(model, one) for one in models)
        for path in {*now, *model, *one, *other}:
            if {path, *parents(path)} & disputed:
                assert now.get(path) == model.get(path)
            else:
                assert now.get(path) == {path: model.get(path), **one, **other}[path]


@settings(max_examples=100, deadline=None)
@given(SCRIPTS, SCRIPTS, SCRIPTS)
def test_the_later_state_prevails(base: list[Edit], first: list[Edit], second: list[Edit]) -> None:
    """Where changes that exclude each other are settled, all of the later step's are there, and the tree is sound."""
    with tempfile.TemporaryDirectory() as folder:
        root, model = Path(folder), edited({}, base)
        (root / "trunk").mkdir()
        write_out(root / "trunk", model)
        models = [edited(model, script) for script in (first, second)]
        changes = [branch(root, root / "trunk", index, one) for index, one in enumerate(models, start=1)]
        apply(root / "trunk", settle(changes), move=True)
        now = read_back(root / "trunk")
        for path, thing in results_of(model, models[1]).items():
            assert now.get(path) == thing or (thing is None and any(one.startswith(path + b"/") for one in now))
