"""A container to look around in: a step's workspace on a private copy, with everything else as the step had it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from runner.engine.protocol import ContainerSpec, Mount
from runner.evidence.atomic import storage_error
from runner.evidence.history.oci import KeptStep
from runner.evidence.history.restore import restore
from runner.evidence.tree import scan
from runner.execution.container import container_spec
from runner.execution.context import Context
from runner.execution.fork import copy_state
from runner.execution.place import Place
from runner.names import (
    IN_DIR,
    LABEL_ATTEMPT,
    LABEL_CGROUP,
    LABEL_KIND,
    LABEL_RUN_DIR,
    LABEL_STEP,
    OUT_DIR,
    WORKSPACE_DIR,
)
from runner.plan.models import PlannedStep, Run

SHELLS = ".shells"
"""Folder of private copies, in the folder of runs; each is held by a lock for as long as somebody is in it."""
_OPEN = 0o755
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")
"""What is run without a command: the better of the two shells that the image has."""


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Folders that a shell's container mounts; what is done there touches no run."""

    root: Path

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def inputs(self) -> Path:
        return self.root / "in"

    @property
    def outputs(self) -> Path:
        return self.root / "out"


@contextmanager
def private_copy(output: Path, keep: Path | None) -> Iterator[Copy]:
    """Lend a new folder that is removed at the end, and remove those whose user has ended without doing so.

    Args:
        output: folder of run directories.
        keep: where the folder is to be instead, and to stay; it must not exist yet, or be empty.

    Raises:
        StorageError: if it cannot be made.
    """
    root = keep or output / SHELLS / secrets.token_hex(8)
    try:
        handle = _made(root) if keep else _swept(root)
    except OSError as error:
        raise storage_error(f"cannot make {root}", error) from error
    try:
        yield Copy(root=root)
    finally:
        if keep is None:
            shutil.rmtree(root, ignore_errors=True)
        os.close(handle)


def fill_copy(copy: Copy, history: Path, step: KeptStep, *, state: Path | None, inputs: Path) -> tuple[str, ...]:
    """Write a step's workspace, state and inputs into a private copy.

    Args:
        copy: where to.
        history: folder `history` of the run.
        step: whose workspace; one without an index found nothing.
        state: what /state is to hold; None for nothing.
        inputs: what /in held; it need not exist.

    Returns:
        What of the workspace was never kept.

    Raises:
        StorageError: if the history is damaged or something cannot be written.
    """
    try:
        for folder in (copy.state / "home", copy.outputs):
            folder.mkdir(parents=True, exist_ok=True)
        if inputs.is_dir():
            shutil.copytree(inputs, copy.inputs, symlinks=True)
        copy.inputs.mkdir(exist_ok=True)
        if not step.index:
            copy.workspace.mkdir()
    except OSError as error:
        raise storage_error(f"cannot write {copy.root}", error) from error
    if state is not None:
        copy_state(state, copy.state)
    skipped = restore(history, step, copy.workspace).skipped if step.index else ()
    copy.workspace.chmod(_OPEN)
    return tuple(map(str, skipped))


def shell_spec(
    context: Context, run: Run, step: PlannedStep, copy: Copy, argv: tuple[str, ...], *, terminal: bool
) -> ContainerSpec:
    """Return a container like the step's own, but for its command, its folders and its way out, of which it has none.

    Args:
        context: shared hands.
        run: the run.
        step: the step whose limits, image and environment it has.
        copy: its folders.
        argv: what it runs.
        terminal: whether its streams are a terminal.
    """
    place = Place(workspace=None, volume=None, state=copy.state, read_only=False, before=scan(copy.outputs))
    spec = container_spec(context, run, step, place, attempt=1, session=None, deadline=1.0)
    own = {WORKSPACE_DIR: copy.workspace, IN_DIR: copy.inputs, OUT_DIR: copy.outputs}
    mounts = [one for one in spec.mounts if one.target not in own]
    mounts += [Mount(source=str(path), target=target, read_only=target == IN_DIR) for target, path in own.items()]
    for one in mounts:
        Path(one.source).mkdir(parents=True, exist_ok=True)
    labels = {
        name: value for name, value in spec.labels.items() if name not in {LABEL_STEP, LABEL_ATTEMPT, LABEL_CGROUP}
    }
    return replace(
        spec,
        name=f"{context.object_name(run)}-shell-{secrets.token_hex(4)}",
        argv=argv or SHELL,
        env={**spec.env, "TERM": "xterm"} if terminal else spec.env,
        mounts=tuple(mounts),
        # Of no step: what a shell prints is nobody's evidence, should a sweep find its container.
        labels={**labels, LABEL_KIND: "shell", LABEL_RUN_DIR: str(copy.root)},
        cgroup_parent=None,
        network="none",
        interactive=True,
        terminal=terminal,
    )


def _made(root: Path) -> int:
    """Make a folder and hold it."""
    root.mkdir(0o700, parents=True, exist_ok=True)
    handle = os.open(root, _FOLDER)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def _swept(root: Path) -> int:
    """Remove the folders beside one that nobody holds any more, then make and hold it, while nobody else does this."""
    shells = _made(root.parent)
    try:
        for one in root.parent.iterdir():
            _remove_unheld(one)
        return _made(root)
    finally:
        os.close(shells)


def _remove_unheld(folder: Path) -> None:
    handle = os.open(folder, _FOLDER)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
