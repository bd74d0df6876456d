"""One check: a clean container on a copy of a workspace, and the verdict that comes out of it, whatever happens in there."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.engine.admission import Room, require_space
from runner.engine.cgroup import parent_name
from runner.engine.protocol import ContainerSpec, Mount, Resources
from runner.errors import RunnerError, one_line
from runner.evidence.atomic import storage_error
from runner.evidence.copying import remove_tree
from runner.evidence.layout import StepLayout
from runner.evidence.tree import unlock
from runner.evidence.verdicts import CheckVerdict
from runner.execution.checked import assess, nothing
from runner.execution.contain import Ended, Job, contain
from runner.execution.container import FIXED_ENVIRONMENT
from runner.execution.context import Context, iso, now
from runner.execution.turns import Wish, reserved_room
from runner.execution.watch import MOST_GRACE, Bounds, watched
from runner.names import (
    CHECK_FILE,
    IN_DIR,
    LABEL_CGROUP,
    LABEL_CPUS,
    LABEL_KIND,
    LABEL_MEMORY,
    LABEL_RUN,
    LABEL_RUN_DIR,
    OUT_DIR,
    SCRIPT_FILE,
    SHIM,
    VERDICTS_FILE,
    WORKSPACE_DIR,
)
from runner.plan.judging import expected, version_of
from runner.plan.models import Checker
from runner.spec.judging import Check
from runner.spec.models import Limits

_GRACE = 2.0
"""Seconds between the polite signal and the kill for a check that must end."""
_MOST_OUT = 256 * 1024**2
"""Bytes that a check may leave in /out; what it tells takes a small part of it."""
_TRIES = 3
"""Containers for one check, if the engine went away under the ones before."""
_SHARED_MEMORY = 64 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A workspace to judge."""

    step: str
    """Step that left it; empty for a folder from elsewhere."""
    index: int
    come: frozenset[str]
    """Steps of the scenario that are done by then."""
    fill: Callable[[Path], None]
    """Writes a copy of it into a folder that does not exist yet."""
    files: StepLayout
    """Where it is kept what checks of it were told and printed."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A check of a workspace."""

    check: Check
    checker: Checker | None
    subject: Subject
    root: Path
    """Folder that the container belongs to: of the run, or of what is judged for its own sake."""
    scratch: Path
    """Folder for the copy; made, and removed at the end."""
    run: str
    """Id of the run that is judged."""
    name: str
    """Beginning of the container's name."""
    seed: int
    model_label: str

    @property
    def files(self) -> StepLayout:
        return self.subject.files.check(self.check.id)

    @property
    def bare(self) -> CheckVerdict:
        """Return the verdict as far as it is known before anything was looked at."""
        return CheckVerdict(
            check=self.check.id,
            kind=self.check.kind,
            step=self.subject.step,
            index=self.subject.index,
            version=version_of(self.check, self.checker),
            required=self.check.required,
            model_label=self.model_label,
        )


def perform_check(context: Context, task: Task) -> CheckVerdict:
    """Judge a workspace once, in a container of its own on a copy of its own.

    Once everything was stopped nothing is copied or started.

    Returns:
        The verdict; if the check could not be performed, one that says why and judges nothing.
    """
    image = context.images.get(task.checker.image.id or "") if task.checker is not None else None
    if task.checker is None or image is None:
        hint = "`runner images build checker` says why"
        return nothing(task.bare, f"there is no image that judges; {hint}", iso(now()))
    try:
        with context.slots.one(context.cancellation):
            context.gate.pass_(context.cancellation, context.events)
            return _performed(context, task, task.checker, image)
    except (RunnerError, OSError) as error:
        if context.cancellation.cancelled:
            return _stopped(context, task)
        return nothing(task.bare, f"the check could not be performed: {one_line(error)}", iso(now()))


def _stopped(context: Context, task: Task) -> CheckVerdict:
    """Return the verdict of a check that was stopped: without a time, as it has not been judged yet."""
    why = context.cancellation.why
    return nothing(task.bare, f"{why} before it was judged; `runner check {task.run}` judges it", None)


def _performed(context: Context, task: Task, checker: Checker, image: str) -> CheckVerdict:
    for number in range(1, _TRIES + 1):
        if context.cancellation.cancelled:
            return _stopped(context, task)
        try:
            ended, excess = _contained(context, task, checker, image)
            verdict = assess(task.bare, task.check, ended, task.scratch / "out", task.files, excess=excess)
        finally:
            remove_tree(task.scratch)
        if not (ended.unanswered or ended.restarted) or context.cancellation.cancelled or number == _TRIES:
            break
        context.gate.pass_(context.cancellation, context.events)
    if context.cancellation.cancelled:
        return _stopped(context, task)
    return verdict.model_copy(update={"image_id": checker.image.id or "", "judged_at": iso(now())})


def _contained(context: Context, task: Task, checker: Checker, image: str) -> tuple[Ended, str]:
    """Run the check's container to its end, and say what it wrote too much of; the copy and /out are left to look at."""
    _prepare(task)
    limits = task.check.limits
    spec = _spec(context, task, checker, image)
    room = Room(cpus=limits.cpus, memory=limits.memory)
    what = f"{task.subject.step} (check {task.check.id})" if task.subject.step else f"check {task.check.id}"
    bounds = Bounds(
        workspace=task.scratch / "workspace",
        others=(task.scratch / "out",),
        limits=Limits(workspace=limits.workspace, state=_MOST_OUT),
        cgroup=spec.labels[LABEL_CGROUP],
    )
    job = Job(
        engine=context.engine,
        spec=spec,
        deadline=limits.timeout,
        grace=_GRACE,
        log=limits.log,
        files=task.files,
        cancellation=context.cancellation,
        spent=context.spent,
        gate=context.gate,
        tell=context.events,
    )
    with reserved_room(context, Wish(room=room, key=spec.name, run=task.run, step=what)):
        with watched(bounds, lambda: context.engine.containers.stop(spec.name, MOST_GRACE)) as watch:
            ended = contain(job)
        unlock(task.scratch / "workspace")
        unlock(task.scratch / "out")
        return ended, watch.reason


def _prepare(task: Task) -> None:
    """Make the copy, and write what the check is told.

    Raises:
        StorageError: if the disk is nearly full, or something cannot be read or written.
    """
    require_space(task.root)
    remove_tree(task.scratch)
    try:
        (task.scratch / "out").mkdir(parents=True)
        task.files.inputs.mkdir(parents=True, exist_ok=True)
        told = json.dumps(_told(task), indent=2, ensure_ascii=False)
        (task.files.inputs / CHECK_FILE).write_text(f"{told}\n", encoding="utf-8")
        if task.check.script:
            script = task.files.inputs / SCRIPT_FILE
            script.write_text(task.check.script, encoding="utf-8")
            script.chmod(0o755)
    except OSError as error:
        raise storage_error(f"cannot write {task.scratch}", error) from error
    task.subject.fill(task.scratch / "workspace")
    unlock(task.scratch / "workspace")


def _told(task: Task) -> dict[str, object]:
    """Return what stands in /in/check.json."""
    check = task.check
    entities = expected(check, task.subject.come)
    return {
        "format": 1,
        "id": check.id,
        "kind": check.kind,
        "seed": task.seed,
        "start": check.start.model_dump(mode="json"),
        "health": list(check.health),
        "entities": [entity.model_dump(mode="json") for entity in entities],
        "persistence": check.persistence,
        "timeout_seconds": check.limits.timeout,
    }


def _command(task: Task, checker: Checker) -> tuple[str, ...]:
    if task.check.kind != "program":
        return (*checker.command, f"{IN_DIR}/{CHECK_FILE}", f"{OUT_DIR}/{VERDICTS_FILE}")
    if task.check.script:
        script = f"{IN_DIR}/{SCRIPT_FILE}"
        return (script,) if task.check.script.startswith("#!") else ("sh", "-eu", script)
    return task.check.command or ()


def _spec(context: Context, task: Task, checker: Checker, image: str) -> ContainerSpec:
    """Return the check's container: without a network, without state, on nothing that anybody else sees."""
    limits = task.check.limits
    # Nobody finds it again by its name: a check that was cut off is done again, beside what may be left of the first.
    name = f"{task.name}-check-{task.subject.index:02d}-{secrets.token_hex(4)}"
    parent = parent_name(context.info, name)
    options = (f"--deadline={limits.timeout:.3f}", f"--grace={_GRACE:g}", f"--log-limit={limits.log}")
    return ContainerSpec(
        name=name,
        image=image,
        argv=(SHIM, *options, "--", *_command(task, checker)),
        env={
            **FIXED_ENVIRONMENT,
            "HOME": "/tmp",  # noqa: S108  the container's own sized tmpfs
            "PYTHONHASHSEED": str(task.seed),
            **checker.environment,
        },
        user=context.user,
        workdir=WORKSPACE_DIR,
        mounts=(
            Mount(source=os.fspath(task.scratch / "workspace"), target=WORKSPACE_DIR),
            Mount(source=os.fspath(task.files.inputs), target=IN_DIR, read_only=True),
            Mount(source=os.fspath(task.scratch / "out"), target=OUT_DIR),
        ),
        resources=Resources(
            cpus=limits.cpus,
            memory=limits.memory,
            swap=0,
            pids=limits.pids,
            tmp=limits.tmp,
            shm=_SHARED_MEMORY,
            log=limits.log,
            file=max(limits.workspace, _MOST_OUT),
        ),
        labels={
            **context.owner.labels(),
            LABEL_KIND: "check",
            LABEL_RUN: task.run,
            LABEL_RUN_DIR: os.fspath(task.root),
            LABEL_CPUS: str(limits.cpus),
            LABEL_MEMORY: str(limits.memory),
            LABEL_CGROUP: parent or "",
        },
        cgroup_parent=parent,
    )
