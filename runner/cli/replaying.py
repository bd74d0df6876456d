"""A recorded run as an experiment of its own: planned again from its record, performed, and compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from runner.errors import ConfigError, ImageError, StorageError
from runner.evidence.contents import Contents, differences, read_contents
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.execution.replay import Recorded
from runner.gateway.recording import Recording, digest
from runner.plan.digest import digest_of
from runner.plan.matrix import run_id
from runner.plan.models import ImageRef, Run
from runner.spec.load import Inputs, load_framework
from runner.spec.loaded import Loaded
from runner.spec.located import Located
from runner.spec.model import Model
from runner.spec.models import Experiment, Scenario, Step
from runner.spec.project import Project

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a run's replay came to, beside the run itself."""

    recorded: RunRecord
    replayed: RunRecord
    directory: Path
    """Of the replay."""
    before: Contents
    """Workspace of the recorded run."""
    after: Contents
    """Workspace of its replay."""

    @property
    def differing(self) -> list[tuple[str, str]]:
        """Return the paths that differ, each with how; the recorded run is the first."""
        return differences(self.before, self.after)

    @property
    def same(self) -> bool:
        """Whether outcome and workspace are the same."""
        return self.recorded.outcome == self.replayed.outcome and self.before.sha256 == self.after.sha256

    def values(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "run": self.recorded.run.id,
            "replay": self.replayed.run.id,
            "directory": str(self.directory),
            "same": self.same,
            "outcome": {"recorded": self.recorded.outcome, "replayed": self.replayed.outcome},
            "reason": self.replayed.reason,
            "workspace_sha256": {"recorded": self.before.sha256, "replayed": self.after.sha256},
            "differences": [{"path": path, "how": how} for path, how in self.differing],
        }


def inputs_of(project: Project, recorded: Recorded, output: Path, mode: str) -> Inputs:
    """Return an experiment of the one run that was recorded; of the project only the image's recipe is used.

    Args:
        project: where the framework's recipe is.
        recorded: the run.
        output: folder of run directories for the replay.
        mode: `strict` or `sequence`.

    Raises:
        ConfigError: if the project has no such framework.
    """
    run = recorded.record.run
    framework = load_framework(project, run.framework.name, named_at=str(recorded.place))
    experiment = Experiment(
        name=run.experiment,
        frameworks=(run.framework.name,),
        scenarios=(run.scenario,),
        model=_replaying(run, mode),
        output=str(output),
        archive=run.archive,
        history=run.history,
        packages=run.packages,
    )
    scenario = Scenario(
        name=run.scenario,
        steps=tuple(
            Step(id=step.id, title=step.title, prompt=step.prompt or None, network=step.network, allow=step.allow)
            for step in run.steps
        ),
    )
    return Inputs(
        experiment=_loaded(experiment, recorded.place),
        frameworks={run.framework.name: framework},
        scenarios={run.scenario: _loaded(scenario, recorded.place)},
        answers={},
    )


def planned_again(recording: Recording, image: ImageRef, mode: str, packages_sha256: str | None) -> Run:
    """Return the recorded run as it is to be performed again: everything its own, but for who answers.

    Args:
        recording: the run and its calls.
        image: image of its framework as it is here.
        mode: `strict` or `sequence`.
        packages_sha256: digest of the folder of packages as it is here, if the run was offered one.

    Raises:
        ConfigError: if other packages are offered than were then.
        ImageError: if the image is another one than it was.
    """
    run = recording.run
    if image.id != run.image.id:
        raise ImageError(
            f"the image of {run.framework.name} is {image.id} here, and was {run.image.id} when {run.id} was carried out",
            why="the base image, the framework's recipe or its lock is another one",
            hint="check out the version it was recorded with; or use this image, which need not do the same: "
            f"runner go --replay RUN --framework {run.framework.name} --scenario {run.scenario}",
        )
    if run.packages_sha256 != packages_sha256:
        raise ConfigError(
            f"the folder of packages is another one than when {run.id} was carried out",
            why=f"its digest is {packages_sha256 or 'not known'}, and was {run.packages_sha256}",
            hint=f"put into {run.packages.folder if run.packages else 'it'} what was there then",
        )
    changes = {
        "image": image,
        "model": _replaying(run, mode),
        "answers_sha256": None,
        "recording_sha256": digest(recording),
    }
    again = run.model_copy(update=changes)
    identity = digest_of(again)
    return again.model_copy(update={"digest": identity, "id": run_id(run.scenario, run.repetition, identity)})


def compare(recorded: Recorded, output: Path, again: Run) -> Comparison:
    """Return a replay beside the run it repeats.

    Raises:
        StorageError: if the replay has left no record, or a workspace cannot be read.
    """
    layout = RunLayout(output / again.framework.name / again.id)
    try:
        replayed = RunRecord.model_validate_json(layout.metadata.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"the replay left no record: {error}", where=str(layout.metadata)) from error
    return Comparison(
        recorded=recorded.record,
        replayed=replayed,
        directory=layout.root,
        before=recorded.contents(),
        after=read_contents(layout.workspace),
    )


def _replaying(run: Run, mode: str) -> Model:
    if run.model is None:
        raise ConfigError(f"{run.id} talks to no model, so there is nothing to replay")
    return run.model.model_copy(update={"provider": "replay", "replay_mode": mode})


def _loaded(value: T, place: Path) -> Loaded[T]:
    """Return a value as if it had been written in a file."""
    located = Located(value=value.model_dump(mode="json"), path=place, shown=str(place), lines={}, texts={})
    return Loaded(value=value, file=place, sources={}, located=located)
