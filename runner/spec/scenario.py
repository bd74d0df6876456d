"""What the user writes of a scenario: a graph of steps, and what each of them takes, does and gives."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, JsonValue, StringConstraints, model_validator

from runner.spec.base import LONGEST, Name, PathText, Spec
from runner.spec.egress import HostPattern, Network
from runner.spec.judging import Check
from runner.spec.models import LimitsPatch
from runner.spec.units import Seconds, Whole

ValueType = Literal["text", "number", "boolean", "list", "object", "json", "file"]
"""What a value is: `file` is bytes as they are, `text` UTF-8, `json` anything that JSON has, the others one kind of it."""
ExperimentValue = Literal["framework", "scenario", "repetition", "seed", "model"]
Kind = Literal["prompt", "command", "check", "model", "workflow", "approval"]
WorkspaceMode = Literal["own", "shared", "read-only", "none"]
RetriedOutcome = Literal["failed", "timed_out", "exceeded", "broken"]

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""Name of a value: lower-case letters, digits and underscores, so that templates can use it."""


def _exactly_one(value: Spec, names: tuple[str, ...], what: str) -> None:
    given = [name for name in names if name in value.model_fields_set and getattr(value, name) is not None]
    if len(given) != 1:
        found = f"it has {' and '.join(given)}" if given else "it has none of them"
        raise ValueError(f"{what} has exactly one of {', '.join(names)}; {found}")


class Input(Spec):
    """Where a step takes a value from; the value stands in /in/inputs/<name>, and templates know it by its name."""

    step: Name | None = Field(None, description="Earlier step whose output it is; needs `output`.")
    output: Identifier | None = Field(None, description="Name of that step's output.")
    workspace: PathText | None = Field(
        None,
        min_length=1,
        description="Path in the workspace as the step finds it; a file, taken as text unless `type` says.",
    )
    experiment: ExperimentValue | None = Field(None, description="A value of the experiment or the run.")
    input: Identifier | None = Field(None, description="In a sub-workflow: one of the workflow's own inputs.")
    item: bool | None = Field(
        None, description="`true`: the step's own item, from `for_each` or `repeat`; its list has to be written out."
    )
    value: JsonValue = Field(None, description="The value itself.")
    type: ValueType | None = Field(None, description="What it has to be; by default what its source says.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        _exactly_one(self, ("step", "workspace", "experiment", "input", "item", "value"), "an input")
        if self.item is False:
            raise ValueError("`item` is true or absent")
        if (self.step is None) != (self.output is None):
            raise ValueError("`step` and `output` belong together: which step, and which of its outputs")
        return self


class Output(Spec):
    """A value that a step gives to later ones."""

    file: PathText | None = Field(None, min_length=1, description="File below /out.")
    workspace: PathText | None = Field(None, min_length=1, description="File in the workspace, as the step leaves it.")
    stdout: bool | None = Field(None, description="`true`: what the step prints to its standard output.")
    type: ValueType = Field("text", description="How it is read; a step whose output is not of its type has failed.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        _exactly_one(self, ("file", "workspace", "stdout"), "an output")
        if self.stdout is False:
            raise ValueError("`stdout` is true or absent")
        return self


class Retry(Spec):
    """Further attempts at a step, each in a fresh container on the workspace as the step found it."""

    attempts: Whole = Field(2, ge=1, le=100, description="Attempts altogether.")
    backoff: Seconds = Field(
        0.0, ge=0, le=LONGEST, description="Pause before the second attempt; twice as long before each one after it."
    )
    on: tuple[RetriedOutcome, ...] = Field(
        ("failed",), min_length=1, description="Outcomes after which it is tried again."
    )


class Program(Spec):
    """A program to run: exactly one of an argument list, the text of a script, or a file with one."""

    command: tuple[str, ...] | None = Field(
        None, min_length=1, description="Program and arguments; placeholders as in a framework's command."
    )
    script: str | None = Field(
        None, min_length=1, description="Text of a script, run by what its `#!` line names, else by `sh -eu`."
    )
    script_file: PathText | None = Field(None, description="File with the script, relative to the scenario's file.")

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        _exactly_one(self, ("command", "script", "script_file"), "a program")
        return self


class ModelCall(Spec):
    """One direct call of the experiment's model, through the gateway, without a container."""

    prompt: str = Field(min_length=1, description="Template of the message; `{{ name }}` is the value of an input.")
    system: str = Field("", description="Template of the system message; empty for none.")
    output: Identifier = Field("answer", description="Name of the output that the answer becomes.")
    type: ValueType = Field(
        "text", description="What the answer has to be; JSON may stand in a fenced block. Else the step has failed."
    )
    max_tokens: Whole | None = Field(None, ge=1, description="Most tokens of the answer.")


class Approval(Spec):
    """A person's decision; the run waits for it without a container and without a slot."""

    message: str = Field(min_length=1, description="Template of what the person is asked.")
    timeout: Seconds | None = Field(
        None, gt=0, le=LONGEST, description="How long to wait before `default` is taken; for ever if absent."
    )
    default: Literal["approve", "reject"] = Field("reject", description="What is taken when the time is over.")


class CannedAnswer(Spec):
    """What a framework is told that asks for a clarification."""

    question: str | None = Field(
        None, min_length=1, description="Regular expression that the question has to hold; any question if absent."
    )
    answer: str = Field(description="The answer.")


class ForEach(Spec):
    """Repeats a step once per item, each repetition a step of its own named `<id>.<number>`."""

    items: tuple[JsonValue, ...] | None = Field(None, min_length=1, description="The items themselves.")
    step: Name | None = Field(None, description="Earlier step one of whose outputs is the list; needs `output`.")
    output: Identifier | None = Field(None, description="Name of that output, of type `list`.")
    input: Identifier | None = Field(None, description="In a sub-workflow: one of the workflow's inputs, a list.")
    at_most: Whole = Field(
        16,
        ge=1,
        le=1000,
        description="Most items of a list that is not known before the start; a longer one is a failure.",
    )
    one_by_one: bool = Field(False, description="Whether each repetition waits for the one before it.")

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        _exactly_one(self, ("items", "step", "input"), "for_each")
        if (self.step is None) != (self.output is None):
            raise ValueError("`step` and `output` belong together: which step, and which of its outputs")
        return self


class Step(Spec):
    """One node of a scenario's graph; exactly one of prompt, command, check, model, workflow and approval."""

    id: Name = Field(description="Name of the step, unique in its scenario.")
    title: str = Field("", description="What the step asks for, in a few words.")
    prompt: str | None = Field(
        None, min_length=1, description="A prompt that the framework carries out; with `inputs` a template."
    )
    prompt_file: PathText | None = Field(None, description="File with the prompt, relative to the scenario's file.")
    command: tuple[str, ...] | None = Field(
        None, min_length=1, description="A program and its arguments, run instead of the framework's command."
    )
    script: str | None = Field(
        None, min_length=1, description="Text of a script, run by what its `#!` line names, else by `sh -eu`."
    )
    script_file: PathText | None = Field(None, description="File with the script, relative to the scenario's file.")
    check: Program | None = Field(
        None, description="A program that judges the workspace, in a container without state, model or right to write."
    )
    model: ModelCall | None = Field(None, description="One direct call of the model, without a container.")
    workflow: Name | None = Field(
        None,
        description="A workflow of config/workflows/ whose steps stand in this one's place; `when`, `for_each`, `repeat`, "
        "`limits` and `answers` are passed down to each of them, everything else is said there.",
    )
    approval: Approval | None = Field(None, description="A person's decision to wait for.")
    enabled: bool = Field(True, description="Whether the step takes part.")
    expect_changes: bool | None = Field(
        None,
        description="Whether a step that exits 0 and changes nothing has failed; by default true for a prompt only.",
    )
    depends_on: tuple[Name, ...] | None = Field(
        None,
        description="Steps, or parallel groups, that come before it; by default the step or group before it in the file. "
        "`[]`: none.",
    )
    parallel_group: Name | None = Field(
        None, description="Steps in a row with the same group run beside each other unless `depends_on` says otherwise."
    )
    inputs: dict[Identifier, Input] = Field(default_factory=dict, description="Values the step takes, by name.")
    outputs: dict[Identifier, Output] = Field(default_factory=dict, description="Values the step gives, by name.")
    when: str | None = Field(
        None,
        min_length=1,
        description="Expression that must be true, else the step is left out; knows `inputs`, `steps.<id>.outcome`, "
        "`item`, `number`, `seed` and `repetition`.",
    )
    timeout: Seconds | None = Field(
        None, gt=0, le=LONGEST, description="Wall time of one attempt; limits.step_timeout."
    )
    retry: Retry | None = Field(None, description="Further attempts after a failure; by default none.")
    continue_on_failure: bool = Field(
        False, description="Whether the run goes on, and can pass, although this step failed or met a limit."
    )
    for_each: ForEach | None = Field(None, description="Repeats the step once per item of a list.")
    repeat: Whole | None = Field(None, ge=1, le=1000, description="Repeats the step so often, one after the other.")
    workspace: WorkspaceMode | None = Field(
        None,
        description="`own`: beside other steps, a view of its own whose changes are merged; `shared`: the run's one "
        "workspace even then; `read-only`; `none`. By default own, of a check read-only, without a container none.",
    )
    image: Name | None = Field(None, description="Recipe under images/ whose image is used instead of the framework's.")
    stdin: PathText | None = Field(
        None, description="File for the standard input, UTF-8, relative to the scenario's file."
    )
    answers: tuple[CannedAnswer, ...] = Field((), description="Answers for a framework that asks, in order of trial.")
    limits: LimitsPatch = Field(default_factory=LimitsPatch, description="Limits of this step.")
    network: Network | None = Field(
        None, description="Way out of this step; by default the framework's, of a check none."
    )
    allow: tuple[HostPattern, ...] = Field(
        (), description="Hosts this step may reach besides the framework's; needs network `gateway`."
    )

    @property
    def kind(self) -> Kind:
        """What sort of step it is; of one that says nothing, a prompt."""
        if self.command is not None or self.script is not None or self.script_file is not None:
            return "command"
        others: tuple[Kind, ...] = ("check", "model", "workflow", "approval")
        return next((kind for kind in others if getattr(self, kind) is not None), "prompt")


class WorkspaceStart(Spec):
    """What the workspace holds before the first step: a commit of a git repository, out of a bundle."""

    bundle: PathText | None = Field(
        None, min_length=1, description="File with the bundle, at most 1 MiB, relative to the scenario's file."
    )
    content: str | None = Field(None, min_length=1, description="The bundle itself in base64, in the place of a file.")
    ref: str = Field(
        "main",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$",
        description="Branch or tag of the bundle whose commit is checked out.",
    )

    @model_validator(mode="after")
    def _one_bundle(self) -> Self:
        _exactly_one(self, ("bundle", "content"), "a start")
        return self


class Scenario(Spec):
    """Steps that every framework carries out alike on one growing workspace: a list, or a graph."""

    name: Name = Field(description="Name of the scenario; equals its file's name.")
    title: str = Field("", description="What the scenario builds, in a sentence.")
    parallel: Whole | None = Field(
        None, ge=1, le=4096, description="Steps of one run at the same time; by default all that are ready."
    )
    answers: tuple[CannedAnswer, ...] = Field((), description="Answers for every step that has none of its own.")
    steps: tuple[Step, ...] = Field(min_length=1, description="Steps in the order in which they are carried out.")
    start: WorkspaceStart | None = Field(
        None, description="What the workspace holds before the first step; by default nothing."
    )
    checks: tuple[Check, ...] = Field(
        (),
        description="How what was built is judged; no part of a run's identity, so that no edit runs anything again.",
    )


class WorkflowInput(Spec):
    """A value that a workflow is given by the step that calls it."""

    type: ValueType = Field("text", description="What it has to be.")
    default: JsonValue = Field(None, description="What it is if the step gives none; without it one is needed.")
    description: str = Field("", description="What it is for, in a sentence.")


class WorkflowOutput(Spec):
    """A value of a workflow's step that the calling step gives as its own."""

    step: Name = Field(description="Step of the workflow.")
    output: Identifier = Field(description="Name of that step's output.")


class Workflow(Spec):
    """Steps that scenarios use in the place of one."""

    name: Name = Field(description="Name of the workflow; equals its file's name.")
    title: str = Field("", description="What it does, in a sentence.")
    inputs: dict[Identifier, WorkflowInput] = Field(default_factory=dict, description="Values it takes, by name.")
    outputs: dict[Identifier, WorkflowOutput] = Field(default_factory=dict, description="Values it gives, by name.")
    steps: tuple[Step, ...] = Field(min_length=1, description="Its steps.")


EXPERIMENT_VALUES: tuple[ExperimentValue, ...] = get_args(ExperimentValue)
"""What an input may take from the experiment."""
