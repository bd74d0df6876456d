"""Whatever steps beside each other do, every one comes back as it was, and the layers say the same as the workspaces."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from support.course import Course, steps_of
from support.fake_world import World
from support.history_edits import EDITS, Edit, apply
from support.history_world import picture
from support.layers import like_layers, unpacked

from runner.evidence.history.oci import read_base
from runner.execution.workspaces import MergeConflict, Place

SHAPE = (
    ("a", ()),
    ("b", ("a",)),
    ("c", ("a",)),
    ("d", ("a",)),
    ("e", ("b", "c")),
    ("f", ("d", "e")),
    ("g", ("f",)),
    ("h", ("f",)),
)
FEW = st.lists(EDITS, max_size=4)
SCRIPTS = st.tuples(st.lists(EDITS, max_size=12), *[FEW] * (len(SHAPE) - 1))
"""Many edits for the first step; few for the others, so that most of them do not exclude each other."""


@settings(max_examples=60, deadline=None)
@given(SCRIPTS, st.booleans())
def test_every_step_comes_back(scripts: tuple[list[Edit], ...], swapped: bool) -> None:  # noqa: FBT001  drawn
    """After any edits in any order of ending, each step is restored byte for byte, and its layers come to the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World(output=folder / "runs", sockets=folder / "sockets")
        course = Course(world, steps_of(world.run, *SHAPE))
        edits = {step: script for (step, _), script in zip(SHAPE, scripts, strict=True)}
        found = {}
        with course.places:
            for group in ("a", "bcd", "e", "f", "gh"):
                places: dict[str, Place] = {}
                for step in group:
                    try:
                        places[step] = course.enter(step)
                    except MergeConflict:
                        break
                for step in sorted(places, reverse=swapped):
                    root = places[step].workspace
                    assert root is not None
                    found[step] = picture(root)
                    apply(root, edits[step])
                    course.leave(step, places[step])
                if len(places) < len(group):
                    break
            course.places.finish()
        course.check(folder)
        history = course.layout.history
        for step, kept in course.kept.items():
            assert unpacked(history, kept) == like_layers(course.pictures[step])
            assert {*read_base(history, kept).nodes} == {*found[step]}
