"""Say what changed between two plannings of the same framework, scenario and repetition."""

from __future__ import annotations

from collections.abc import Iterator

from runner.plan.digest import model_identity
from runner.plan.models import PlannedStep, Run
from runner.spec.models import Framework, Limits
from runner.spec.units import show_bytes, show_seconds

_SHOWN = 3
_RECIPE = ("command", "environment", "writable", "network", "source", "system_packages")
_PARTS = (
    *("kind", "depends_on", "inputs", "outputs", "when", "item", "command", "script", "stdin", "call", "approval"),
    *("retry", "continue_on_failure", "workspace", "network", "allow", "answers", "template"),
)
"""Parts of a step of which it is enough to know that they changed."""
_TIMES = frozenset({"step_timeout", "run_timeout", "grace"})
_COUNTS = frozenset({"cpus", "pids", "files"})
_OF_THE_WHOLE = frozenset({"run_timeout", "experiment_timeout"})
"""The run's timeout is compared once, for the run; the experiment's changes no run."""


def explain_change(old: Run, new: Run) -> str:
    """Return one line that says why a run's digest is another than an earlier run's.

    Args:
        old: the earlier run of the same framework, scenario and repetition.
        new: the run as it is planned now.
    """
    changes = list(_changes(old, new))
    if not changes:
        return "changed since the last time, in nothing that its record shows"
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return "; ".join(changes[:_SHOWN]) + more


def _changes(old: Run, new: Run) -> Iterator[str]:
    if old.image.id != new.image.id:
        yield "image changed"
    yield from _recipe_changes(old.framework, new.framework)
    yield from _step_changes(old.steps, new.steps)
    if model_identity(old.model) != model_identity(new.model):
        yield f"model changed from {_model(old)} to {_model(new)}"
    elif old.answers_sha256 != new.answers_sha256:
        yield "scripted answers changed"
    elif old.recording_sha256 != new.recording_sha256:
        yield "the recorded calls changed"
    if _origin(old) != _origin(new):
        yield "the workspace that it begins with changed"
    if old.run_timeout != new.run_timeout:
        yield f"run_timeout changed from {show_seconds(old.run_timeout)} to {show_seconds(new.run_timeout)}"
    for name in ("platform", "seed"):
        if getattr(old, name) != getattr(new, name):
            yield f"{name} changed from {getattr(old, name)} to {getattr(new, name)}"


def _origin(run: Run) -> tuple[str, ...]:
    if run.start is not None:
        return (run.start.sha256, run.start.ref)
    return (run.parent.workspace_sha256,) if run.parent is not None else ()


def _recipe_changes(old: Framework, new: Framework) -> Iterator[str]:
    for name in _RECIPE:
        if getattr(old, name) != getattr(new, name):
            yield f"{name.replace('_', ' ')} of the framework changed"


def _step_changes(old: tuple[PlannedStep, ...], new: tuple[PlannedStep, ...]) -> Iterator[str]:
    before = {step.id: step for step in old}
    after = {step.id: step for step in new}
    yield from (f"step {name} is gone" for name in before if name not in after)
    yield from (f"step {name} is new" for name in after if name not in before)
    common = [name for name in after if name in before]
    if common != [name for name in before if name in after]:
        yield "order of the steps changed"
    for name in common:
        first, second = before[name], after[name]
        if first.prompt_sha256 != second.prompt_sha256:
            yield f"prompt of step {name} changed"
        if first.expect_changes != second.expect_changes:
            yield f"expect_changes of step {name} changed"
        changed = [part for part in _PARTS if getattr(first, part) != getattr(second, part)]
        if changed:
            yield f"step {name}: {', '.join(changed)} changed"
        if _image(first) != _image(second):
            yield f"image of step {name} changed"
        yield from (f"{change} for step {name}" for change in _limit_changes(first.limits, second.limits))


def _image(step: PlannedStep) -> str | None:
    return step.image.id if step.image is not None else None


def _limit_changes(old: Limits, new: Limits) -> Iterator[str]:
    for name in Limits.model_fields:
        first, second = getattr(old, name), getattr(new, name)
        if first != second and name not in _OF_THE_WHOLE:
            show = show_seconds if name in _TIMES else "{:g}".format if name in _COUNTS else show_bytes
            yield f"{name} changed from {show(first)} to {show(second)}"


def _model(run: Run) -> str:
    if run.model is None:
        return "none"
    endpoint = f" at {run.model.base_url}" if run.model.base_url else ""
    return "scripted" if run.model.provider == "scripted" else f"{run.model.provider}/{run.model.name}{endpoint}"
