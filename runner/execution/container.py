"""The container contract: from a planned step to what its container sees."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.engine.cgroup import parent_name
from runner.engine.gpus import write_gpus
from runner.engine.protocol import ContainerSpec, EngineInfo, Mount, Resources
from runner.evidence.atomic import storage_error
from runner.evidence.layout import RunLayout, StepLayout
from runner.execution.conditions import Ready
from runner.execution.context import Context
from runner.execution.place import Place
from runner.execution.values import Unusable
from runner.gateway.session import Session
from runner.names import (
    ANSWERS_FILE,
    FRAMEWORK_DIR,
    GATEWAY_DIR,
    IN_DIR,
    INPUTS_FOLDER,
    LABEL_ATTEMPT,
    LABEL_CGROUP,
    LABEL_CPUS,
    LABEL_DIGEST,
    LABEL_FRAMEWORK,
    LABEL_GPUS,
    LABEL_KIND,
    LABEL_MEMORY,
    LABEL_RUN,
    LABEL_RUN_DIR,
    LABEL_STEP,
    OUT_DIR,
    PROMPT_FILE,
    SCRIPT_FILE,
    SHIM,
    STATE_DIR,
    STDIN_FILE,
    STEP_FILE,
    WORKSPACE_DIR,
)
from runner.plan.models import ImageRef, PlannedStep, Run
from runner.spec.models import Limits

FIXED_ENVIRONMENT = {
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
        layout.workspace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(f"cannot make {layout.workspace}", error) from error
    prepare_state(layout.state, run)


def prepare_state(state: Path, run: Run) -> None:
    """Make what /state begins with: HOME, and the writable paths' storage.

    Raises:
        StorageError: if it cannot be made.
    """
    try:
        for folder in (state / "home", *_writable(state, run).values()):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(f"cannot make the folders of {state}", error) from error


def prepare_attempt(layout: StepLayout, run: Run, ready: Ready, attempt: int) -> None:
    """Write /in afresh and empty /out; what an earlier attempt left there is kept under attempts/."""
    step = ready.step
    if attempt > 1:
        keep_attempt(layout, attempt - 1)
    layout.outputs.mkdir(parents=True, exist_ok=True)
    values = layout.inputs / INPUTS_FOLDER
    (values if ready.inputs else layout.inputs).mkdir(parents=True, exist_ok=True)
    for one in ready.inputs:
        (values / one.name).write_bytes(one.data)
    (layout.inputs / PROMPT_FILE).write_text(step.prompt, encoding="utf-8")
    (layout.inputs / STEP_FILE).write_text(
        json.dumps(_describe(run, ready, attempt), indent=2) + "\n", encoding="utf-8"
    )
    if step.script:
        (layout.inputs / SCRIPT_FILE).write_text(step.script, encoding="utf-8")
    if step.stdin is not None:
        (layout.inputs / STDIN_FILE).write_text(step.stdin, encoding="utf-8")
    if step.answers:
        prepared = {"version": 1, "answers": [one.model_dump() for one in step.answers]}
        (layout.inputs / ANSWERS_FILE).write_text(json.dumps(prepared, indent=2) + "\n", encoding="utf-8")
    for path in layout.inputs.rglob("*"):
        path.chmod(_READABLE if path.is_dir() or path.name == SCRIPT_FILE else 0o644)
    layout.inputs.chmod(_READABLE)


def keep_attempt(layout: StepLayout, number: int) -> None:
    """Move a finished attempt's logs and outputs aside, before the next attempt writes its own."""
    kept = layout.attempt(number)
    kept.root.mkdir(parents=True, exist_ok=True)
    for path in (layout.log("stdout"), layout.log("stderr"), layout.outputs):
        # What is there already was moved before a crash: what stands in its place holds nothing yet.
        if path.exists() and not (kept.root / path.name).exists():
            shutil.move(path, kept.root / path.name)


def container_spec(
    context: Context,
    run: Run,
    step: PlannedStep,
    place: Place,
    *,
    attempt: int,
    session: Session | None,
    deadline: float,
    gpus: Sequence[str] = (),
) -> ContainerSpec:
    """Return the container of one attempt.

    Args:
        context: shared hands.
        run: the run.
        step: the step to perform, its texts filled in.
        place: the workspace and the state it is given.
        attempt: number of the attempt, from 1.
        session: open gateway session, for a step that has a way out through it.
        deadline: seconds after which the shim ends the step.
        gpus: ids of the devices that it has for itself.

    Raises:
        Unusable: if the step's command has a placeholder that does not exist.
    """
    name = container_name(context, run, step, attempt)
    parent = parent_name(context.info, name)
    return ContainerSpec(
        name=name,
        image=context.images[image_of(run, step).id or ""],
        argv=_argv(run, step, deadline, forward=session is not None),
        env=_environment(run, step, session) | device_variables(context.info, gpus),
        user=context.user,
        workdir=WORKSPACE_DIR,
        mounts=_mounts(context, run, step, place, session),
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
            **({LABEL_GPUS: write_gpus(gpus)} if gpus else {}),
            LABEL_CGROUP: parent or "",
        },
        gpus=tuple(gpus),
        cgroup_parent=parent,
        network="bridge" if step.network == "open" else "none",
    )


def container_name(context: Context, run: Run, step: PlannedStep, attempt: int) -> str:
    """Return the name of an attempt's container: the same in every process, so that a later one finds it."""
    return f"{context.object_name(run)}-s{step.index:02d}-a{attempt:02d}"


def image_of(run: Run, step: PlannedStep) -> ImageRef:
    """Return the image of a step: its own, else the framework's."""
    return step.image or run.image


def command(run: Run, step: PlannedStep) -> tuple[str, ...]:
    """Return what is run for a step; placeholders become part of one argument, never of a shell line.

    That is the framework's command for a prompt; else the step's own, or its script.

    Raises:
        Unusable: if a placeholder does not exist.
    """
    if step.script:
        script = f"{IN_DIR}/{SCRIPT_FILE}"
        return (script,) if step.script.startswith("#!") else ("sh", "-eu", script)
    values = {
        "prompt": step.prompt,
        "prompt_file": f"{IN_DIR}/{PROMPT_FILE}",
        "model": run.model.name if run.model else "",
        "seed": str(run.seed),
        "step": step.id,
        "index": str(step.index),
    }
    return tuple(_fill(argument, values) for argument in step.command or run.framework.command)


def _fill(argument: str, values: Mapping[str, str]) -> str:
    try:
        return argument.format_map(values)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise Unusable(
            f"`{argument}` in the command has braces around what is no placeholder ({error}); write {{{{ for a brace"
        ) from None


def _argv(run: Run, step: PlannedStep, deadline: float, *, forward: bool) -> tuple[str, ...]:
    limits = step.limits
    options = [f"--deadline={deadline:.3f}", f"--grace={limits.grace:g}", f"--log-limit={limits.log}"]
    if forward:
        options.append("--gateway")
    if step.stdin is not None:
        options.append(f"--stdin={IN_DIR}/{STDIN_FILE}")
    return (SHIM, *options, "--", *command(run, step))


def _environment(run: Run, step: PlannedStep, session: Session | None) -> dict[str, str]:
    model = run.model.name if run.model is not None else None
    ways_out = session.environment(model) if session is not None else {}
    recipe = run.framework.environment if _in_framework(run, step) else {}
    return {**FIXED_ENVIRONMENT, "PYTHONHASHSEED": str(run.seed), **recipe, **ways_out}


def device_variables(info: EngineInfo, gpus: Sequence[str]) -> dict[str, str]:
    """Return what NVIDIA's runtime reads: an image that asks for all devices is not to get any that are not its own."""
    return {"NVIDIA_VISIBLE_DEVICES": write_gpus(gpus) or "void"} if gpus or info.gpus else {}


def _in_framework(run: Run, step: PlannedStep) -> bool:
    """Tell whether a step runs in the framework's own image, so that what its recipe says of it holds."""
    return image_of(run, step) == run.image


def _resources(limits: Limits) -> Resources:
    return Resources(
        cpus=limits.cpus,
        memory=limits.memory,
        swap=limits.swap,
        pids=limits.pids,
        tmp=limits.tmp,
        shm=limits.shm,
        log=limits.log,
        file=max(limits.workspace, limits.state),
    )


def _mounts(context: Context, run: Run, step: PlannedStep, place: Place, session: Session | None) -> tuple[Mount, ...]:
    files = context.layout(run).step(step.index)
    mounts = [
        Mount(source=os.fspath(place.state), target=STATE_DIR),
        Mount(source=os.fspath(files.inputs), target=IN_DIR, read_only=True),
        Mount(source=os.fspath(files.outputs), target=OUT_DIR),
    ]
    if place.workspace is not None and place.volume is not None:
        workspace = Mount(
            source=place.volume,
            target=WORKSPACE_DIR,
            read_only=place.read_only,
            volume=True,
            device=os.fspath(place.workspace),
        )
        mounts.insert(0, workspace)
    if _in_framework(run, step):
        mounts += [Mount(source=os.fspath(path), target=target) for target, path in _writable(place.state, run).items()]
    if session is not None:
        mounts.append(Mount(source=os.fspath(session.directory), target=GATEWAY_DIR, read_only=True))
    return tuple(mounts)


def _writable(state: Path, run: Run) -> Mapping[str, Path]:
    """Map each path that the framework writes inside itself to storage in the run's state."""
    folder = state / "writable"
    return {
        path: folder / f"{number:02d}-{path.rsplit('/', 1)[-1]}" for number, path in enumerate(run.framework.writable)
    }


def _describe(run: Run, ready: Ready, attempt: int) -> dict[str, object]:
    step = ready.step
    return {
        "version": 1,
        "run": run.id,
        "framework": run.framework.name,
        "scenario": run.scenario,
        "step": {"id": step.id, "index": step.index, "count": len(run.steps)},
        "kind": step.kind,
        "attempt": attempt,
        "repetition": run.repetition,
        "seed": run.seed,
        "model": run.model.name if run.model else None,
        "item": ready.item,
        "inputs": {one.name: {"type": one.type, "sha256": one.sha256, "bytes": len(one.data)} for one in ready.inputs},
    }
