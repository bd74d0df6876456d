"""Steps beside each other work on views of their own, whose changes are merged, and a line of steps pays nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.course import Course, Edit, record_of, steps_of
from support.fake_world import World
from support.history_world import picture
from support.layers import like_layers, unpacked

from runner.errors import EngineError
from runner.evidence.history.oci import read_base
from runner.evidence.tree import scan
from runner.execution.workspaces import MergeConflict
from runner.plan.models import PlannedRetry

Begin = Callable[..., Course]


@pytest.fixture
def begin(world: World) -> Iterator[Begin]:
    """Return what begins a run of given steps."""
    with ExitStack() as stack:

        def start(*shapes: tuple[str, tuple[str, ...]], **changes: dict[str, Any]) -> Course:
            course = Course(world, steps_of(world.run, *shapes, **changes))
            stack.enter_context(course.places)
            return course

        yield start


def write(name: str, text: str = "x") -> Edit:
    """Return an edit that writes a file."""

    def edit(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    return edit


def remove(name: str) -> Edit:
    """Return an edit that removes a file."""
    return lambda root: (root / name).unlink()


def names(folder: Path) -> list[str]:
    """Return what is in a folder, sorted."""
    return sorted(one.name for one in folder.iterdir())


DIAMOND = (("a", ()), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c")))


def test_a_line_of_steps_works_in_one_place(begin: Begin, tmp_path: Path) -> None:
    """Steps after each other have one workspace, one state and one volume, and nothing is copied."""
    course = begin(("a", ()), ("b", ("a",)))
    for name in "ab":
        place = course.play(name, write(name))
        assert (place.workspace, place.state, place.read_only) == (course.trunk, course.layout.state, False)
        assert len(course.volumes) == 1
        assert not course.layout.views.exists()
    assert course.places.finish() is None
    course.check(tmp_path)


def test_branches_are_merged_where_they_join(begin: Begin, tmp_path: Path) -> None:
    """Two steps beside each other see what came before both, not each other; the one after both sees all of it."""
    course = begin(*DIAMOND)
    course.play("a", write("base"), write("gone"), write("both", "same"))
    b, c = course.enter("b"), course.enter("c")
    assert len({b.workspace, c.workspace, course.trunk}) == 3
    assert len({b.state, c.state, course.layout.state}) == 3
    assert len(course.volumes) == 3
    assert b.workspace is not None
    assert c.workspace is not None
    write("from-b")(b.workspace)
    write("both", "twice")(b.workspace)
    remove("gone")(b.workspace)
    write("home/b")(b.state)
    write("deep/from-c")(c.workspace)
    write("both", "twice")(c.workspace)
    write("home/c")(c.state)
    course.leave("c", c)
    course.leave("b", b)
    assert names(course.trunk) == ["base", "both", "gone"]
    d = course.enter("d")
    assert d.workspace == course.trunk
    assert names(course.trunk) == ["base", "both", "deep", "from-b"]
    assert names(d.state / "home") == ["b", "c"]
    course.leave("d", d)
    assert {name: one.numbers for name, one in course.kept.items()} == {
        "a": (1,),
        "b": (1, 2),
        "c": (1, 3),
        "d": (1, 2, 3, 4),
    }
    assert (course.kept["d"].added, course.kept["d"].changed, course.kept["d"].removed) == (0, 0, 0)
    assert sorted(read_base(course.layout.history, course.kept["d"]).nodes) == [
        b"base",
        b"both",
        b"deep",
        b"deep/from-c",
        b"from-b",
    ]
    assert course.places.finish() is None
    assert not course.layout.views.exists()
    assert course.notes == []
    course.check(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "paths"),
    [
        (write("shared", "one"), write("shared", "two"), ("shared",)),
        (remove("old"), write("old", "changed"), ("old",)),
        (lambda root: shutil.rmtree(root / "folder"), write("folder/new"), ("folder/new",)),
        (lambda root: (root / "old").chmod(0o755), write("old", "changed"), ("old",)),
    ],
)
def test_what_excludes_each_other_fails_the_step_that_needs_both(
    begin: Begin, tmp_path: Path, first: Edit, second: Edit, paths: tuple[str, ...]
) -> None:
    """Neither side overwrites the other: the join is refused with both sides named and kept; at the end the rest comes."""
    course = begin(*DIAMOND)
    course.play("a", write("old", "old"), write("folder/inside"))
    found = picture(course.trunk)
    course.play("b", first, write("fine-b"))
    course.play("c", second, write("fine-c"))
    with pytest.raises(MergeConflict) as caught:
        course.enter("d")
    assert caught.value.paths == paths
    assert "b: " in str(caught.value)
    assert "c: " in str(caught.value)
    assert "steps/step_004/conflicts" in str(caught.value)
    assert picture(course.trunk) == found
    kept = course.layout.step(4).conflicts
    assert (kept / "c" / paths[0]).read_text() in {"two", "changed", "x"}
    end = course.places.finish()
    assert end is not None
    assert end.paths == paths
    assert (course.layout.conflicts / "c" / paths[0]).exists()
    assert (course.trunk / "fine-b").exists()
    assert (course.trunk / "fine-c").exists()
    assert not course.layout.views.exists()
    assert {path: one for path, one in picture(course.trunk).items() if b"fine" not in path} == found
    course.check(tmp_path)


def test_a_join_within_a_block_sees_both_and_conflicts_there(begin: Begin, tmp_path: Path) -> None:
    """A step that joins two branches beside a third gets a view with the changes of both."""
    course = begin(("a", ()), ("b", ()), ("beside", ()), ("join", ("a", "b")), ("end", ("join", "beside")))
    course.play("a", write("a"), write("twice", "a"))
    course.play("b", write("b"))
    course.play("beside", write("beside"))
    place = course.play("join", lambda root: (root / "twice").write_text("join"), remove("b"))
    assert place.workspace != course.trunk
    assert names(course.trunk) == []
    course.play("end")
    assert names(course.trunk) == ["a", "beside", "twice"]
    assert (course.trunk / "twice").read_text() == "join"
    assert course.kept["join"].numbers == (1, 2, 4)
    course.check(tmp_path)


def test_sides_that_agree_do_not_exclude_each_other(begin: Begin) -> None:
    """The same result, a file that was only touched, and a chain that changes one file twice are no conflicts."""
    course = begin(*DIAMOND)
    course.play("a", write("same", "old"), write("touched", "old"), write("gone", "old"))
    course.play("b", write("same", "new"), write("touched", "old"), remove("gone"))
    course.play("c", write("same", "new"), write("touched", "new"), remove("gone"))
    course.enter("d")
    assert {one.name: one.read_text() for one in course.trunk.iterdir()} == {"same": "new", "touched": "new"}


def test_shared_workspace(begin: Begin) -> None:
    """Steps that share the workspace work in the trunk at once, with a state each."""
    course = begin(*DIAMOND, b={"workspace": "shared"}, c={"workspace": "shared"})
    course.play("a", write("base"))
    b, c = course.enter("b"), course.enter("c")
    assert b.workspace == c.workspace == course.trunk
    assert len({b.state, c.state, course.layout.state}) == 3
    write("from-b")(course.trunk)
    course.leave("c", c)
    write("more-b")(course.trunk)
    course.leave("b", b)
    course.play("d")
    assert course.notes == []
    assert course.kept["d"].numbers == (1, 3, 2, 4)
    assert names(course.trunk) == ["base", "from-b", "more-b"]


def test_read_only_and_no_workspace(begin: Begin, tmp_path: Path) -> None:
    """A reader gets the trunk itself, or a view where a step before it changed something; `none` gets nothing."""
    course = begin(
        ("a", ()),
        ("b", ("a",)),
        ("reads", ("a",)),
        ("reads-b", ("b",)),
        ("nothing", ("a",)),
        ("end", ("b", "reads", "reads-b", "nothing")),
        reads={"workspace": "read-only"},
        **{"reads-b": {"workspace": "read-only", "kind": "check"}},
        nothing={"workspace": "none", "kind": "command"},
    )
    course.play("a", write("a"))
    course.play("b", write("b"))
    reads = course.enter("reads")
    assert (reads.workspace, reads.read_only) == (course.trunk, True)
    course.leave("reads", reads)
    second = course.enter("reads-b")
    assert second.workspace is not None
    assert (names(second.workspace), second.read_only) == (["a", "b"], True)
    assert names(second.state) == ["home"]
    (second.state / "left").touch()
    course.leave("reads-b", second)
    nothing = course.enter("nothing")
    assert (nothing.workspace, nothing.volume, names(nothing.state)) == (None, None, ["home"])
    course.leave("nothing", nothing)
    assert sorted(one.name for one in course.layout.views.iterdir()) == ["step_002", "step_003"]
    course.play("end")
    assert names(course.layout.state) == ["home"]
    assert names(course.trunk) == ["a", "b"]
    assert [course.kept[name].changed + course.kept[name].added for name in ("reads", "reads-b")] == [0, 0]
    assert [course.kept[name].numbers for name in ("reads", "reads-b", "end")] == [(1, 3), (1, 2, 4), (1, 2, 6)]
    course.check(tmp_path)


def test_check_in_a_line_has_an_empty_state(begin: Begin) -> None:
    """What steps before it keep in their home does not reach a check, and nothing of its own is kept."""
    course = begin(("a", ()), ("b", ("a",)), b={"kind": "check", "workspace": "read-only"})
    first = course.enter("a")
    (first.state / "home" / "cache").touch()
    course.leave("a", first)
    place = course.enter("b")
    assert [*(place.state / "home").iterdir()] == []
    course.leave("b", place)
    assert not place.state.exists()
    assert place.read_only


def test_state_that_both_changed_is_the_later_steps(begin: Begin) -> None:
    """State never fails a run: of two results the later step's counts, and a note says so."""
    course = begin(*DIAMOND)
    course.play("a", write("a"))
    b, c = course.enter("b"), course.enter("c")
    write("home/cache", "b")(b.state)
    write("home/cache", "c")(c.state)
    course.leave("c", c)
    course.leave("b", b)
    d = course.enter("d")
    assert (d.state / "home" / "cache").read_text() == "c"
    course.leave("d", d)
    assert [note for note in course.notes if "home/cache" in note]


@pytest.mark.parametrize("shape", ["line", "view"])
def test_another_attempt_finds_what_the_first_found(begin: Begin, tmp_path: Path, shape: str) -> None:
    """Before a further attempt the workspace and the state are as the step found them, byte for byte."""
    retry = {"retry": PlannedRetry(attempts=3)}
    course = begin(*DIAMOND[:3], b=retry) if shape == "view" else begin(*DIAMOND[:2], b=retry)
    (course.layout.state / "home" / "kept").write_text("found")
    course.play("a", write("file", "found"), write("folder/inside"), lambda root: os.link(root / "file", root / "twin"))
    place = course.enter("b")
    assert place.workspace is not None
    found, state = picture(place.workspace), picture(place.state)
    for _ in range(2):
        (place.workspace / "file").write_text("spoilt")
        shutil.rmtree(place.workspace / "folder")
        write("new/deep")(place.workspace)
        (place.state / "home" / "kept").unlink()
        place = course.places.again(course.steps["b"])
        assert place.workspace
        assert picture(place.workspace) == found
        assert picture(place.state) == state
        assert place.before == scan(place.workspace)
    assert place.workspace
    write("last")(place.workspace)
    course.leave("b", place)
    assert course.places.finish() is None
    assert picture(course.trunk) == {**found, b"last": ("file", 0o644, b"x", (b"last",))}
    assert not course.layout.views.exists()
    course.check(tmp_path)


def test_only_steps_that_may_be_tried_again_are_copied(begin: Begin) -> None:
    """A line of steps without retry costs no copy at all."""
    course = begin(*DIAMOND[:2])
    course.play("a", write("file"))
    course.enter("b")
    assert not course.layout.views.exists()


@pytest.mark.parametrize("ended", [("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")])
def test_suspended_run_goes_on(world: World, tmp_path: Path, ended: tuple[str, ...]) -> None:
    """A run that is suspended in the middle of a block goes on with what its steps had changed, and with their history."""
    run = steps_of(world.run, *DIAMOND, ("e", ("d",)))
    edits = {
        "a": [write("a"), write("old")],
        "b": [write("b"), remove("old")],
        "c": [write("c")],
        "d": [write("d")],
        "e": [write("e")],
    }
    first = Course(world, run)
    with first.places:
        for name in ended:
            first.play(name, *edits[name])
    assert first.volumes == []
    second = Course(world, run, first.ended)
    second.pictures |= first.pictures
    with second.places:
        for name in "abcde"[len(ended) :]:
            second.play(name, *edits[name])
        assert second.places.finish() is None
    assert names(second.trunk) == ["a", "b", "c", "d", "e"]
    assert not second.layout.views.exists()
    assert second.kept["e"].numbers == (1, 2, 3, 4, 5)
    assert [second.kept[name].added for name in "de"] == [1, 1]
    second.check(tmp_path)


def test_steps_without_history(world: World) -> None:
    """Branches are merged with `history: off` just so."""
    run = steps_of(world.run, *DIAMOND).model_copy(update={"history": "off"})
    course = Course(world, run)
    with course.places:
        for name in "abcd":
            course.play(name, write(name))
        assert course.places.finish() is None
    assert names(course.trunk) == ["a", "b", "c", "d"]
    assert not course.layout.history.exists()


def test_volume_that_cannot_be_removed_is_noted(world: World) -> None:
    """The engine's refusal hides nothing and is told."""
    course = Course(world, steps_of(world.run, *DIAMOND))
    with course.places:
        course.play("a")
        world.engine.fail_next("volumes.remove", EngineError("no"))
    assert [note for note in course.places.notes if "still in the engine: no" in note]


def check_layers(course: Course) -> None:
    """Fail unless the layers of every step come to what the step left."""
    for name, step in course.kept.items():
        assert unpacked(course.layout.history, step) == like_layers(course.pictures[name]), name


def test_emptied_folder_keeps_what_another_branch_adds(begin: Begin, tmp_path: Path) -> None:
    """A branch that empties a folder takes nothing away that another one put there, whatever the order of layers."""
    course = begin(*DIAMOND)
    course.play("a", write("folder/one"), write("folder/two"))
    course.play("b", write("folder/new"))
    course.play("c", remove("folder/one"), remove("folder/two"))
    course.play("d")
    assert names(course.trunk / "folder") == ["new"]
    assert (course.kept["d"].added, course.kept["d"].removed) == (0, 0)
    check_layers(course)
    course.check(tmp_path)


def test_names_of_one_file(begin: Begin, tmp_path: Path) -> None:
    """A branch's further name of a file is one of it after the merge, and a file of its own where that file changed."""
    course = begin(*DIAMOND)
    course.play("a", write("stays"), write("changes"), write("goes"))
    course.play(
        "b",
        *(lambda root, name=name: os.link(root / name, root / f"{name}-too") for name in ("stays", "changes", "goes")),
    )
    course.play("c", write("changes", "changed"), remove("goes"))
    course.play("d")
    assert {one.name: one.read_text() for one in course.trunk.iterdir()} == {
        "changes": "changed",
        "changes-too": "x",
        "goes-too": "x",
        "stays": "x",
        "stays-too": "x",
    }
    assert (course.trunk / "stays").stat().st_ino == (course.trunk / "stays-too").stat().st_ino
    check_layers(course)
    course.check(tmp_path)


def test_permissions_of_a_folder_on_the_way(begin: Begin, tmp_path: Path) -> None:
    """The folder's permissions that one branch set stay, although the other's layer has the folder as it found it."""
    course = begin(*DIAMOND)
    course.play("a", write("folder/one"))
    course.play("b", lambda root: (root / "folder").chmod(0o700))
    course.play("c", write("folder/two"))
    course.play("d")
    assert (course.trunk / "folder").stat().st_mode & 0o777 == 0o700
    check_layers(course)
    course.check(tmp_path)


def test_untouched_files_of_a_view_are_not_read(begin: Begin) -> None:
    """Copying files into a view, and moving them into the trunk, does not have them read again for the history."""
    course = begin(*DIAMOND)
    size = 8 * 1024 * 1024
    course.play("a", write("old", "1" * size), lambda _: time.sleep(0.03))
    for name in "bc":
        place = course.enter(name)
        assert place.workspace
        write(name, name * size)(place.workspace)
        time.sleep(0.03)
        step, tree = course.steps[name], scan(place.workspace)
        before = _bytes_read()
        course.places.leave(step, tree, record_of(step))
        assert size <= _bytes_read() - before < 2 * size
        course.pictures[name] = picture(place.workspace)
    place = course.enter("d")
    before = _bytes_read()
    course.places.leave(course.steps["d"], scan(course.trunk), record_of(course.steps["d"]))
    assert _bytes_read() - before < size
    assert (course.kept["d"].added, course.kept["d"].changed) == (0, 0)


def _bytes_read() -> int:
    """Return how many bytes this process has read; proc(5), io."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_step_that_broke_us_has_its_changes_merged(begin: Begin) -> None:
    """What a step had done that was never seen to end is not lost at the end of the run."""
    course = begin(*DIAMOND)
    course.play("a")
    place = course.enter("b")
    assert place.workspace
    write("done")(place.workspace)
    assert course.places.finish() is None
    assert names(course.trunk) == ["done"]
    assert not course.layout.views.exists()


def test_many_branches_at_once(begin: Begin, tmp_path: Path) -> None:
    """Steps may begin and end in as many threads as there are."""
    branches = [f"b{number}" for number in range(8)]
    course = begin(("a", ()), *((name, ("a",)) for name in branches), ("end", tuple(branches)))
    course.play("a", *(write(f"folder/{number}") for number in range(50)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: course.play(name, write(f"folder/{name}"), remove(f"folder/{name[1:]}")), branches))
    course.play("end")
    assert len(names(course.trunk / "folder")) == 50
    assert course.kept["end"].numbers == tuple(range(1, 11))
    assert course.notes == []
    check_layers(course)
    course.check(tmp_path)
