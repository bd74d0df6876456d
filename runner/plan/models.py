"""What will be run: values that cross process, machine and disk boundaries as versioned JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from runner.spec.egress import HostPattern, Network, Packages
from runner.spec.judging import Check
from runner.spec.model import Budgets, Model
from runner.spec.models import Framework, HistoryMode, Limits
from runner.spec.scenario import RetriedOutcome, ValueType, WorkspaceMode


class Planned(BaseModel):
    """Base settings of planned values."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageRef(Planned):
    """The image a run uses. `id` is None only in a dry run before the image exists."""

    tag: str = Field(description="Tag, made from the hash of everything that goes in.")
    id: str | None = Field(description="Config digest of the image, sha256:...; null if not built yet.")


class PlannedInput(Planned):
    """A value that a step takes; exactly one source. A literal `value` is one too, so `source` says which counts."""

    name: str = Field(description="Name of the file below /in/inputs, and in templates.")
    source: Literal["step", "steps", "workspace", "experiment", "value"] = Field(
        description="Which of the following counts."
    )
    step: str = Field("", description="Planned step whose output it is.")
    steps: tuple[str, ...] = Field(
        (), description="Repetitions of a step, the list of whose outputs it is; those left out have none in it."
    )
    output: str = Field("", description="Name of that step's output.")
    workspace: str = Field("", description="Path in the workspace as the step finds it.")
    experiment: str = Field("", description="framework, scenario, repetition, seed or model.")
    value: JsonValue = Field(None, description="The value itself.")
    type: ValueType = Field("json", description="What it has to be.")


class PlannedOutput(Planned):
    """A value that a step gives."""

    name: str = Field(description="Its name.")
    source: Literal["file", "workspace", "stdout", "answer"] = Field(
        description="Where it is read: below /out, in the workspace, from the standard output, or the model's answer."
    )
    path: str = Field("", description="Path below /out or in the workspace.")
    type: ValueType = Field("text", description="What it has to be.")


class PlannedRetry(Planned):
    """Further attempts at a step."""

    attempts: int = Field(1, description="Attempts altogether.")
    backoff: float = Field(0.0, description="Seconds before the second attempt, doubled before each one after it.")
    on: tuple[RetriedOutcome, ...] = Field(("failed",), description="Outcomes after which it is tried again.")


class PlannedItem(Planned):
    """Which item of a list a step is for; templates know it as `item`, and its place from 1 as `number`."""

    number: int = Field(description="From 1.")
    value: JsonValue = Field(None, description="The item, if the list is known before the start.")
    step: str = Field("", description="Planned step whose output is the list; empty if the item is known.")
    output: str = Field("", description="Name of that output.")
    at_most: int = Field(0, description="Most items that list may have; 0 if the item is known.")


class PlannedCall(Planned):
    """A direct call of the model; both texts are templates."""

    prompt: str
    system: str = ""
    max_tokens: int | None = None


class PlannedApproval(Planned):
    """A decision of a person."""

    message: str = Field(description="Template of what is asked.")
    timeout: float | None = Field(None, description="Seconds before the default is taken; null: never.")
    default: Literal["approve", "reject"] = "reject"


class PlannedAnswer(Planned):
    """A canned answer to a framework's question."""

    question: str | None = Field(None, description="Regular expression the question has to hold; null: any.")
    answer: str


class PlannedStep(Planned):
    """A step with everything resolved: texts in, limits merged (experiment < framework < step), no lists, no workflows."""

    id: str = Field(
        description="Name of the step; of one out of a workflow or list `<outer>.<inner>`, `<step>.<number>`."
    )
    index: int = Field(description="1-based position among the planned steps; every dependency has a smaller one.")
    title: str = Field(description="What the step asks for.")
    kind: Literal["prompt", "command", "check", "model", "approval"] = Field("prompt", description="Who performs it.")
    prompt: str = Field(description="Prompt text; empty if it is none.")
    prompt_sha256: str = Field(description="Digest of the prompt's UTF-8 bytes.")
    template: bool = Field(False, description="Whether the prompt is a template over the step's inputs and item.")
    expect_changes: bool = Field(description="Whether changing nothing is a failure.")
    limits: Limits = Field(description="Limits of this step's container.")
    network: Network = Field("none", description="Way out of this step.")
    allow: tuple[HostPattern, ...] = Field((), description="Hosts it may reach through the gateway's proxy, sorted.")
    depends_on: tuple[str, ...] | None = Field(
        None, description="Steps before it, in order of position; null: the one before it, if there is one."
    )
    inputs: tuple[PlannedInput, ...] = Field((), description="Values it takes, by name.")
    outputs: tuple[PlannedOutput, ...] = Field((), description="Values it gives, by name.")
    when: tuple[str, ...] = Field((), description="Expressions that must all hold, else it is left out.")
    item: PlannedItem | None = Field(None, description="Item of a list that it is for.")
    command: tuple[str, ...] = Field((), description="Program and arguments; empty: the framework's, or the script.")
    script: str = Field("", description="Text of its script; empty: none.")
    stdin: str | None = Field(None, description="Text of its standard input; null: empty.")
    call: PlannedCall | None = Field(None, description="For a model step: what is asked.")
    approval: PlannedApproval | None = Field(None, description="For an approval: what a person is asked.")
    retry: PlannedRetry = Field(default_factory=PlannedRetry, description="Further attempts.")
    continue_on_failure: bool = Field(False, description="Whether the run can pass although it did not.")
    workspace: WorkspaceMode = Field("own", description="What it sees of the workspace beside others.")
    image: ImageRef | None = Field(None, description="Image, if it is not the framework's.")
    answers: tuple[PlannedAnswer, ...] = Field((), description="Answers to what it asks.")


class Ancestry(Planned):
    """Where a forked run begins: with the workspace another run had after a step."""

    run: str = Field(description="Id of that run.")
    digest: str | None = Field(description="Its identity.")
    step: str = Field(description="Step after which it is continued.")
    index: int = Field(description="That step's position.")
    workspace_sha256: str = Field(description="Digest of what the workspace held: of the step's image configuration.")
    note: str = Field("", description="What was changed, in the words of who forked; not part of the digest.")


class PlannedStart(Planned):
    """A commit of a git repository that the workspace begins with."""

    content: str = Field(description="The git bundle it is in, base64.")
    sha256: str = Field(description="Digest of the bundle.")
    ref: str = Field(description="Full name of the reference in it.")
    commit: str = Field(description="Id of what the reference names.")


class Checker(Planned):
    """What judges: an image, and the program in it that is given the paths of two files, /in/check.json and /out/checks.json."""

    image: ImageRef
    command: tuple[str, ...]
    environment: dict[str, str] = Field(default_factory=dict)


class JudgedAfter(Planned):
    """A step after which a check judges."""

    step: str = Field(description="Planned step.")
    final: bool = Field(False, description="Whether it is the run's last workspace, with all that was merged into it.")
    come: tuple[str, ...] = Field((), description="Steps of the scenario that are done by then.")


class PlannedCheck(Planned):
    """A check, and when it judges; no part of the run's digest."""

    check: Check
    after: tuple[JudgedAfter, ...]


class Run(Planned):
    """One framework on one scenario, one repetition: complete, so that any machine can carry it out."""

    version: Literal[1] = 1
    id: str = Field(description="`<scenario>-r<repetition>-<first 10 digits of the digest>`.")
    digest: str | None = Field(description="Identity of the run; null in a dry run before the image exists.")
    experiment: str = Field(description="Name of the experiment that planned it; not part of the digest.")
    framework: Framework = Field(description="The framework's resolved recipe.")
    scenario: str = Field(description="Name of the scenario.")
    steps: tuple[PlannedStep, ...] = Field(description="Enabled steps, in order.")
    repetition: int = Field(description="From 1.")
    seed: int = Field(description="Seed of the repetition, unsigned 32 bit.")
    image: ImageRef = Field(description="Image of the framework.")
    model: Model | None = Field(description="Model, or null for a framework without network.")
    answers_sha256: str | None = Field(description="Digest of the scripted answers, if the model is scripted.")
    recording_sha256: str | None = Field(None, description="Digest of the recorded calls, if they are replayed.")
    budgets: Budgets = Field(
        default_factory=Budgets, description="What its calls may use up; the experiment's own is not in the digest."
    )
    packages: Packages | None = Field(None, description="Python packages its steps may install.")
    packages_sha256: str | None = Field(None, description="Digest of what is in their folder, if they come from one.")
    platform: str = Field(description="Platform of the engine, like linux/amd64.")
    archive: Literal["zstd", "gzip", "off"] = Field(description="Format of the run's archive; not part of the digest.")
    history: HistoryMode = Field(
        "diff", description="How the workspace after each step is kept; not part of the digest."
    )
    exclude_files: tuple[str, ...] = Field(
        (), description="Workspace paths that history and archive leave out; not part of the digest."
    )
    parallel: int | None = Field(None, description="Steps at the same time; null: all that are ready.")
    parent: Ancestry | None = Field(None, description="What it was forked from; null: it begins with nothing.")
    run_timeout: float = Field(description="Wall time of the whole run, seconds.")
    start: PlannedStart | None = Field(
        None, description="What the workspace begins with, of a run that was not forked; null: nothing."
    )
    checks: tuple[PlannedCheck, ...] = Field((), description="How its workspaces are judged; not part of the digest.")
    checker: Checker | None = Field(
        None, description="What judges; null: nothing is to be, or its image could not be had. Not part of the digest."
    )
