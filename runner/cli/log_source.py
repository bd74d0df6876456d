"""Where the output of a step comes from: files once it has ended, the engine while it runs."""

from __future__ import annotations

import time
from collections.abc import Collection

from runner.cli.console import Console
from runner.cli.finding import Place, read_record
from runner.engine.protocol import ContainerState, Engine
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.names import LABEL_ATTEMPT, LABEL_KIND, LABEL_RUN, LABEL_RUN_DIR, LABEL_STEP

_CHUNK = 64 * 1024
_POLL_SECONDS = 0.3
_PATIENCE_SECONDS = 30.0
"""A run without a container for this long is taken to be abandoned."""


def copy_finished(
    console: Console,
    layout: RunLayout,
    record: RunRecord,
    *,
    only: int | None,
    streams: Collection[str],
    done: Collection[int] = (),
) -> list[int]:
    """Print the kept output of steps that have ended, each below a heading on stderr.

    Args:
        console: where to.
        layout: where the files are.
        record: the run.
        only: position of the one step that is wanted, or None for all.
        streams: `stdout`, `stderr` or both.
        done: positions of steps that have been printed already.

    Returns:
        Positions of the steps printed.
    """
    printed: list[int] = []
    for step in record.steps:
        if (only is not None and step.index != only) or step.index in done or not step.attempts:
            continue
        _heading(console, step.index, step.id, step.outcome)
        for stream in streams:
            _copy(console, layout, step.index, stream)
        printed.append(step.index)
    return printed


def follow_run(
    console: Console, engine: Engine, place: Place, *, only: int | None, streams: Collection[str], follow: bool
) -> None:
    """Print the output of a run under way: what has ended from its files, what runs from its container.

    Args:
        console: where to.
        engine: where the run's containers are.
        place: the run.
        only: position of the one step that is wanted, or None for all.
        streams: `stdout`, `stderr` or both.
        follow: whether to go on until the run, or the one step, has ended.
    """
    done: set[int] = set()
    seen: set[str] = set()
    idle_since = time.monotonic()
    while True:
        record = read_record(place)
        done.update(copy_finished(console, place.layout, record, only=only, streams=streams, done=done))
        container = _newest(engine, place, only)
        if container is not None and container.id not in seen:
            seen.add(container.id)
            done.add(_number(container, LABEL_STEP))
            _stream(console, engine, container, streams=streams, follow=follow)
            idle_since = time.monotonic()
        ended = record.outcome is not None or (only is not None and any(step.index == only for step in record.steps))
        if ended or not follow:
            return
        if time.monotonic() - idle_since > _PATIENCE_SECONDS and container is None:
            console.warn(f"{place.run_id} has no container and no final record; `runner go` settles and repeats it")
            return
        time.sleep(_POLL_SECONDS)


def _newest(engine: Engine, place: Place, only: int | None) -> ContainerState | None:
    """Return the run's newest container, that of the wanted step if one is wanted."""
    labels = {LABEL_KIND: "attempt", LABEL_RUN: place.run_id, LABEL_RUN_DIR: str(place.layout.root)}
    found = [one for one in engine.observer.find(labels) if only in (None, _number(one, LABEL_STEP))]
    return max(found, key=lambda one: (_number(one, LABEL_STEP), _number(one, LABEL_ATTEMPT)), default=None)


def _number(container: ContainerState, label: str) -> int:
    value = container.labels.get(label, "")
    return int(value) if value.isdigit() else 0


def _stream(
    console: Console, engine: Engine, container: ContainerState, *, streams: Collection[str], follow: bool
) -> None:
    step = _number(container, LABEL_STEP)
    _heading(console, step, f"attempt {_number(container, LABEL_ATTEMPT)}", container.status)
    for stream, chunk in engine.observer.logs(container.id, follow=follow):
        if stream in streams:
            console.passthrough(stream, chunk)


def _heading(console: Console, index: int, name: str, state: str) -> None:
    console.aside(f"==> step {index} {name}: {state.replace('_', ' ')} <==")


def _copy(console: Console, layout: RunLayout, index: int, stream: str) -> None:
    try:
        with layout.step(index).log(stream).open("rb") as file:
            while chunk := file.read(_CHUNK):
                console.passthrough(stream, chunk)
    except FileNotFoundError:
        console.aside(f"({stream} was not kept)")
