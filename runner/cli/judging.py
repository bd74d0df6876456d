"""Judge a recorded run, or any folder, with a scenario's checks; no framework runs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.cli.console import Console
from runner.cli.finding import Place, find_run, read_record
from runner.cli.image_stage import image_context, site_of
from runner.cli.interrupt import interruptible
from runner.cli.live import notices
from runner.cli.planning import checker_of
from runner.cli.workplace import Workplace, open_workplace, output_folder
from runner.engine.docker import connect
from runner.engine.owner import current
from runner.engine.protocol import Engine
from runner.engine.reservations import open_reservations
from runner.engine.unlisted import Unlisted
from runner.errors import ConfigError, EngineError, ImageError
from runner.events import EventSink, Notice
from runner.evidence.copying import copy_tree
from runner.evidence.layout import RunLayout, StepLayout
from runner.evidence.measures.again import newest_totals
from runner.evidence.records import RunRecord
from runner.evidence.verdicts import CheckVerdict
from runner.execution.cancellation import Cancellation
from runner.execution.checking import Subject, Task, perform_check
from runner.execution.context import Context, now, release
from runner.execution.judging import Docket, hear, told
from runner.execution.shell import Copy, private_copy
from runner.images.models import BuiltImage
from runner.images.pipeline import ensure
from runner.ledger.store import ledger_path, open_ledger
from runner.names import CHECKER
from runner.plan.digest import canonical, sha256
from runner.plan.judging import plan_checks, version_of
from runner.plan.models import Checker, ImageRef, Run
from runner.spec.complaints import choose_from
from runner.spec.judging import Check
from runner.spec.load import load_checker, load_scenario, scenario_names
from runner.spec.scenario import Scenario

_SEED = 1
"""Seed for a folder from elsewhere, which no repetition made."""
_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """What was said of a run or a folder."""

    subject: str
    verdicts: Sequence[CheckVerdict]
    kept: Path | None
    """Where the verdicts are; None: of a folder from elsewhere, or an archive, nothing is kept."""
    cancelled: bool


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What judging needs, whatever is judged."""

    context: Context
    checker: Checker
    scenario: Scenario
    copy: Copy


def judge(args: Namespace, console: Console) -> Judgements:
    """Judge what the arguments name.

    Raises:
        ConfigError: if there is no such run, scenario or check, or the run has not ended.
        EngineError: if no engine can be used.
        ImageError: if the image that judges cannot be had.
        StorageError: if verdicts cannot be written.
    """
    workplace, output = open_workplace(args), output_folder(args)
    place = _place(output, args.what)
    record = read_record(place) if place is not None else None
    scenario = _scenario(workplace, args, record)
    cancellation = Cancellation()
    events = notices(console)
    with _bench(workplace, output, scenario, cancellation, events) as bench:
        with interruptible(console, events, cancellation):
            if place is None or record is None:
                folder = Path(args.what).absolute()
                return Judgements(
                    subject=str(folder),
                    verdicts=_judge_folder(bench, folder),
                    kept=None,
                    cancelled=cancellation.cancelled,
                )
            verdicts, kept = _judge_run(bench, place, record)
            tell_ledger(place.layout, record.run)
        # What an archive was taken apart into goes when this program ends.
        inside = None if Path(args.what).is_file() else kept.root
        return Judgements(
            subject=f"{place.framework}/{place.run_id}",
            verdicts=verdicts,
            kept=inside,
            cancelled=cancellation.cancelled,
        )


def _place(output: Path, text: str) -> Place | None:
    """Return the run that is meant; None if a folder is that is no run's."""
    folder = Path(text)
    if not folder.is_dir():
        return find_run(output, text)
    layout = RunLayout(folder.absolute())
    if not layout.metadata.is_file():
        return None
    run = read_record(Place(framework="", run_id=folder.name, layout=layout)).run
    return Place(framework=run.framework.name, run_id=run.id, layout=layout)


def _scenario(workplace: Workplace, args: Namespace, record: RunRecord | None) -> Scenario:
    """Return the scenario, with the checks that are wanted and no others."""
    if record is not None and record.outcome is None:
        raise ConfigError(
            f"{record.run.id} has not ended", why="it is judged at its end", hint=f"runner show {record.run.id}"
        )
    name = args.scenario or (record.run.scenario if record is not None else None)
    if name is None:
        raise ConfigError(
            f"{args.what} is no run's folder, and nothing says what to judge it by",
            hint=f"name a scenario with --scenario; {choose_from('', scenario_names(workplace.project))}",
        )
    loaded = load_scenario(workplace.project, name, named_at="--scenario" if args.scenario else "")
    scenario = loaded.value
    known = {check.id for check in scenario.checks}
    if not known:
        raise ConfigError(
            f"the scenario {name} has no checks", where=loaded.located.shown, hint="write some: `checks:`"
        )
    for wanted in args.check or ():
        if wanted not in known:
            raise ConfigError(f"the scenario {name} has no check `{wanted}`", hint=choose_from(wanted, known))
    chosen = tuple(check for check in scenario.checks if not args.check or check.id in args.check)
    return scenario.model_copy(update={"checks": chosen})


@contextmanager
def _bench(
    workplace: Workplace, output: Path, scenario: Scenario, cancellation: Cancellation, events: EventSink
) -> Iterator[_Bench]:
    """Build the image that judges, and lend a folder for copies."""
    recipe = load_checker(workplace.project)
    if recipe is None:
        raise ImageError(
            "there is nothing that judges",
            why=f"{workplace.project.images / CHECKER} has no recipe",
            hint="write one with `role: checker`",
        )
    with connect(workplace.environment) as engine, private_copy(output, None) as copy:
        info = engine.info()
        if not info.local:
            raise EngineError("the engine is on another machine", why="it does not see the copy that is judged")
        image = _image(workplace, engine, events)
        reference = ImageRef(tag=image.tag, id=image.id)
        checker = checker_of(recipe.value, {recipe.value.name: reference})
        site, unlisted = site_of(workplace.environment), Unlisted(engine)
        with open_reservations(current(), info, site, "check", unlisted, refresh=unlisted.refresh) as mine:
            context = Context(
                engine=engine,
                info=info,
                gateway=None,
                owner=current(),
                output=output,
                answers={},
                images={image.id: image.engine_id},
                events=events,
                cancellation=cancellation,
                reservations=mine,
            )
            try:
                yield _Bench(
                    context=context,
                    checker=checker or Checker(image=reference, command=recipe.value.command),
                    scenario=scenario,
                    copy=copy,
                )
            finally:
                release(context)


def _image(workplace: Workplace, engine: Engine, events: EventSink) -> BuiltImage:
    found = ensure(image_context(workplace, engine, events), [CHECKER])[CHECKER]
    if not isinstance(found, BuiltImage):
        raise found
    return found


def _judge_run(bench: _Bench, place: Place, record: RunRecord) -> tuple[tuple[CheckVerdict, ...], RunLayout]:
    """Judge what a run's history keeps, and keep the verdicts beside those that are there."""
    layout, run = place.layout, record.run
    kept = _free(layout, _version(bench))
    docket = Docket(
        run=run,
        layout=layout,
        kept=kept,
        root=bench.copy.root,
        scratch=bench.copy.root / "judging",
        checks=plan_checks(bench.scenario, run.steps),
        checker=bench.checker,
        steps=record.steps,
    )
    if not list(docket.cases()):
        raise ConfigError(
            f"no check of the scenario {bench.scenario.name} judges after a step that {run.id} has",
            why=f"the run has the steps {', '.join(step.id for step in run.steps)}",
            hint="name the scenario that it was a run of",
        )
    return hear(bench.context, docket), kept


def tell_ledger(layout: RunLayout, run: Run) -> None:
    """Have the ledger of the folder that a run is in, if there is one, know its numbers by the newest verdicts.

    Raises:
        StorageError: if it cannot be written; the verdicts are kept all the same.
    """
    path = ledger_path(layout.root.resolve().parent.parent)
    if path.is_file():
        with open_ledger(path) as ledger:
            ledger.judged(run, newest_totals(layout))


def _free(layout: RunLayout, version: str) -> RunLayout:
    """Return a place for verdicts that holds none yet: the same version may be judged more than once."""
    number = 1
    while (found := layout.judged_later(version if number == 1 else f"{version}-{number}")).root.exists():
        number += 1
    return found


def _version(bench: _Bench) -> str:
    """Return the version of all checks together, in a few digits."""
    versions = {check.id: version_of(check, bench.checker) for check in bench.scenario.checks}
    return sha256(canonical(versions))[:_DIGITS]


def _judge_folder(bench: _Bench, folder: Path) -> tuple[CheckVerdict, ...]:
    """Judge a folder as if all steps of the scenario had been done; it is not written to."""
    found: list[CheckVerdict] = []
    for check in bench.scenario.checks:
        found.append(perform_check(bench.context, _task(bench, folder, check)))
        bench.context.events(Notice(time=now(), text=f"check {check.id}: {told(found[-1])}"))
    return tuple(found)


def _task(bench: _Bench, folder: Path, check: Check) -> Task:
    def fill(target: Path) -> None:
        copy_tree(folder, target)

    return Task(
        check=check,
        checker=bench.checker,
        subject=Subject(
            step="",
            index=0,
            come=frozenset(step.id for step in bench.scenario.steps),
            fill=fill,
            files=StepLayout(bench.copy.root / "kept"),
        ),
        root=bench.copy.root,
        scratch=bench.copy.root / "judging" / check.id,
        run=folder.name,
        name="cgr",
        seed=_SEED,
        model_label="",
    )
