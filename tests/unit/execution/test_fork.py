"""Beginning a forked run."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from support.fake_world import World

from runner.evidence.history.oci import KeptStep, read_index, read_steps
from runner.execution.context import Context
from runner.execution.place import Origin
from runner.execution.run import perform_run
from runner.plan.fork import Changes, Past, forked, remaining
from runner.plan.models import Ancestry, Run


def forked_from(world: World, number: int = 1) -> tuple[Run, Origin, KeptStep]:
    """Carry a run out, and plan its fork after a step."""
    run = world.run
    perform_run(world.context, run)
    kept = next(one for one in read_steps(world.layout.history) if one.number == number)
    ancestry = Ancestry(
        run=run.id, digest=run.digest, step=kept.id, index=kept.number, workspace_sha256=kept.config, note="why"
    )
    same = Changes(
        framework=run.framework,
        image=run.image,
        scenario=run.scenario,
        model=run.model,
        answers_sha256=run.answers_sha256,
    )
    fork = forked(run, remaining(run.steps, {"begin"}, Past()), ancestry, same)
    return fork, Origin(history=world.layout.history, number=number), kept


def held(history: Path, step: KeptStep) -> dict[bytes, tuple[object, ...]]:
    """Return what a workspace held, whichever layer has it."""
    nodes = read_index(history, step).nodes
    return {path: (node.kind, node.mode, node.size, node.sha256) for path, node in nodes.items()}


def context_of(world: World, fork: Run, origin: Origin) -> Context:
    """Return the world's context, which knows where the fork begins."""
    return dataclasses.replace(world.context, origins={fork.digest or "": origin})


def test_a_fork_goes_on_where_the_step_stood(world: World) -> None:
    """The first step finds the other run's workspace; the history has it as number 0, equal to what was kept."""
    fork, origin, kept = forked_from(world)
    done = perform_run(context_of(world, fork, origin), fork)
    layout = world.context.layout(fork)
    assert done.record.outcome == "passed"
    assert (layout.workspace / "app.txt").read_text() == "Begin.Extend."
    assert layout.workspace.stat().st_mode == world.layout.workspace.stat().st_mode
    first, second = read_steps(layout.history)
    assert (first.number, first.id) == (0, "origin")
    assert held(layout.history, first) == held(origin.history, kept)
    assert (second.number, second.id, second.changed, second.added) == (1, "extend", 1, 0)
    assert done.record.steps[0].changed_files == 1
    assert any("/state began empty" in note for note in done.record.notes)


def test_state_is_taken_over_where_it_is_known(world: World) -> None:
    """A folder of state that is given stands in the fork's own, as a copy; what is no file in it is left out."""
    fork, origin, _ = forked_from(world)
    os.mkfifo(world.layout.state / "home" / "pipe")
    (world.layout.state / "home" / "memory").write_text("known")
    done = perform_run(context_of(world, fork, dataclasses.replace(origin, state=world.layout.state)), fork)
    kept = world.context.layout(fork).state / "home" / "memory"
    assert kept.read_text() == "known"
    assert not kept.with_name("pipe").exists()
    assert any("/state began as" in note for note in done.record.notes)
    kept.write_text("changed")
    assert (world.layout.state / "home" / "memory").read_text() == "known"


@pytest.mark.parametrize("number", [2, 9])
def test_another_workspace_than_was_planned_is_refused(world: World, number: int) -> None:
    """What is kept now under the number must be what was planned with; else the run is broken, and says so."""
    fork, origin, _ = forked_from(world)
    done = perform_run(context_of(world, fork, dataclasses.replace(origin, number=number)), fork)
    assert (done.record.outcome, done.record.run.id) == ("broken", fork.id)
    assert "after step begin is not there" in done.record.reason


def test_a_fork_whose_origin_nobody_knows_does_not_begin_empty(world: World) -> None:
    """Without the place of its workspace a fork is broken rather than begun with nothing."""
    fork, _, _ = forked_from(world)
    done = perform_run(world.context, fork)
    assert done.record.outcome == "broken"
    assert all(step.outcome != "passed" for step in done.record.steps)


def test_a_plain_run_has_no_number_0(world: World, tmp_path: Path) -> None:
    """A run that descends from none begins with nothing, and its history with step 1."""
    perform_run(world.context, world.run)
    assert [one.number for one in read_steps(world.layout.history)] == [1, 2]
    assert not list(tmp_path.glob("**/.tmp-*"))
