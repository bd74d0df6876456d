"""A step that is performed alone, in a container of a real engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.evidence.layout import StepLayout
from runner.evidence.tree import scan
from runner.execution.context import Context
from runner.execution.place import Place
from runner.execution.step import StepDone, StepOrder, perform_step
from runner.execution.values import Values
from runner.plan.models import Run


@dataclass
class Bench:
    """One step, performed in a container of the base image."""

    context: Context
    run: Run
    workspace: bool = True
    read_only: bool = False
    state: Path | None = None
    """Another state than the run's."""
    again: int = 0

    @property
    def files(self) -> StepLayout:
        return self.context.layout(self.run).step(1)

    @property
    def place(self) -> Place:
        layout = self.context.layout(self.run)
        return Place(
            workspace=layout.workspace if self.workspace else None,
            volume=self.context.object_name(self.run) if self.workspace else None,
            state=self.state or layout.state,
            read_only=self.read_only,
            before=scan(layout.workspace),
        )

    def perform(self, script: str = "", **changes: Any) -> StepDone:
        """Perform a command step, by default a script, with some of its fields changed."""
        fields = {"kind": "command", "prompt": "", "script": script, "network": "none", "expect_changes": False}
        layout = self.context.layout(self.run)
        order = StepOrder(
            context=self.context,
            run=self.run,
            step=self.run.steps[0].model_copy(update={**fields, **changes}),
            place=self.place,
            again=self._again,
            values=Values(layout, self.run, {}),
            remaining=lambda: 120.0,
        )
        return perform_step(order)

    def said(self, stream: str = "stdout") -> str:
        """Return what the last attempt printed."""
        return self.files.log(stream).read_text()

    def _again(self) -> Place:
        self.again += 1
        return self.place
