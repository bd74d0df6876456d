"""An experiment as a value: what it plans, carrying it out, and what came of it; nothing is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from runner.api.place import workplace
from runner.api.results import Row, RunResult, load_run
from runner.cli.planning import plan_runs, this_platform
from runner.cli.unfinished_forks import unfinished_forks
from runner.cli.work import Work, build_images, carry, clear_away, decided, open_work, require_usable, slots_for
from runner.cli.workplace import Workplace
from runner.engine.protocol import Engine
from runner.events import Event
from runner.evidence.layout import RunLayout
from runner.execution.cancellation import Cancellation
from runner.images.pipeline import known
from runner.plan.check import check_graphs
from runner.plan.matrix import require_some
from runner.plan.models import ImageRef, Run
from runner.plan.resume import to_do
from runner.spec.load import Inputs, load_all
from runner.spec.overrides import Overrides

OnEvent = Callable[[Event], None]
"""Told what happens, from whichever thread it happens in."""


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """What came of an experiment's runs, those done earlier among them, in planned order."""

    runs: tuple[RunResult, ...]
    images_failed: Mapping[str, str] = field(default_factory=dict)
    """Why the image of a recipe could not be had, by its name; runs that need it are not among `runs`."""
    stopped: str = ""
    """Why further runs were not begun: too many in a row broke for the same reason. Empty if that is not so."""

    @property
    def passed(self) -> bool:
        """Whether every run passed, and none is missing."""
        whole = bool(self.runs) and not self.images_failed and not self.stopped
        return whole and all(one.outcome == "passed" for one in self.runs)

    def to_rows(self) -> list[Row]:
        """Return one flat line per run, as `pandas.DataFrame` takes them."""
        return [one.to_row() for one in self.runs]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment of a project, read and checked; it is made by `load`."""

    workplace: Workplace
    inputs: Inputs

    @classmethod
    def load(
        cls,
        experiment: str | None = None,
        *,
        project: str | Path | None = None,
        overrides: Overrides | None = None,
        process_environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Read an experiment with everything it names.

        Args:
            experiment: its name or the path of its file; by default the project's default experiment.
            project: a folder in the project; by default the current one.
            overrides: what is replaced in the file, as by flags of the command line.
            process_environment: settings such as RUNNER_MODEL and keys; by default the process's own.

        Raises:
            ConfigError: with every complaint, each with its file and line.
        """
        place = workplace(project, process_environment)
        inputs = load_all(place.project, experiment, overrides or Overrides(), place.environment)
        check_graphs(inputs)
        return cls(workplace=place, inputs=inputs)

    @property
    def name(self) -> str:
        """How it is called."""
        return self.inputs.experiment.value.name

    @property
    def output(self) -> Path:
        """Folder of its run directories."""
        return self.workplace.project.output(self.inputs.experiment.value.output)

    @property
    def runs(self) -> Sequence[Run]:
        """What is planned, without an engine: a run whose image is not known yet has no digest.

        Raises:
            ConfigError: if the lock of a recipe is missing or stale.
            NothingSelected: if nothing is left to run.
        """
        images = {}
        for name in self.inputs.recipes:
            tag, known_id = known(self.workplace.project.images, self.workplace.cache, name)
            images[name] = ImageRef(tag=tag, id=known_id)
        return plan_runs(self.workplace, self.inputs, images, this_platform())

    def go(
        self,
        *,
        jobs: int | None = None,
        fresh: bool = False,
        on_event: OnEvent | None = None,
        cancellation: Cancellation | None = None,
        engine: Engine | None = None,
    ) -> ExperimentResult:
        """Carry out what is not done yet, as `runner go` does; returns when all runs have ended or wait for people.

        Forks that have not ended go on as well. Signals are the caller's: a handler of Ctrl-C throws the switch.

        Args:
            jobs: containers at once; by default what the experiment says, else what the machine bears.
            fresh: carry out everything anew, keeping the old runs aside.
            on_event: told what happens.
            cancellation: throw it, from a signal handler or another thread, to stop; what is done stays done.
            engine: where containers run; by default the one that the command line would use.

        Returns:
            Every planned run that has a record, with what each came to: a run that fails raises nothing.

        Raises:
            ConfigError: if the model's key is missing, or a price that a budget needs.
            EngineError: if no engine can be used.
            ImageError: if no run has all the images that it needs.
            StorageError: if the disk cannot be used, or another runner is at work in the same folder.
        """
        require_some(self.inputs.experiment.value)
        changes = {} if jobs is None else {"jobs": jobs}
        value = self.inputs.experiment.value.model_copy(update=changes)
        inputs = replace(self.inputs, experiment=replace(self.inputs.experiment, value=value))
        with open_work(self.workplace, inputs, fresh=fresh, engine=engine) as work:
            return _go(work, on_event or _ignore, cancellation or Cancellation())

    def results(self) -> ExperimentResult:
        """Read what came of the planned runs so far; needs no engine.

        Raises:
            ConfigError: if the lock of a recipe is missing or stale.
            StorageError: if a record cannot be understood.
        """
        return ExperimentResult(runs=_recorded(self.output, self.runs))


def _go(work: Work, on_event: OnEvent, cancellation: Cancellation) -> ExperimentResult:
    clear_away(work)
    images = build_images(work, on_event)
    require_usable(work, images)
    forks = unfinished_forks(work, images)
    planned = plan_runs(work.workplace, work.inputs, images.references, work.info.platform)
    runs = [*planned, *forks.runs]
    todo = to_do(decided(work, runs))
    stopped = ""
    if todo:
        slots = slots_for(work, todo)
        stopped = carry(
            work,
            images,
            todo,
            slots=slots,
            events=on_event,
            cancellation=cancellation,
            planned=runs,
            origins=forks.origins,
        )
    failed = {name: str(error) for name, error in images.failed.items()}
    return ExperimentResult(runs=_recorded(work.output, runs), images_failed=failed, stopped=stopped)


def _recorded(output: Path, runs: Sequence[Run]) -> tuple[RunResult, ...]:
    """Read the runs that have a record."""
    folders = [output / run.framework.name / run.id for run in runs]
    return tuple(load_run(folder) for folder in folders if RunLayout(folder).metadata.is_file())


def _ignore(event: Event) -> None:
    """Tell nobody."""
