"""A run's model calls: one gateway session per attempt, and what its calls say about the attempt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from runner.events import ModelCalled, Notice
from runner.execution.context import Context, now
from runner.gateway.calls import read_calls, totals
from runner.gateway.session import Metered as MeteredCall
from runner.gateway.session import MeteredSink, Session, SessionSpec, Totals
from runner.plan.models import PlannedStep, Run

_WEB = (80, 443)
"""Ports that a host's name alone allows."""


@dataclass(kw_only=True)
class Metered:
    """An attempt's session; `totals` and `error` are known once the session has closed."""

    session: Session | None = None
    totals: Totals | None = None

    @property
    def exceeded(self) -> str:
        """Return which budget a call was refused for; empty if none was."""
        return self.totals.exceeded if self.totals is not None else ""

    @property
    def replay_error(self) -> str:
        """Return why a replay is none, like a request that was never recorded; empty if it went well."""
        return self.totals.replay_error if self.totals is not None else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return a sentence for each host that could not be reached, with what to write to allow it."""
        denied = self.totals.denied if self.totals is not None else ()
        return tuple(
            f"no way to {one.host}:{one.port} ({one.times} times): "
            f"to allow it write `allow: [{one.host if one.port in _WEB else f'{one.host}:{one.port}'}]` "
            "in framework.yaml or in the scenario's step"
            for one in denied
        )

    @property
    def error(self) -> str:
        """Return why the model could not answer, when that is not the framework's doing."""
        if self.totals is None or self.totals.last_error_fault == "framework":
            return ""
        return self.totals.last_error


@contextlib.contextmanager
def model_session(
    context: Context,
    run: Run,
    step: PlannedStep,
    attempt: int,
    *,
    expires: float | None = None,
    taken_up: bool = False,
) -> Iterator[Metered]:
    """Open a session for one attempt, if its step has a way out, and meter it until the block ends.

    Args:
        context: shared hands.
        run: the run.
        step: the step.
        attempt: number of the attempt.
        expires: when the session ends if nobody is there any more to close it, seconds since boot; None: with us.
        taken_up: whether an earlier runner began the attempt, whose calls then count as well.

    Raises:
        GatewayError: if the gateway cannot open a session.
    """
    metered = Metered()
    if context.gateway is None or step.network == "none":
        yield metered
        return
    spec = replace(_session_spec(context, run, step, attempt), expires=expires)
    metered.session = context.gateway.open(spec, _teller(context, run, step))
    try:
        yield metered
    finally:
        closed = context.gateway.close(metered.session)
        metered.totals = _with_earlier(spec, closed) if taken_up else closed
        for note in metered.notes:
            context.events(Notice(time=now(), run=run.id, text=note, level="warning"))


def _with_earlier(spec: SessionSpec, closed: Totals) -> Totals:
    """Return a session's totals with the calls of a session before it, which a runner had closed when it was killed."""
    calls = [one for one in read_calls(spec.calls_file).calls if (one.step, one.attempt) == (spec.step, spec.attempt)]
    if len(calls) <= closed.api_calls:
        return closed
    return replace(totals(calls), exceeded=closed.exceeded, replay_error=closed.replay_error, denied=closed.denied)


def _session_spec(context: Context, run: Run, step: PlannedStep, attempt: int) -> SessionSpec:
    return SessionSpec(
        run=run.id,
        framework=run.framework.name,
        scenario=run.scenario,
        step=step.id,
        index=step.index,
        attempt=attempt,
        model=run.model,
        answers=context.answers.get((run.framework.name, run.scenario)),
        calls_file=context.layout(run).calls,
        seed=run.seed,
        budgets=run.budgets,
        allow=step.allow,
        packages=run.packages,
        packages_folder=context.packages_folder,
        recording=context.recordings.get(run.digest or ""),
        needs_answers=step.kind in {"prompt", "model"},
    )


def _teller(context: Context, run: Run, step: PlannedStep) -> MeteredSink:
    def tell(call: MeteredCall) -> None:
        context.events(
            ModelCalled(
                time=now(),
                run=run.id,
                step=step.id,
                tokens_in=call.tokens_in,
                tokens_out=call.tokens_out,
                cost_usd=call.cost_usd,
                waited_seconds=call.waited_seconds,
            )
        )

    return tell
