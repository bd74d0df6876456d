"""Make ready what `runner shell` runs: the container's spec and the private copy it works on."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.cli.finding import read_record
from runner.cli.states import found_by, kept_step, left_with_state
from runner.engine.owner import current
from runner.engine.protocol import ContainerSpec, Engine
from runner.errors import EngineError, ImageError
from runner.events import Event
from runner.execution.cancellation import Cancellation
from runner.execution.container import image_of
from runner.execution.context import Context
from runner.execution.shell import Copy, fill_copy, shell_spec
from runner.plan.models import ImageRef, PlannedStep, Run


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A container that can be made now."""

    spec: ContainerSpec
    run: Run
    step: PlannedStep
    before: bool
    with_state: bool
    skipped: tuple[str, ...]


def open_shell(args: Namespace, engine: Engine, output: Path, copy: Copy, *, terminal: bool) -> Shell:
    """Fill the copy and return the container to run on it.

    Raises:
        ConfigError: if there is no such run or step.
        EngineError: if the engine is on another machine, which does not see the copy.
        ImageError: if it has not the step's image.
        StorageError: if the history is damaged.
    """
    kept, step = kept_step(output, args.step)
    if not engine.info().local:
        raise EngineError("the engine is on another machine", why="it does not see the copy that a shell works on")
    record = read_record(kept.place)
    run = record.run
    # What a fork was given is of no step of its own; it is looked at as its first step would be.
    planned = next((one for one in run.steps if one.id == step.id), run.steps[0])
    image = image_of(run, planned)
    context = _context(engine, output, {image.id or "": _engine_image(engine, image, run)})
    layout = kept.place.layout
    with_state = not args.before and left_with_state(record, step)
    skipped = fill_copy(
        copy,
        kept.history,
        found_by(step) if args.before else step,
        state=layout.state if with_state else None,
        inputs=layout.step(planned.index).inputs,
    )
    spec = shell_spec(context, run, planned, copy, tuple(args.argv), terminal=terminal)
    return Shell(spec=spec, run=run, step=planned, before=args.before, with_state=with_state, skipped=skipped)


def told(shell: Shell) -> Iterator[str]:
    """Yield what a person has to know of a shell before it begins."""
    moment = "found it" if shell.before else "left it"
    yield f"{shell.run.id}: the workspace as step {shell.step.id} {moment}, on a copy; without network"
    if not shell.with_state:
        yield "/state is empty: it is kept of the end of a run, not of each step"
    for one in shell.skipped:
        yield f"not kept: {one}"


def _context(engine: Engine, output: Path, images: dict[str, str]) -> Context:
    return Context(
        engine=engine,
        info=engine.info(),
        gateway=None,
        owner=current(),
        output=output,
        answers={},
        images=images,
        events=_ignore,
        cancellation=Cancellation(),
    )


def _ignore(event: Event) -> None:
    """Tell nobody."""


def _engine_image(engine: Engine, image: ImageRef, run: Run) -> str:
    """Return what the engine calls an image, which must be the very one."""
    for name in (image.id, image.tag):
        found = engine.images.inspect(name) if name else None
        if found is not None and found.config_digest == image.id:
            return found.id
    raise ImageError(
        f"the engine has not the image {image.id} that {run.id} ran in",
        why=f"{image.tag} is another one now, or was removed",
        hint=f"runner images build {run.framework.name}, in the project as it was then",
    )
