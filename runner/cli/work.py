"""What an experiment is carried out with, by the command line and by Python programs alike: nothing here prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from runner.cli.gateway_stage import gateway_of, packages_folder, spent_before
from runner.cli.image_stage import image_context, site_of, split
from runner.cli.waiting import look_for_answers, look_for_cut_off
from runner.cli.workplace import Workplace
from runner.engine.admission import default_jobs
from runner.engine.docker import connect
from runner.engine.owner import current
from runner.engine.protocol import Engine, EngineInfo
from runner.engine.reservations import Reservations, known_gpus, open_reservations
from runner.engine.sweep import Swept
from runner.engine.unlisted import Unlisted
from runner.errors import ConfigError, EngineError
from runner.events import EventSink, Notice
from runner.evidence.records import RunRecord
from runner.execution.breaker import Breaker
from runner.execution.cancellation import Cancellation
from runner.execution.claim import claim
from runner.execution.context import Context
from runner.execution.control import Control
from runner.execution.curfew import curfew
from runner.execution.executors.local import LocalPool
from runner.execution.experiment import carry_out
from runner.execution.gate import Gate
from runner.execution.graph import contained
from runner.execution.place import Origin
from runner.execution.recovery import finish_interrupted, sweep_dead
from runner.execution.slots import Slots
from runner.gateway.client import start_gateway
from runner.gateway.labels import model_label
from runner.gateway.leftovers import remove_leftovers
from runner.gateway.session import Gateway
from runner.gateway.settings import GatewaySettings
from runner.images.pipeline import Failure, ensure
from runner.ledger.removal import finish_removals
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.plan.impossible import Impossible, impossible_runs
from runner.plan.models import ImageRef, Run
from runner.plan.resume import Decision, decide
from runner.spec.load import Inputs
from runner.spec.site import SITE_FILE, Site


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the stages of an experiment share."""

    workplace: Workplace
    inputs: Inputs
    engine: Engine
    info: EngineInfo
    ledger: Ledger
    output: Path
    gateway: GatewaySettings | None
    """None if no step of the experiment has a way out."""
    site: Site
    """The machine's rules."""
    fresh: bool
    """Whether everything is carried out anew, whatever is done."""

    @property
    def label(self) -> str:
        """How the experiment's model is called."""
        return model_label(self.inputs.experiment.value.model)


@dataclass(frozen=True, kw_only=True)
class PreparedImages:
    """Images of the experiment's frameworks and single steps that can be used, and why the others cannot."""

    references: Mapping[str, ImageRef]
    engine_ids: Mapping[str, str]
    """Config digest -> what the engine calls the image."""
    failed: Mapping[str, Failure]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What runners that died had left behind, and what was done with it."""

    swept: Swept
    interrupted: Sequence[RunRecord]
    """Runs that were cut off, finalised with what is known of them."""


@contextmanager
def open_work(
    workplace: Workplace,
    inputs: Inputs,
    *,
    fresh: bool = False,
    engine: Engine | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[Work]:
    """Claim the folder of runs, connect to the engine and open the ledger, for as long as the block lasts.

    Args:
        workplace: the project.
        inputs: the experiment, read and checked.
        fresh: carry out everything anew.
        engine: where containers run; by default the one that the workplace's settings name.
        on_wait: hears why it takes a while, if somebody else still clears away in the folder.

    Raises:
        ConfigError: if the model's key is missing, or a price that a budget needs.
        EngineError: if no engine can be used.
        StorageError: if the ledger cannot be used, or another runner is at work in the same folder.
    """
    output = workplace.project.output(inputs.experiment.value.output)
    # A missing key or price, or a mistake in the machine's rules, is found before anything is built or started.
    gateway = gateway_of(workplace, inputs)
    site = site_of(workplace.environment)
    with ExitStack() as stack:
        stack.enter_context(claim(output, on_wait=on_wait))
        used = engine if engine is not None else stack.enter_context(connect(workplace.environment))
        info = used.info()
        _require_local(info)
        yield Work(
            workplace=workplace,
            inputs=inputs,
            engine=used,
            info=info,
            ledger=stack.enter_context(open_ledger(ledger_path(output))),
            output=output,
            gateway=gateway,
            site=site,
            fresh=fresh,
        )


def _require_local(info: EngineInfo) -> None:
    """Refuse an engine elsewhere: it sees neither the run directories nor the gateway's socket."""
    if not info.local:
        raise EngineError(
            "the engine is on another machine",
            why="run directories and the gateway's socket are folders of this machine, mounted into containers",
            hint="unset DOCKER_HOST to use this machine's engine, or start `runner go` over there",
        )


def clear_away(work: Work) -> Found:
    """Collect, then remove, what dead runners left in the engine, and finalise the runs they were at."""
    if work.gateway is not None:
        # Calls that were under way get their lines before the runs they belong to are added up.
        remove_leftovers(work.gateway.runtime)
    finish_removals(work.output, work.ledger)
    swept = sweep_dead(work.engine, current(), output=work.output)
    return Found(swept=swept, interrupted=finish_interrupted(work.output, work.ledger, current()))


def build_images(work: Work, events: EventSink) -> PreparedImages:
    """Build what is missing; an image that cannot be built keeps no run from running that does not need it."""
    ready, failed = split(ensure(image_context(work.workplace, work.engine, events), work.inputs.recipes))
    return PreparedImages(
        references={name: ImageRef(tag=one.tag, id=one.id) for name, one in ready.items()},
        engine_ids={one.id: one.engine_id for one in ready.values()},
        failed=failed,
    )


def require_usable(work: Work, images: PreparedImages) -> None:
    """Refuse to go on if no run has all the images that it needs.

    Raises:
        ImageError: the first reason why.
    """
    if images.failed and not work.inputs.usable_with(images.references):
        raise next(iter(images.failed.values()))


def impossible(work: Work, images: PreparedImages) -> Sequence[Impossible]:
    """Return the runs that are left out for want of an image."""
    inputs = work.inputs
    return impossible_runs(
        inputs.experiment.value,
        {name: one.value for name, one in inputs.scenarios.items()},
        {name: one.value for name, one in inputs.workflows.items()},
        images.references,
    )


def decided(work: Work, runs: Sequence[Run]) -> Sequence[Decision]:
    """Return what is to happen with each planned run, and why."""
    past = work.ledger.past(run.digest for run in runs if run.digest is not None)
    past = look_for_cut_off(work.output, look_for_answers(work.output, past), current().boot)
    return decide(runs, past, fresh=work.fresh, previous=work.ledger.previous)


def slots_for(work: Work, todo: Sequence[Run]) -> int:
    """Return how many containers run at once: what the experiment says, else what the machine bears."""
    limits = (step.limits for run in todo for step in run.steps if contained(step))
    return work.inputs.experiment.value.jobs or default_jobs(work.info, limits)


def carry(
    work: Work,
    images: PreparedImages,
    todo: Sequence[Run],
    *,
    slots: int,
    events: EventSink,
    cancellation: Cancellation,
    planned: Sequence[Run] = (),
    recordings: Mapping[str, Path] = MappingProxyType({}),
    origins: Mapping[str, Origin] = MappingProxyType({}),
    control: Control | None = None,
    follow: bool = False,
) -> str:
    """Carry the runs out; returns when all have ended, wait for people, or were cancelled. The ledger has them then.

    Returns:
        Why some were not begun: too many broke for the same reason; empty if that is not so.

    Args:
        work: what the stages share.
        images: images of the frameworks.
        todo: the runs; at least one.
        slots: containers at once. A single run may use all of them, if its steps can go side by side.
        events: told what happens, from whichever thread it happens in.
        cancellation: thrown to stop.
        planned: every run of the experiment, for what those that are done have used up of its budget.
        recordings: run directory whose calls a run replays, by the run's digest.
        origins: what a forked run begins with, by the run's digest.
        control: who may pause everything or stop single runs from elsewhere; None for nobody.
        follow: whether output lines are events too.
    """
    _require_gpus(work, todo)
    timeout = work.inputs.experiment.value.limits.experiment_timeout
    with (
        _gateway(work, planned or todo, events) as gateway,
        _reservations(work) as reservations,
        curfew(timeout, cancellation, events),
    ):
        context = Context(
            engine=work.engine,
            info=work.info,
            gateway=gateway,
            owner=current(),
            output=work.output,
            answers=work.inputs.answers,
            images=images.engine_ids,
            events=events,
            cancellation=cancellation,
            recordings=recordings,
            origins=origins,
            packages_folder=packages_folder(work.workplace, work.inputs.experiment.value),
            follow=follow,
            slots=Slots(slots),
            reservations=reservations,
            gate=Gate([control.hindrance] if control is not None else (), engine=work.engine.absence),
        )
        return _carry_out(work, context, todo, LocalPool(min(slots, len(todo)), cancellation), control)


def _carry_out(work: Work, context: Context, todo: Sequence[Run], pool: LocalPool, control: Control | None) -> str:
    breaker = Breaker(work.inputs.experiment.value.stop_after_broken)
    for _ in carry_out(context, todo, work.ledger, pool, fresh=work.fresh, control=control, breaker=breaker):
        # What came of it is read from the ledger and the directories, where it is whole.
        pass
    return breaker.why


def _reservations(work: Work) -> AbstractContextManager[Reservations]:
    """Take part in the sharing of the machine among all its users."""
    name = work.inputs.experiment.value.name
    unlisted = Unlisted(work.engine)
    return open_reservations(current(), work.info, work.site, name, unlisted, refresh=unlisted.refresh)


def _require_gpus(work: Work, todo: Sequence[Run]) -> None:
    """Refuse what would wait for ever: a step that wants more devices than there are."""
    known = known_gpus(work.info, work.site)
    for run in todo:
        for step in run.steps:
            if step.limits.gpus > len(known):
                raise ConfigError(
                    f"step {step.id} of {run.scenario} wants {step.limits.gpus} GPUs (limits.gpus), and there are {len(known)}",
                    why="the engine's NVIDIA runtime offers no more, and the site file names no others",
                    hint=f'name them in {SITE_FILE} (`gpus: ["0"]`), or lower limits.gpus',
                )


def _gateway(work: Work, planned: Sequence[Run], events: EventSink) -> AbstractContextManager[Gateway | None]:
    """Start the gateway if some step has a way out, with what the experiment has used up of its budget before."""
    if work.gateway is None:
        return nullcontext()
    # What a dead runner of this folder had open goes on; its budget is ours unless everything is carried out anew.
    experiment = work.inputs.experiment.value.name
    settings = replace(work.gateway, home=work.output, experiment="" if work.fresh else experiment)

    def tell(why: str) -> None:
        events(Notice(time=time.time(), text=why, level="warning"))

    if work.fresh or not settings.budget.model_dump(exclude_none=True):
        return start_gateway(settings, tell)
    digests = {run.digest for run in planned if run.digest is not None}
    spent = spent_before(work.output, work.ledger.rows(experiments=(experiment,), digests=digests))
    return start_gateway(replace(settings, spent=spent), tell)
