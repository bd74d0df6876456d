"""The stages of `runner go`, each fed what the one before returned."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from runner.cli.console import Console
from runner.cli.gateway_stage import gateway_of, packages_folder, spent_before
from runner.cli.image_stage import image_context, split
from runner.cli.interrupt import interruptible
from runner.cli.live import notices, tell_all, watching
from runner.cli.logging import logging_to
from runner.cli.progress import begin
from runner.cli.workplace import Workplace
from runner.engine.admission import default_jobs
from runner.engine.docker import connect
from runner.engine.owner import current
from runner.engine.protocol import Engine, EngineInfo
from runner.errors import EngineError, ExitCode
from runner.events import EventSink, Notice
from runner.execution.cancellation import Cancellation
from runner.execution.claim import claim
from runner.execution.context import Context
from runner.execution.executors.local import LocalPool
from runner.execution.experiment import carry_out
from runner.execution.recovery import finish_interrupted, sweep_dead
from runner.gateway.client import start_gateway
from runner.gateway.labels import model_label
from runner.gateway.leftovers import remove_leftovers
from runner.gateway.session import Gateway
from runner.gateway.settings import GatewaySettings
from runner.images.pipeline import Failure, ensure
from runner.ledger.rows import LedgerRow
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.plan.models import ImageRef, Run
from runner.plan.resume import FINAL_OUTCOMES, decide
from runner.report.exit_code import exit_code
from runner.report.format import plural
from runner.report.ledger_tables import facts_of
from runner.report.plan_tables import reasons, summary
from runner.report.results import otherwise, result_table, result_values
from runner.spec.load import Inputs

_HISTORY = 20
"""Latest finished runs per framework and scenario that the estimate looks at."""
_NAMED = 10
"""Runs that did not pass and are named below the table."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the stages share."""

    args: Namespace
    console: Console
    workplace: Workplace
    inputs: Inputs
    engine: Engine
    info: EngineInfo
    ledger: Ledger
    output: Path
    log: EventSink
    gateway: GatewaySettings | None
    """None if no step of the experiment has a way out."""

    @property
    def label(self) -> str:
        """How the experiment's model is called."""
        return model_label(self.inputs.experiment.value.model)


@dataclass(frozen=True, kw_only=True)
class PreparedImages:
    """Images of the experiment's frameworks that can be used, and why the others cannot."""

    references: Mapping[str, ImageRef]
    engine_ids: Mapping[str, str]
    """Config digest -> what the engine calls the image."""
    failed: Mapping[str, Failure]


@contextmanager
def open_session(args: Namespace, console: Console, workplace: Workplace, inputs: Inputs) -> Iterator[Session]:
    """Claim the folder of runs, connect to the engine, open ledger and log, and sweep what dead runners left.

    Raises:
        ConfigError: if the model's key is missing, or a price that a budget needs.
        EngineError: if no engine can be used.
        StorageError: if the ledger cannot be used, or another runner is at work in the same folder.
    """
    output = workplace.project.output(inputs.experiment.value.output)
    # A missing key or price is found before anything is built or started.
    gateway = gateway_of(workplace, inputs)
    with ExitStack() as stack:
        stack.enter_context(claim(output))
        verbose = console.err if args.verbose else None
        log = stack.enter_context(logging_to(workplace.project.state, verbose=verbose))
        engine = stack.enter_context(connect(workplace.environment))
        _require_local(engine.info())
        session = Session(
            args=args,
            console=console,
            workplace=workplace,
            inputs=inputs,
            engine=engine,
            info=engine.info(),
            ledger=stack.enter_context(open_ledger(ledger_path(output))),
            output=output,
            log=log,
            gateway=gateway,
        )
        for note in inputs.notes:
            console.warn(note)
        _sweep(session)
        yield session


def _require_local(info: EngineInfo) -> None:
    """Refuse an engine elsewhere: it sees neither the run directories nor the gateway's socket."""
    if not info.local:
        raise EngineError(
            "the engine is on another machine",
            why="run directories and the gateway's socket are folders of this machine, mounted into containers",
            hint="unset DOCKER_HOST to use this machine's engine, or start `runner go` over there",
        )


def _sweep(session: Session) -> None:
    if session.gateway is not None:
        # Calls that were under way get their lines before the runs they belong to are added up.
        remove_leftovers(session.gateway.runtime)
    swept = sweep_dead(session.engine, current())
    gone = len(swept.containers) + len(swept.volumes)
    if gone:
        text = f"collected and removed {plural(gone, 'object')} that a runner left in the engine when it ended"
        tell_all(notices(session.console), session.log)(Notice(time=time.time(), text=text))
    for record in finish_interrupted(session.output, session.ledger, current()):
        session.console.warn(f"{record.run.id} of {record.run.framework.name} was cut off; what is known of it is kept")
    for name, why in swept.kept:
        session.console.warn(f"{name} stays in the engine: {why}")


def prepare_images(session: Session) -> PreparedImages:
    """Build what is missing; a framework whose image cannot be built keeps no other from running.

    Raises:
        ImageError: if no image can be used.
    """
    events = tell_all(notices(session.console), session.log)
    ready, failed = split(
        ensure(image_context(session.workplace, session.engine, events), tuple(session.inputs.frameworks))
    )
    if not ready:
        raise next(iter(failed.values()))
    for error in failed.values():
        session.console.error(error)
    return PreparedImages(
        references={name: ImageRef(tag=one.tag, id=one.id) for name, one in ready.items()},
        engine_ids={one.id: one.engine_id for one in ready.values()},
        failed=failed,
    )


def decide_runs(session: Session, runs: Sequence[Run]) -> Sequence[Run]:
    """Return the runs that are to be carried out, after saying how many and why."""
    past = session.ledger.past(run.digest for run in runs if run.digest is not None)
    decisions = decide(runs, past, fresh=session.args.fresh, previous=session.ledger.previous)
    session.console.say(f"{summary(decisions)}; {session.label}")
    for line in reasons(decisions):
        session.console.say(f"  {line}")
    return [one.run for one in decisions if one.action == "run"]


def perform(
    session: Session,
    images: PreparedImages,
    todo: Sequence[Run],
    recordings: Mapping[str, Path] = MappingProxyType({}),
    *,
    planned: Sequence[Run] = (),
) -> None:
    """Carry the runs out, showing progress; returns when all have ended or the user has stopped them.

    Args:
        session: what the stages share.
        images: images of the frameworks.
        todo: the runs.
        recordings: run directory whose calls a run replays, by the run's digest.
        planned: every run of the experiment, for what those that are done have used up of its budget.
    """
    if not todo:
        return
    experiment = session.inputs.experiment.value
    jobs = experiment.jobs or default_jobs(session.info, (step.limits for run in todo for step in run.steps))
    jobs = min(jobs, len(todo))
    kinds = [(run.framework.name, run.scenario) for run in todo]
    progress = begin(kinds, jobs=jobs, now=time.time(), history=_history(session))
    cancellation = Cancellation()
    with (
        watching(session.console, progress, f"{experiment.name}, {session.label}") as view,
        _gateway(session, planned or todo, tell_all(view, session.log)) as gateway,
        interruptible(session.console, view, cancellation),
    ):
        context = Context(
            engine=session.engine,
            info=session.info,
            gateway=gateway,
            owner=current(),
            output=session.output,
            answers=session.inputs.answers,
            images=images.engine_ids,
            events=tell_all(view, session.log),
            cancellation=cancellation,
            recordings=recordings,
            packages_folder=packages_folder(session.workplace, experiment),
            follow=session.console.interactive and not session.console.quiet,
        )
        pool = LocalPool(jobs, cancellation)
        for _ in carry_out(context, todo, session.ledger, pool, fresh=session.args.fresh):
            # The ledger has it; the table is made from there.
            pass


def _gateway(session: Session, planned: Sequence[Run], events: EventSink) -> AbstractContextManager[Gateway | None]:
    """Start the gateway if some step has a way out, with what the experiment has used up of its budget before."""
    if session.gateway is None:
        return nullcontext()

    def tell(why: str) -> None:
        events(Notice(time=time.time(), text=why, level="warning"))

    if session.args.fresh or not session.gateway.budget.model_dump(exclude_none=True):
        return start_gateway(session.gateway, tell)
    digests = {run.digest for run in planned}
    rows = session.ledger.rows(experiments=(session.inputs.experiment.value.name,))
    spent = spent_before(session.output, (row for row in rows if row.digest in digests))
    return start_gateway(replace(session.gateway, spent=spent), tell)


def _history(session: Session) -> dict[tuple[str, str], list[float]]:
    """Return wall times of runs finished before, for the estimate."""
    seconds: dict[tuple[str, str], list[float]] = {}
    experiment = session.inputs.experiment.value
    for row in session.ledger.rows(experiments=(experiment.name,), states=("done",)):
        wall = row.metrics.get("wall_seconds")
        if wall is not None and row.outcome in FINAL_OUTCOMES and row.model_label == session.label:
            seconds.setdefault((row.framework, row.scenario), []).append(wall)
    return {kind: values[-_HISTORY:] for kind, values in seconds.items()}


def conclude(session: Session, runs: Sequence[Run], images: PreparedImages) -> int:
    """Show the result of every selected run, done now or before, and return the exit code."""
    selected = {run.digest for run in runs}
    rows = [row for row in session.ledger.rows() if row.digest in selected]
    order = {run.digest: number for number, run in enumerate(runs)}
    rows.sort(key=lambda row: order[row.digest])
    code = _code(rows, images)
    facts = [facts_of(row, session.label) for row in rows]
    if session.args.json:
        session.console.json(
            {
                "experiment": session.inputs.experiment.value.name,
                "model": session.label,
                "exit_code": int(code),
                "images_failed": {name: error.what for name, error in images.failed.items()},
                "output": str(session.output),
                "runs": result_values(facts),
            }
        )
        return code
    session.console.table(result_table(facts))
    _last_words(session, rows)
    return code


def _code(rows: Sequence[LedgerRow], images: PreparedImages) -> ExitCode:
    """Return the exit code: an image that could not be built outranks failures, not what is broken or interrupted."""
    code = exit_code(row.outcome for row in rows)
    return ExitCode.IMAGE if images.failed and code in {ExitCode.PASSED, ExitCode.FAILED} else code


def _last_words(session: Session, rows: Sequence[LedgerRow]) -> None:
    """Name what did not pass, and where everything is."""
    console = session.console
    bad = [row for row in rows if row.outcome != "passed"]
    for row in bad[:_NAMED]:
        console.say(f"  {row.directory}: {(row.outcome or 'unfinished').replace('_', ' ')}: {row.reason or '-'}")
    if len(bad) > _NAMED:
        console.say(f"  and {len(bad) - _NAMED:,} more: runner runs")
    passed = len(rows) - len(bad)
    other = otherwise(row.outcome for row in rows)
    console.say(
        f"{plural(len(rows), 'run')}: {passed:,} passed{', ' + other if other else ''}; evidence in {session.output}"
    )
    if bad:
        console.say(f"look closer: runner show {bad[0].directory}")
    if any(row.outcome in {None, "cancelled", "broken"} for row in rows):
        console.say("continue: runner go, with the same arguments")
