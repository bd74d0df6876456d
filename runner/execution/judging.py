"""Judge what a run built: each check after each of its steps, once the run's own steps are over and merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import RunnerError, StorageError, one_line
from runner.events import Notice
from runner.evidence.copying import copy_tree, remove_tree
from runner.evidence.history.oci import read_steps
from runner.evidence.history.restore import restore
from runner.evidence.judged import index_verdicts, keep_verdict
from runner.evidence.layout import RunLayout
from runner.evidence.records import StepRecord
from runner.evidence.verdicts import CheckVerdict, read_verdicts, tally
from runner.execution.checked import nothing
from runner.execution.checking import Subject, Task, perform_check
from runner.execution.context import Context, iso, now
from runner.gateway.labels import model_label
from runner.plan.graph import is_linear
from runner.plan.judging import changing, version_of
from runner.plan.models import Checker, JudgedAfter, PlannedCheck, Run
from runner.spec.judging import ALL, Check

_LEFT_SOMETHING = frozenset({"passed", "failed", "timed_out", "exceeded"})
"""Outcomes of a step after which its workspace is judged: what the framework came to, whatever that is."""


@dataclass(frozen=True, kw_only=True)
class Docket:
    """What is to be judged of a run, with what, and where the verdicts go."""

    run: Run
    layout: RunLayout
    """Where the run is."""
    kept: RunLayout
    """Where verdicts are kept: in the run's own layout, or in one below it."""
    root: Path
    """Folder that the containers belong to."""
    scratch: Path
    """Folder for copies."""
    checks: Sequence[PlannedCheck]
    checker: Checker | None
    steps: Sequence[StepRecord]
    """Steps that have ended."""

    def cases(self) -> Iterator[tuple[JudgedAfter, int, Check]]:
        """Yield each check with the step after which it judges and that step's position, by position.

        The run's last workspace counts as that of the last step that changed it. Steps that a condition left out are
        passed over where `all` are judged.
        """
        places = {step.id: step.index for step in self.run.steps}
        left_out = {step.id for step in self.steps if step.outcome == "skipped" and not step.counts}
        found = []
        for one in self.checks:
            for at in one.after:
                if at.step in places and not (one.check.after == (ALL,) and at.step in left_out):
                    step = self._last() or at.step if at.final else at.step
                    found.append((at.model_copy(update={"step": step}), places[step], one.check))
        yield from sorted(found, key=lambda case: case[1])

    def _last(self) -> str:
        """Return the last step that may have changed the workspace; empty if none has."""
        done = {step.id for step in self.steps if step.outcome in _LEFT_SOMETHING}
        return next((one for one in reversed(changing(self.run.steps)) if one in done), "")


def judge_run(context: Context, run: Run, steps: Sequence[StepRecord]) -> str:
    """Judge a run whose steps are over, before its record is final.

    A verdict that is on disk already, from before a crash, is taken as it is; what was cut off is done again. Nothing
    that goes wrong here changes what the run came to.

    Args:
        context: shared hands.
        run: the run.
        steps: records of the steps that have ended.

    Returns:
        What a required check found wrong; empty if nothing.
    """
    if not run.checks:
        return ""
    layout = context.layout(run)
    docket = Docket(
        run=run,
        layout=layout,
        kept=layout,
        root=layout.root,
        scratch=layout.judging,
        checks=run.checks,
        checker=run.checker,
        steps=steps,
    )
    try:
        verdicts = hear(context, docket)
    except (RunnerError, OSError) as error:
        text = f"what was built could not be judged: {one_line(error)}"
        context.events(Notice(time=now(), run=run.id, text=text, level="warning"))
        return ""
    return refused_by(verdicts)


def hear(context: Context, docket: Docket) -> tuple[CheckVerdict, ...]:
    """Judge everything on a docket and keep each verdict as it comes; those that are there count.

    Returns:
        All verdicts, by position of the step.

    Raises:
        StorageError: if a verdict cannot be written.
    """
    found: list[CheckVerdict] = []
    remove_tree(docket.scratch)
    try:
        for at, index, check in docket.cases():
            before = read_verdicts(docket.kept.step(index).checks)
            verdict = _known(before, check, docket.checker) or _judged(context, docket, at, index, check)
            found.append(verdict)
            if verdict not in before:
                keep_verdict(docket.kept, verdict)
                text = f"check {check.id} after step {at.step}: {told(verdict)}"
                context.events(Notice(time=now(), run=docket.run.id, text=text))
    finally:
        remove_tree(docket.scratch)
    index_verdicts(docket.layout, docket.kept, found)
    return tuple(found)


def told(verdict: CheckVerdict) -> str:
    """Say a verdict in a line."""
    if not verdict.passed and not verdict.failed:
        return f"not judged: {verdict.reason}"
    return f"{tally([verdict])}{f'; {verdict.reason}' if verdict.reason else ''}"


def refused_by(verdicts: Iterable[CheckVerdict]) -> str:
    """Return in a sentence what the first required check found wrong; empty if none did."""
    for one in verdicts:
        if one.required and one.failed:
            first = next((assertion for assertion in one.assertions if assertion.verdict == "failed"), None)
            named = f", first {first.id}: {first.reason}" if first is not None else ""
            return f"the required check {one.check} after step {one.step}: {tally([one])}{named}"
    return ""


def _known(before: Iterable[CheckVerdict], check: Check, checker: Checker | None) -> CheckVerdict | None:
    version = version_of(check, checker)
    return next((one for one in before if one.check == check.id and one.version == version and one.judged_at), None)


def _judged(context: Context, docket: Docket, at: JudgedAfter, index: int, check: Check) -> CheckVerdict:
    run = docket.run
    task = Task(
        check=check,
        checker=docket.checker,
        subject=Subject(
            step=at.step,
            index=index,
            come=frozenset(at.come),
            fill=_filler(docket, at, index),
            files=docket.kept.step(index),
        ),
        root=docket.root,
        scratch=docket.scratch / f"{index:03d}-{check.id}",
        run=run.id,
        name=context.object_name(run),
        seed=run.seed,
        model_label=model_label(run.model),
    )
    if reason := _hindrance(docket, at):
        return nothing(task.bare, reason, iso(now()))
    return perform_check(context, task)


def _hindrance(docket: Docket, at: JudgedAfter) -> str:
    """Return in a sentence why the workspace after a step cannot be judged; empty if it can."""
    ended = {one.id: one for one in docket.steps}
    if at.final:
        wanted = [one.id for one in docket.run.steps if one.id not in ended or ended[one.id].counts]
    else:
        wanted = [at.step]
    for name in wanted:
        if name not in ended or ended[name].outcome not in _LEFT_SOMETHING:
            return f"step {name} was {ended[name].outcome if name in ended else 'not carried out'}"
    if not _is_last(docket.run, at) and docket.run.history == "off":
        return f"the workspace after step {at.step} was not kept: the history is off"
    return ""


def _is_last(run: Run, at: JudgedAfter) -> bool:
    """Tell whether what a step left is the run's last workspace."""
    return at.final or (is_linear(run.steps) and changing(run.steps)[-1:] == [at.step])


def _filler(docket: Docket, at: JudgedAfter, index: int) -> Callable[[Path], None]:
    """Return what writes the workspace after a step into a folder."""

    def fill(target: Path) -> None:
        if _is_last(docket.run, at) and docket.layout.workspace.is_dir():
            copy_tree(docket.layout.workspace, target)
            return
        kept = {one.number: one for one in read_steps(docket.layout.history)}
        if index not in kept:
            raise StorageError(f"the workspace after step {at.step} is not in the history of {docket.run.id}")
        restore(docket.layout.history, kept[index], target)

    return fill
