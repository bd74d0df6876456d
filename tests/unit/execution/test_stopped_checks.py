"""Checks that are stopped: nothing more is done for them, and what was judged before them stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_world import World
from support.judged_world import Judged

from runner.evidence.judged import whole_verdicts
from runner.evidence.measures.again import newest_totals
from runner.execution.checking import Subject, Task, perform_check
from runner.execution.judging import Docket, hear
from runner.spec.judging import Check
from runner.testing import Box


def _later(judged: Judged) -> Docket:
    """Return the docket of judging a run again, with verdicts in a folder of their own."""
    layout, run = judged.world.layout, judged.run
    return Docket(
        run=run,
        layout=layout,
        kept=layout.judged_later("0" * 12),
        root=layout.root,
        scratch=layout.root / "scratch",
        checks=run.checks,
        checker=run.checker,
        steps=judged.perform().record.steps,
    )


@pytest.fixture
def judged(world: World) -> Judged:
    """Return a run of two steps, each of which is judged."""
    check = Check.model_validate({"id": "app", "kind": "imports", "after": "all"})
    return Judged(world=world, checks=[check])


def test_what_was_judged_stays_when_it_is_stopped_later(judged: Judged) -> None:
    """Stopped in the middle of judging again, a run keeps each good verdict and its numbers."""
    docket = _later(judged)
    layout = judged.world.layout
    before, numbers = whole_verdicts(layout), newest_totals(layout)
    assert [one.verdict for one in before] == ["passed", "passed"]

    def stop(box: Box) -> int:
        judged.world.cancellation.cancel()
        box.sleep(30)
        return 0

    judged.world.engine.register(stop, image=judged.image)
    found = hear(judged.context, docket)
    assert [one.verdict for one in found] == ["unjudged", "unjudged"]
    assert all(one.reason.startswith("stopped by the user before it was judged") for one in found)
    assert [one.judged_at for one in found] == [None, None]
    assert whole_verdicts(layout) == before
    assert newest_totals(layout) == numbers


def test_nothing_is_copied_once_it_is_stopped(judged: Judged) -> None:
    """A check whose turn comes after everything was stopped copies no workspace and starts no container."""
    filled: list[Path] = []
    subject = Subject(step="begin", index=1, come=frozenset(), fill=filled.append, files=judged.world.layout.step(1))
    task = Task(
        check=judged.checks[0],
        checker=judged.run.checker,
        subject=subject,
        root=judged.world.layout.root,
        scratch=judged.world.layout.root / "scratch",
        run=judged.run.id,
        name="cgr",
        seed=1,
        model_label="",
    )
    judged.world.cancellation.cancel()
    verdict = perform_check(judged.context, task)
    assert verdict.reason.startswith("stopped by the user before it was judged")
    assert (verdict.judged_at, filled, task.scratch.exists()) == (None, [], False)
