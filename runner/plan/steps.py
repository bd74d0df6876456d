"""Plan a scenario's steps for one framework: everything resolved, in the order in which they can be carried out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from runner.plan.digest import sha256
from runner.plan.flatten import Flat, flatten
from runner.plan.limits import merge_limits
from runner.plan.models import (
    ImageRef,
    PlannedAnswer,
    PlannedApproval,
    PlannedCall,
    PlannedOutput,
    PlannedRetry,
    PlannedStart,
    PlannedStep,
)
from runner.spec.bundles import bundle_bytes, bundle_sha256, read_bundle, referred
from runner.spec.expression_checks import is_template
from runner.spec.kinds import default_workspace
from runner.spec.models import Experiment, Framework, Limits, LimitsPatch
from runner.spec.scenario import Output, Scenario, Step, Workflow
from runner.spec.ways import allowed, way_out


def plan_steps(
    experiment: Experiment,
    framework: Framework,
    scenario: Scenario,
    *,
    workflows: Mapping[str, Workflow] = MappingProxyType({}),
    images: Mapping[str, ImageRef] = MappingProxyType({}),
) -> tuple[PlannedStep, ...]:
    """Return the steps of a scenario as a framework is to perform them.

    Args:
        experiment: whose limits they have.
        framework: who performs them.
        scenario: the scenario, with every text read in.
        workflows: every workflow it uses, at any depth, by name.
        images: images by recipe, of those at least that steps name.

    Raises:
        Unplannable: if the scenario cannot be planned as it is written.
    """
    flats = flatten(scenario, workflows)
    places = {flat.id: place for place, flat in enumerate(flats)}
    planned: list[PlannedStep] = []
    for place, flat in enumerate(flats):
        named = tuple(sorted(set(flat.depends_on), key=places.__getitem__))
        before = tuple(one.id for one in planned[-1:])
        depends_on = None if named == before else named
        limits = _limits(flat, experiment, framework)
        image = images[flat.step.image] if flat.step.image is not None else None
        planned.append(
            PlannedStep(
                id=flat.id,
                index=place + 1,
                depends_on=depends_on,
                limits=limits,
                image=image,
                network=way_out(framework, flat.step),
                allow=allowed(framework, flat.step),
                **_own(flat),
            )
        )
    return tuple(planned)


def plan_start(scenario: Scenario) -> PlannedStart | None:
    """Return what a scenario's workspace begins with; None for nothing.

    Args:
        scenario: the scenario, with its bundle read in.
    """
    if scenario.start is None:
        return None
    content = scenario.start.content or ""
    data = bundle_bytes(content)
    ref, commit = referred(read_bundle(data), scenario.start.ref)
    return PlannedStart(content=content, sha256=bundle_sha256(data), ref=ref, commit=commit)


def _limits(flat: Flat, experiment: Experiment, framework: Framework) -> Limits:
    timeout = LimitsPatch(step_timeout=flat.step.timeout)
    return merge_limits(experiment.limits, framework.limits, *flat.limits, flat.step.limits, timeout)


def _own(flat: Flat) -> dict[str, Any]:
    """Return what a step is by itself, whoever performs it."""
    step = flat.step
    prompt = step.prompt or ""
    workspace = step.workspace or default_workspace(step.kind)
    changing = step.kind == "prompt" and workspace in {"own", "shared"}
    return {
        "title": step.title,
        "kind": step.kind,
        "prompt": prompt,
        "prompt_sha256": sha256(prompt.encode("utf-8")),
        "template": step.prompt is not None and is_template(step),
        "expect_changes": changing if step.expect_changes is None else step.expect_changes,
        "inputs": flat.inputs,
        "outputs": _outputs(step),
        "when": flat.when,
        "item": flat.item,
        "continue_on_failure": step.continue_on_failure,
        "workspace": workspace,
        "stdin": step.stdin,
        "retry": PlannedRetry(**step.retry.model_dump()) if step.retry is not None else PlannedRetry(),
        "answers": _answers(flat),
        **_deed(step),
    }


def _deed(step: Step) -> dict[str, Any]:
    """Return what is done, but for a prompt."""
    if step.model is not None:
        call = step.model
        return {"call": PlannedCall(prompt=call.prompt, system=call.system, max_tokens=call.max_tokens)}
    if step.approval is not None:
        return {"approval": PlannedApproval(**step.approval.model_dump())}
    program = step.check or step
    return {"command": program.command or (), "script": program.script or ""}


def _outputs(step: Step) -> tuple[PlannedOutput, ...]:
    found = [_output(name, output) for name, output in sorted(step.outputs.items())]
    if step.model is not None:
        found.append(PlannedOutput(name=step.model.output, source="answer", type=step.model.type))
    return tuple(found)


def _output(name: str, output: Output) -> PlannedOutput:
    if output.stdout:
        return PlannedOutput(name=name, source="stdout", type=output.type)
    if output.file is not None:
        return PlannedOutput(name=name, source="file", path=output.file, type=output.type)
    return PlannedOutput(name=name, source="workspace", path=output.workspace or "", type=output.type)


def _answers(flat: Flat) -> tuple[PlannedAnswer, ...]:
    """Return what a framework or program is told that asks; nobody else can ask."""
    if flat.step.kind not in {"prompt", "command"}:
        return ()
    return tuple(PlannedAnswer(question=one.question, answer=one.answer) for one in flat.answers)
