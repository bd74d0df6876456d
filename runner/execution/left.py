"""What a runner that has ended left of an attempt: a container that runs or has exited, what was kept of it, or nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from runner.engine.protocol import ContainerState, NotFound, Usage
from runner.events import boottime
from runner.evidence.layout import RunLayout, StepLayout
from runner.evidence.metrics import RESOURCES
from runner.evidence.records import AttemptRecord
from runner.evidence.scans import pack_scan
from runner.evidence.untrusted import read_shim_report
from runner.execution.attempt import Attempt, Order
from runner.execution.begun import Begun, Earlier, Left, read_collected
from runner.execution.conditions import Ready, make_ready
from runner.execution.container import command, container_name, image_of, keep_attempt
from runner.execution.context import Context, iso, now
from runner.execution.outputs import answer_uses
from runner.execution.values import Unusable, Values
from runner.gateway.calls import read_calls, totals
from runner.names import INPUTS_FOLDER, LABEL_ATTEMPT, LABEL_CGROUP, LABEL_DIGEST, LABEL_RUN_DIR, LABEL_STEP, STEP_FILE
from runner.plan.models import PlannedStep, Run

NEVER_STARTED = "created"
HALF_REMOVED = frozenset({"dead", "removing"})
"""States of a container whose removal has begun: an engine that ends meanwhile leaves it so, and shows its logs to nobody."""
_GONE = "the runner ended, and the container of this attempt is not there"


def begin_attempt(order: Order, earlier: Sequence[Attempt]) -> Begun:
    """Return what is written down of an attempt before its container is made.

    Args:
        order: the attempt.
        earlier: those before it.
    """
    context, place, step = order.context, order.place, order.step
    watched = place.workspace is not None and not place.read_only
    return Begun(
        step=step.id,
        attempt=order.number,
        container="" if step.kind == "model" else container_name(context, order.run, step, order.number),
        deadline=order.deadline,
        deadline_name=order.deadline_name,
        began=now(),
        moment=boottime(),
        boot=context.owner.boot,
        incarnation=context.engine.incarnation(),
        earlier=tuple(Earlier(record=one.record, usage=one.usage, interrupted=one.interrupted) for one in earlier),
        workspace=pack_scan(place.before) if watched else None,
        state=None if place.state_before is None else pack_scan(place.state_before),
    )


def find_left(context: Context, run: Run, step: PlannedStep, begun: Begun) -> Left | None:
    """Look for what is left of an attempt that was under way; a container that never started is removed.

    Returns:
        None if nothing is there that could be waited for or collected.

    Raises:
        EngineError: if the engine cannot be asked.
    """
    if not begun.container:
        return None
    ended = read_collected(context.layout(run), step.index, begun.container)
    state = _container(context, run, step, begun)
    if state is not None and (ended is not None or state.status in {NEVER_STARTED, *HALF_REMOVED}):
        # Its evidence is on disk, or there is none, or the engine gives it to nobody any more.
        _remove(context, state)
        state = None
    if state is None and ended is None:
        return None
    return Left(begun=begun, container=state, ended=ended)


def ready_again(step: PlannedStep, values: Values, files: StepLayout) -> Ready:
    """Find the values of a step that has begun: those from its workspace are as it was given them.

    Args:
        step: the step.
        values: what earlier steps gave.
        files: the step's folder.

    Raises:
        Unusable: if one of them cannot be read.
    """
    given = tuple(
        one.model_copy(update={"workspace": one.name}) if one.source == "workspace" else one for one in step.inputs
    )
    return make_ready(step.model_copy(update={"inputs": given}), values, files.inputs / INPUTS_FOLDER)


def earlier_attempts(layout: RunLayout, run: Run, step: PlannedStep, begun: Begun) -> tuple[Attempt, ...]:
    """Return the attempts that were over when an earlier runner began its last one at a step."""
    return tuple(_attempt(layout, run, step, one) for one in begun.earlier)


def set_apart(files: StepLayout, lost: int) -> None:
    """Keep the files of an attempt whose successor was lost before it could move them, as those of that attempt.

    Args:
        files: the step's folder.
        lost: number of the attempt that was lost.
    """
    try:
        told = json.loads((files.inputs / STEP_FILE).read_bytes())["attempt"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if isinstance(told, int) and 0 < told < lost:
        keep_attempt(files, told)


def lost_attempt(run: Run, step: PlannedStep, layout: RunLayout, begun: Begun) -> Attempt:
    """Return what is recorded of an attempt of which nothing is left: it broke, and does not count."""
    try:
        argv = command(run, step) if step.kind != "model" else ("model", run.model.name if run.model else "")
    except Unusable:
        argv = ()
    record = AttemptRecord(
        attempt=begun.attempt,
        container=begun.container,
        image_id=(image_of(run, step).id or "") if begun.container else "",
        argv=argv,
        started_at=iso(begun.began),
        finished_at=None,
        seconds=None,
        exit_code=None,
        signal=None,
        oom_killed=False,
        timed_out=False,
        stdout_bytes=None,
        stderr_bytes=None,
        dropped_bytes=0,
        outcome="broken",
        reason=_GONE if begun.container else "the runner ended while the model was asked",
    )
    return _attempt(
        layout,
        run,
        step,
        Earlier(record=record, usage=Usage(reasons=dict.fromkeys(RESOURCES, _GONE)), interrupted=True),
    )


def _attempt(layout: RunLayout, run: Run, step: PlannedStep, earlier: Earlier) -> Attempt:
    """Return an attempt as far as its record, its folder and the calls tell."""
    record, files = earlier.record, layout.step(step.index).attempt(earlier.record.attempt)
    own = [one for one in read_calls(layout.calls).calls if (one.step, one.attempt) == (step.id, record.attempt)]
    return Attempt(
        record=record,
        usage=earlier.usage,
        report=read_shim_report(files.outputs),
        result=None,
        totals=totals(own) if run.model is not None and step.network != "none" else None,
        tree=None,
        changed=None,
        notes=(),
        answers=answer_uses(step, files)[0],
        interrupted=earlier.interrupted,
    )


def _container(context: Context, run: Run, step: PlannedStep, begun: Begun) -> ContainerState | None:
    """Return the container of an attempt, if it is there and is that one."""
    try:
        state = context.gate.patiently(
            lambda: context.engine.observer.inspect(begun.container), context.cancellation, context.events
        )
    except NotFound:
        return None
    wanted = {
        LABEL_RUN_DIR: str(context.layout(run).root),
        LABEL_DIGEST: run.digest or "",
        LABEL_STEP: str(step.index),
        LABEL_ATTEMPT: str(begun.attempt),
    }
    return state if wanted.items() <= state.labels.items() else None


def _remove(context: Context, state: ContainerState) -> None:
    """Remove a container, and have its control group go: an engine may have made that, or more, although it never started.

    Raises:
        EngineError: if the engine refuses, or something of the container still runs: nobody else may work there then.
    """

    def remove() -> None:
        context.engine.containers.stop(state.id, 0)
        context.engine.containers.remove(state.id)

    context.gate.patiently(remove, context.cancellation, context.events)
    if parent := state.labels.get(LABEL_CGROUP):
        context.spent.append(parent)
