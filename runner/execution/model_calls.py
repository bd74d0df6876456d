"""A run's model calls: one gateway session per attempt, and what its calls say about the attempt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from runner.events import ModelCalled
from runner.execution.context import Context, now
from runner.gateway.session import Session, SessionSpec, Totals
from runner.plan.models import PlannedStep, Run


@dataclass(kw_only=True)
class Metered:
    """An attempt's session; `totals` and `error` are known once the session has closed."""

    session: Session | None = None
    totals: Totals | None = None

    @property
    def error(self) -> str:
        """Return why the model could not answer, when that is not the framework's doing."""
        if self.totals is None or self.totals.last_error_fault == "framework":
            return ""
        return self.totals.last_error


@contextlib.contextmanager
def model_session(context: Context, run: Run, step: PlannedStep, attempt: int) -> Iterator[Metered]:
    """Open a session for one attempt, if its framework has a way out, and meter it until the block ends.

    Raises:
        GatewayError: if the gateway cannot open a session.
    """
    metered = Metered()
    if context.gateway is None or run.model is None:
        yield metered
        return
    metered.session = context.gateway.open(
        SessionSpec(
            run=run.id,
            framework=run.framework.name,
            scenario=run.scenario,
            step=step.id,
            index=step.index,
            attempt=attempt,
            model=run.model,
            answers=context.answers.get((run.framework.name, run.scenario)),
            calls_file=context.layout(run).calls,
        )
    )
    try:
        yield metered
    finally:
        metered.totals = context.gateway.close(metered.session)
        context.events(
            ModelCalled(
                time=now(),
                run=run.id,
                step=step.id,
                tokens_in=metered.totals.tokens_in,
                tokens_out=metered.totals.tokens_out,
                cost_usd=metered.totals.cost_usd,
            )
        )
