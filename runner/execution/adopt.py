"""Take up a step where an earlier runner ended: see its attempt to the end, or put back what it found and try again."""

from __future__ import annotations

from dataclasses import dataclass

from runner.engine.protocol import ContainerState
from runner.events import Notice
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
        return TakenUp(place=workspaces.again(step), earlier=earlier)
    how = "has ended, and is collected" if not _runs(left.container) else "still runs, and is waited for"
    _tell(context, run, f"step {step.id}: its container {how}")
    return TakenUp(place=place, left=left, earlier=earlier)


def _runs(state: ContainerState | None) -> bool:
    return state is not None and state.status == "running"


def _tell(context: Context, run: Run, text: str) -> None:
    context.events(Notice(time=now(), run=run.id, text=text))
