"""Forks of an experiment that have begun and not ended: `runner go` carries them on with the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from runner.cli.finding import places
from runner.cli.forking import origin_at
from runner.cli.work import PreparedImages, Work
from runner.evidence.history.oci import read_steps
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.execution.place import Origin
from runner.execution.recovery import read_record
from runner.plan.models import Ancestry, Run
from runner.plan.resume import is_final


@dataclass(frozen=True, kw_only=True)
class Forks:
    """Forks that can go on with what an invocation has at hand."""

    runs: tuple[Run, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """What each begins with, by its digest."""
    left: tuple[str, ...] = ()
    """A sentence for each fork that cannot go on from here, with how it can."""


def unfinished_forks(work: Work, images: PreparedImages) -> Forks:
    """Return the experiment's forks that have not ended; none if everything is carried out anew.

    Args:
        work: what the stages share.
        images: images of this invocation.
    """
    if work.fresh:
        return Forks()
    runs, origins, left = [], {}, []
    for record in _unfinished(work):
        run, parent = record.run, record.run.parent
        if parent is None or run.digest is None:
            continue
        origin = _origin(work, run, parent)
        if origin is None or not _at_hand(work, images, run):
            left.append(f"the fork {run.id} has not ended; it goes on with: runner fork {parent.run}@{parent.step} ...")
            continue
        runs.append(run)
        origins[run.digest] = origin
    return Forks(runs=tuple(runs), origins=origins, left=tuple(left))


def _unfinished(work: Work) -> Iterator[RunRecord]:
    experiment = work.inputs.experiment.value
    rows = work.ledger.rows(
        experiments=(experiment.name,), frameworks=experiment.frameworks, scenarios=experiment.scenarios
    )
    for row in rows:
        if is_final(row.outcome, row.reason):
            continue
        record = read_record(RunLayout(work.output / row.directory))
        if record is not None and record.run.parent is not None:
            yield record


def _at_hand(work: Work, images: PreparedImages, run: Run) -> bool:
    """Tell whether a run needs no other image and no other model than this invocation has."""
    needed = [run.image.id, *(step.image.id for step in run.steps if step.image is not None)]
    same_model = run.model is None or run.model == work.inputs.experiment.value.model
    scripted = run.model is not None and run.model.provider == "scripted"
    answers = not scripted or (run.framework.name, run.scenario) in work.inputs.answers
    return same_model and answers and all(one in images.engine_ids for one in needed)


def _origin(work: Work, run: Run, parent: Ancestry) -> Origin | None:
    """Return where the workspace is kept that a fork begins with; None if its run is not in this folder."""
    for layout in (place.layout for place in places(work.output) if place.run_id == parent.run):
        record = read_record(layout)
        for step in read_steps(layout.history) if record is not None else ():
            if record is not None and (step.number, step.config) == (parent.index, parent.workspace_sha256):
                return origin_at(layout, record, step, run.framework.name)
    return None
