"""Take up a step where an earlier runner ended: see its attempt to the end, or put back what it found and try again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.engine.protocol import ContainerState
from runner.events import Notice, boottime
from runner.evidence.scans import unpack_scan
from runner.execution.attempt import Attempt
from runner.execution.begun import Begun, Left
from runner.execution.context import Context, now
from runner.execution.left import earlier_attempts, find_left, lost_attempt, set_apart
from runner.execution.place import Place
from runner.execution.workspaces import Workspaces
from runner.plan.models import PlannedStep, Run


@dataclass(frozen=True, kw_only=True)
class TakenUp:
    """What a step has when it is performed: a place, and what is left of attempts that were made before."""

    place: Place
    left: Left | None = None
    """The attempt that was under way, to be seen to its end; None for a new one."""
    earlier: tuple[Attempt, ...] = ()
    used: float = 0.0
    """Seconds for which the step has been under way, those in which its container had ended and no runner lived left out."""


def take_up(context: Context, run: Run, step: PlannedStep, begun: Begun, workspaces: Workspaces) -> TakenUp:
    """Take up a step that was under way.

    A container that runs is waited for, one that has exited is collected, each as the attempt that it is. Where there
    is none the attempt is lost: what the step found is put back, for a further attempt.

    Raises:
        Unrestorable: if that is not kept.
        EngineError: if the engine cannot be asked.
        StorageError: if something cannot be read or written.
    """
    layout, files = context.layout(run), context.layout(run).step(step.index)
    earlier = earlier_attempts(layout, run, step, begun)
    left = find_left(context, run, step, begun)
    workspace = None if begun.workspace is None else unpack_scan(begun.workspace)
    place = workspaces.take_up(step, workspace, None if begun.state is None else unpack_scan(begun.state))
    if left is None:
        _tell(context, run, f"step {step.id}: attempt {begun.attempt} was lost with its runner, and is made again")
        set_apart(files, begun.attempt)
        earlier = (*earlier, lost_attempt(run, step, layout, begun))
        return TakenUp(place=workspaces.again(step), earlier=earlier, used=_seconds(earlier))
    how = "has ended, and is collected" if not _runs(left.container) else "still runs, and is waited for"
    _tell(context, run, f"step {step.id}: its container {how}")
    return TakenUp(place=place, left=left, earlier=earlier, used=_seconds(earlier) + _seconds_of(left, boottime()))


def _seconds_of(left: Left, moment: float) -> float:
    """Return for how long an attempt has been under way that an earlier runner began: until now, or its container's end.

    Args:
        left: what is left of it.
        moment: now, in seconds since boot.
    """
    begun = left.begun
    since = max(moment - begun.moment, 0.0) if begun.moment is not None else begun.deadline
    state = left.container or (left.ended.state if left.ended is not None else None)
    if state is not None and state.started_at is not None and state.finished_at is not None:
        # Times of day, which somebody may have set in between.
        since = min(since, max(state.finished_at - state.started_at, 0.0))
    return min(since, begun.deadline)


def _seconds(earlier: Sequence[Attempt]) -> float:
    return sum(one.record.seconds or 0.0 for one in earlier)


def _runs(state: ContainerState | None) -> bool:
    return state is not None and state.status == "running"


def _tell(context: Context, run: Run, text: str) -> None:
    context.events(Notice(time=now(), run=run.id, text=text))
