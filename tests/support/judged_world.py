"""A world in memory for runs that are judged: checks, an image that judges, and what it says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from support.fake_world import World, tell
from support.planning import make_scenario

from runner.evidence.judged import whole_verdicts
from runner.evidence.verdicts import CheckVerdict, read_verdicts
from runner.execution.context import Context
from runner.execution.run import RunDone, perform_run
from runner.names import OUT_DIR, VERDICTS_FILE
from runner.plan.judging import plan_checks
from runner.plan.models import Checker, ImageRef, Run
from runner.spec.judging import Check
from runner.testing import Box, Program

CHECKER = "sha256:c"


def say(box: Box, *assertions: dict[str, Any], **parts: Any) -> int:
    """Write what a judging program tells, and end well."""
    told = {"format": 1, "judge": {"version": "1"}, "assertions": assertions, **parts}
    box.path(f"{OUT_DIR}/{VERDICTS_FILE}", write=True).write_text(json.dumps(told))
    tell(box)
    return 0


def praise(box: Box) -> int:
    """Pass one assertion, whose reason is what the workspace holds."""
    text = box.path("app.txt").read_text() if box.path("app.txt").exists() else "nothing"
    return say(box, {"id": "app.there", "verdict": "passed", "reason": text})


@dataclass(kw_only=True)
class Judged:
    """A run of two steps and its checks."""

    world: World
    checks: Sequence[Check]
    program: Program = praise
    changes: dict[str, Any] = field(default_factory=dict)
    """Other parts of the run."""

    def __post_init__(self) -> None:
        self.image = self.world.engine.add_image("checker")
        self.world.engine.register(self.program, image=self.image)

    @property
    def run(self) -> Run:
        run = self.world.run
        checker = Checker(image=ImageRef(tag="checker", id=CHECKER), command=("judge",))
        planned = plan_checks(make_scenario("build", checks=tuple(self.checks)), run.steps)
        return run.model_copy(update={"checks": planned, "checker": checker, **self.changes})

    @property
    def context(self) -> Context:
        context = self.world.context
        return replace(context, images={**context.images, CHECKER: self.image})

    def perform(self) -> RunDone:
        """Carry out the run and judge it."""
        return perform_run(self.context, self.run)

    def verdicts(self, index: int | None = None) -> tuple[CheckVerdict, ...]:
        """Return the verdicts on a step, or all of the run."""
        layout = self.world.layout
        return whole_verdicts(layout) if index is None else read_verdicts(layout.step(index).checks)
