"""The container contract: from a planned step to what its container sees."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from runner.engine.cgroup import parent_name
from runner.engine.protocol import ContainerSpec, Mount, Resources
from runner.evidence.atomic import storage_error
from runner.evidence.layout import RunLayout, StepLayout
from runner.execution.context import Context
from runner.gateway.session import Session
from runner.names import (
    FRAMEWORK_DIR,
    GATEWAY_DIR,
    IN_DIR,
    LABEL_ATTEMPT,
    LABEL_CGROUP,
    LABEL_CPUS,
    LABEL_DIGEST,
    LABEL_FRAMEWORK,
    LABEL_KIND,
    LABEL_MEMORY,
    LABEL_RUN,
    LABEL_RUN_DIR,
    LABEL_STEP,
    OUT_DIR,
    PROMPT_FILE,
    SHIM,
    STATE_DIR,
    STEP_FILE,
    WORKSPACE_DIR,
)
from runner.plan.models import PlannedStep, Run
from runner.spec.models import Limits

_FIXED_ENVIRONMENT = {
    "HOME": f"{STATE_DIR}/home",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PATH": f"{FRAMEWORK_DIR}/venv/bin:{FRAMEWORK_DIR}/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TMPDIR": "/tmp",  # noqa: S108  the container's own sized tmpfs
    "TZ": "UTC",
    "USER": "runner",
}
_READABLE = 0o755


def prepare_run(layout: RunLayout, run: Run) -> None:
    """Make the folders a run's containers mount: workspace, state with HOME, and the writable paths' storage.

    Raises:
        StorageError: if they cannot be made.
    """
    try:
        for folder in (layout.workspace, layout.state / "home", *_writable(layout, run).values()):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(f"cannot make the folders of {layout.root}", error) from error


def prepare_attempt(layout: StepLayout, run: Run, step: PlannedStep, attempt: int) -> None:
    """Write /in afresh and empty /out; what an earlier attempt left there is kept under attempts/."""
    if attempt > 1:
        keep_attempt(layout, attempt - 1)
    layout.inputs.mkdir(parents=True, exist_ok=True)
    layout.outputs.mkdir(parents=True, exist_ok=True)
    (layout.inputs / PROMPT_FILE).write_text(step.prompt, encoding="utf-8")
    (layout.inputs / STEP_FILE).write_text(json.dumps(_describe(run, step, attempt), indent=2) + "\n", encoding="utf-8")
    for path in layout.inputs.iterdir():
        path.chmod(0o644)
    layout.inputs.chmod(_READABLE)


def keep_attempt(layout: StepLayout, number: int) -> None:
    """Move a finished attempt's logs and outputs aside, before the next attempt writes its own."""
    kept = layout.attempt(number)
    kept.root.mkdir(parents=True, exist_ok=True)
    for path in (layout.log("stdout"), layout.log("stderr"), layout.outputs):
        if path.exists():
            shutil.move(path, kept.root / path.name)


def container_spec(
    context: Context, run: Run, step: PlannedStep, *, attempt: int, session: Session | None, deadline: float
) -> ContainerSpec:
    """Return the container of one attempt.

    Args:
        context: shared hands.
        run: the run.
        step: the step to perform.
        attempt: number of the attempt, from 1.
        session: open gateway session, for a step that has a way out through it.
        deadline: seconds after which the shim ends the step.
    """
    name = f"{context.object_name(run)}-s{step.index:02d}-a{attempt:02d}"
    parent = parent_name(context.info, name)
    return ContainerSpec(
        name=name,
        image=context.images[run.image.id or ""],
        argv=_argv(run, step, deadline, forward=session is not None),
        env=_environment(run, session),
        user=context.user,
        workdir=WORKSPACE_DIR,
        mounts=_mounts(context, run, step, session),
        resources=_resources(step.limits),
        labels={
            **context.owner.labels(),
            LABEL_KIND: "attempt",
            LABEL_RUN: run.id,
            LABEL_DIGEST: run.digest or "",
            LABEL_FRAMEWORK: run.framework.name,
            LABEL_STEP: str(step.index),
            LABEL_ATTEMPT: str(attempt),
            LABEL_RUN_DIR: os.fspath(context.layout(run).root),
            LABEL_CPUS: str(step.limits.cpus),
            LABEL_MEMORY: str(step.limits.memory),
            LABEL_CGROUP: parent or "",
        },
        cgroup_parent=parent,
        network="bridge" if step.network == "open" else "none",
    )


def command(run: Run, step: PlannedStep) -> tuple[str, ...]:
    """Return the framework's command for a step; placeholders become part of one argument, never of a shell line."""
    values = {
        "prompt": step.prompt,
        "prompt_file": f"{IN_DIR}/{PROMPT_FILE}",
        "model": run.model.name if run.model else "",
        "seed": str(run.seed),
        "step": step.id,
        "index": str(step.index),
    }
    return tuple(argument.format_map(values) for argument in run.framework.command)


def _argv(run: Run, step: PlannedStep, deadline: float, *, forward: bool) -> tuple[str, ...]:
    limits = step.limits
    options = [f"--deadline={deadline:.3f}", f"--grace={limits.grace:g}", f"--log-limit={limits.log}"]
    if forward:
        options.append("--gateway")
    return (SHIM, *options, "--", *command(run, step))


def _environment(run: Run, session: Session | None) -> dict[str, str]:
    model = run.model.name if run.model is not None else None
    ways_out = session.environment(model) if session is not None else {}
    return {**_FIXED_ENVIRONMENT, "PYTHONHASHSEED": str(run.seed), **run.framework.environment, **ways_out}


def _resources(limits: Limits) -> Resources:
    return Resources(
        cpus=limits.cpus,
        memory=limits.memory,
        swap=limits.swap,
        pids=limits.pids,
        tmp=limits.tmp,
        shm=limits.shm,
        log=limits.log,
    )


def _mounts(context: Context, run: Run, step: PlannedStep, session: Session | None) -> tuple[Mount, ...]:
    layout = context.layout(run)
    files = layout.step(step.index)
    mounts = [
        Mount(source=context.object_name(run), target=WORKSPACE_DIR, volume=True, device=os.fspath(layout.workspace)),
        Mount(source=os.fspath(layout.state), target=STATE_DIR),
        Mount(source=os.fspath(files.inputs), target=IN_DIR, read_only=True),
        Mount(source=os.fspath(files.outputs), target=OUT_DIR),
    ]
    mounts += [Mount(source=os.fspath(path), target=target) for target, path in _writable(layout, run).items()]
    if session is not None:
        mounts.append(Mount(source=os.fspath(session.directory), target=GATEWAY_DIR, read_only=True))
    return tuple(mounts)


def _writable(layout: RunLayout, run: Run) -> Mapping[str, Path]:
    """Map each path that the framework writes inside itself to the run's own storage."""
    folder = layout.state / "writable"
    return {
        path: folder / f"{number:02d}-{path.rsplit('/', 1)[-1]}" for number, path in enumerate(run.framework.writable)
    }


def _describe(run: Run, step: PlannedStep, attempt: int) -> dict[str, object]:
    return {
        "version": 1,
        "run": run.id,
        "framework": run.framework.name,
        "scenario": run.scenario,
        "step": {"id": step.id, "index": step.index, "count": len(run.steps)},
        "attempt": attempt,
        "repetition": run.repetition,
        "seed": run.seed,
        "model": run.model.name if run.model else None,
    }
