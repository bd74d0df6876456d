"""The stages of `runner go`, each fed what the one before returned."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from runner.cli.console import Console
from runner.cli.interrupt import interruptible
from runner.cli.journal import Journal, LeftOut, Opened
from runner.cli.live import notices, tell_all, watching
from runner.cli.logging import logging_to
from runner.cli.progress import begin
from runner.cli.results import Results, rows_of, show_results
from runner.cli.work import (
    PreparedImages,
    Work,
    build_images,
    carry,
    clear_away,
    decided,
    impossible,
    open_work,
    require_usable,
    slots_for,
)
from runner.cli.workplace import Workplace
from runner.errors import ConfigError, ExitCode, ImageError
from runner.events import EventSink, Notice
from runner.execution.cancellation import Cancellation
from runner.execution.control import Control
from runner.execution.place import Origin
from runner.ledger.rows import LedgerRow
from runner.plan.models import Run
from runner.plan.resume import FINAL_OUTCOMES, to_do
from runner.report.exit_code import WAITING, exit_code
from runner.report.format import plural
from runner.report.plan_tables import reasons, summary
from runner.spec.load import Inputs

_HISTORY = 20
"""Finished runs per framework and scenario that the estimate looks at, the latest of the experiment."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """An experiment's work, and the terminal and log that tell of it."""

    work: Work
    args: Namespace
    console: Console
    log: EventSink
    journal: Journal


@contextmanager
def open_session(args: Namespace, console: Console, workplace: Workplace, inputs: Inputs) -> Iterator[Session]:
    """Open an experiment's work and the log, and clear away what dead runners left; errors as `open_work`."""
    with open_work(workplace, inputs, fresh=args.fresh, on_wait=console.say) as work:
        verbose = console.err if args.verbose else None
        opened = Opened(pid=os.getpid(), experiment=inputs.experiment.value.name, label=work.label, time=time.time())
        with (
            logging_to(workplace.project.state, verbose=verbose) as log,
            Journal(work.output, opened) as journal,
        ):
            session = Session(work=work, args=args, console=console, log=tell_all(log, journal), journal=journal)
            for note in inputs.notes:
                console.warn(note)
            _clear_away(session)
            yield session


def _clear_away(session: Session) -> None:
    found = clear_away(session.work)
    gone = len(found.swept.containers) + len(found.swept.volumes)
    if gone:
        text = f"collected and removed {plural(gone, 'object')} that a runner left in the engine when it ended"
        tell_all(notices(session.console), session.log)(Notice(time=time.time(), text=text))
    for record in found.interrupted:
        session.console.warn(f"{record.run.id} of {record.run.framework.name} was cut off; what is known of it is kept")
    for name, why in found.swept.kept:
        session.console.warn(f"{name} stays in the engine: {why}")


def prepare_images(session: Session) -> PreparedImages:
    """Build what is missing, and show what cannot be built and which runs that keeps from being carried out.

    Raises:
        ImageError: if no run is left; it is the last of the errors shown.
    """
    images = build_images(session.work, tell_all(notices(session.console), session.log))
    try:
        require_usable(session.work, images)
    except (ImageError, ConfigError) as last:
        for error in images.failed.values():
            if error is not last:
                session.console.error(error)
        raise
    for error in images.failed.values():
        session.console.error(error)
    return images


def decide_runs(session: Session, runs: Sequence[Run]) -> Sequence[Run]:
    """Return the runs that are to be carried out, after saying how many and why."""
    decisions = decided(session.work, runs)
    session.console.say(f"{summary(decisions)}; {session.work.label}")
    for line in reasons(decisions):
        session.console.say(f"  {line}")
    return to_do(decisions)


def perform(
    session: Session,
    images: PreparedImages,
    todo: Sequence[Run],
    recordings: Mapping[str, Path] = MappingProxyType({}),
    *,
    planned: Sequence[Run] = (),
    origins: Mapping[str, Origin] = MappingProxyType({}),
) -> str:
    """Carry the runs out, showing progress; returns when all have ended or the user has stopped them.

    Returns:
        Why some were not begun, for `conclude`; see `carry`.

    Args:
        session: what the stages share.
        images: images of the frameworks.
        todo: the runs.
        recordings: run directory whose calls a run replays, by the run's digest.
        planned: every run of the experiment, for what those that are done have used up of its budget.
        origins: what a forked run begins with, by the run's digest.
    """
    if not todo:
        return ""
    work, console = session.work, session.console
    slots = slots_for(work, todo)
    kinds = [(run.framework.name, run.scenario) for run in todo]
    progress = begin(kinds, jobs=min(slots, len(todo)), now=time.time(), history=_history(work, kinds))
    cancellation, title = Cancellation(), f"{work.inputs.experiment.value.name}, {work.label}"
    session.journal.plan(title, progress, _left_out(work, images))
    with (
        Control(work.output) as control,
        watching(console, progress, title) as view,
        interruptible(console, view, cancellation),
    ):
        return carry(
            work,
            images,
            todo,
            slots=slots,
            events=tell_all(view, session.log),
            cancellation=cancellation,
            planned=planned,
            recordings=recordings,
            origins=origins,
            control=control,
            follow=console.interactive and not console.quiet,
        )


def _history(work: Work, kinds: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[float]]:
    """Return wall times of runs finished before, for the estimate; however many there are, only the latest are read."""
    seconds: dict[tuple[str, str], list[float]] = {}
    wanted = set(kinds)
    rows = work.ledger.rows(
        experiments=(work.inputs.experiment.value.name,),
        frameworks={framework for framework, _ in wanted},
        scenarios={scenario for _, scenario in wanted},
        outcomes=FINAL_OUTCOMES,
        newest=_HISTORY * len(wanted),
    )
    for row in rows:
        wall = row.metrics.get("wall_seconds")
        if wall is not None and row.model_label == work.label:
            seconds.setdefault((row.framework, row.scenario), []).append(wall)
    return {kind: values[-_HISTORY:] for kind, values in seconds.items()}


def _left_out(work: Work, images: PreparedImages) -> LeftOut:
    """Return what of the experiment is not carried out for want of an image."""
    failed = {name: error.what for name, error in images.failed.items()}
    return LeftOut(runs=tuple(impossible(work, images)), images_failed=failed)


def conclude(session: Session, runs: Sequence[Run], images: PreparedImages, stopped: str = "") -> int:
    """Show the result of every selected run, done now or before, and return the exit code.

    Args:
        session: what the stages share.
        runs: the selected runs.
        images: images of the frameworks.
        stopped: why some runs were not begun, as `perform` says.
    """
    digests = tuple(run.digest for run in runs if run.digest is not None)
    rows = rows_of(session.work.ledger, digests)
    code = _code(rows, images, stopped)
    left_out = _left_out(session.work, images)
    session.journal.end(code, digests, left_out, stopped)
    results = Results(
        experiment=session.work.inputs.experiment.value.name,
        label=session.work.label,
        output=session.work.output,
        rows=rows,
        code=code,
        images_failed=left_out.images_failed,
        impossible=left_out.runs,
        stopped=stopped,
    )
    show_results(session.console, results)
    return code


def _code(rows: Sequence[LedgerRow], images: PreparedImages, stopped: str) -> ExitCode:
    """Return the exit code: an image that could not be built outranks failures, not what is broken or interrupted.

    Runs that were not begun because others broke were not interrupted by anybody.
    """
    unfinished = "broken" if stopped else None
    code = exit_code(WAITING if row.waits_for else row.outcome or unfinished for row in rows)
    return ExitCode.IMAGE if images.failed and code in {ExitCode.PASSED, ExitCode.FAILED} else code
