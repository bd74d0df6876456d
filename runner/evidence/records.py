"""Records: `metadata.json` and `metrics.json` of a run and its steps, as versioned JSON.

A record is written before the first container exists and finalised whatever happens. Unknown is null with a reason.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runner.plan.models import Run

Outcome = Literal["passed", "failed", "timed_out", "exceeded", "broken", "cancelled", "skipped"]
"""passed; failed: the framework's doing; timed_out, exceeded: a limit or budget; broken: ours or the machine's;
cancelled: the user's; skipped: an earlier step did not pass."""


class RecordModel(BaseModel):
    """Base settings of records."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def what_is_wrong(error: OSError | ValueError) -> str:
    """Return in one line why a record cannot be read: of one that is not as it has to be, the first such field."""
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    first, more = error.errors()[0], error.error_count() - 1
    field = ".".join(map(str, first["loc"]))
    return (f"{field}: " if field else "") + first["msg"] + (f", and {more} more" if more else "")


class ValueRecord(RecordModel):
    """A value that a step took or gave."""

    name: str = Field(description="Its name.")
    type: str = Field(description="text, number, boolean, list, object, json or file.")
    path: str = Field(description="Where it is kept, relative to the step's folder.")
    bytes: int = Field(description="Size.")
    sha256: str = Field(description="Digest of its bytes.")


class AnswerUse(RecordModel):
    """One question of a framework and the canned answer it got."""

    question: str = Field(description="What was asked, cut after 2,000 characters.")
    answer_sha256: str | None = Field(description="Digest of the answer's UTF-8 bytes; null: no answer fitted.")


class DecisionRecord(RecordModel):
    """A person's decision, or what was taken in its place."""

    decision: Literal["approve", "reject"]
    by: Literal["person", "timeout"] = Field(description="Who took it.")
    message: str = Field("", description="What the person said.")
    message_sha256: str = Field("", description="Digest of that message's UTF-8 bytes; empty: a person said nothing.")
    question: str = Field("", description="What was asked.")
    asked_at: str = Field(description="UTC, ISO 8601.")
    decided_at: str = Field(description="UTC, ISO 8601.")


class Suspension(RecordModel):
    """An approval that a run waits for."""

    step: str = Field(description="Step that waits.")
    index: int = Field(description="Its position.")
    message: str = Field(description="What is asked.")
    asked_at: str = Field(description="UTC, ISO 8601.")
    until: str | None = Field(description="When the default is taken, UTC; null: never.")
    default: Literal["approve", "reject"]


class Phase(RecordModel):
    """A framework's own phase within a step, as it reported it."""

    name: str = Field(description="The framework's word for it.")
    seconds: float | None = Field(description="Wall time, as reported.")
    exit_code: int | None = Field(description="Exit code, as reported.")
    detail: str = Field("", description="One sentence, as reported.")
    started_at: float | None = Field(None, description="When it began, seconds since the epoch, as reported.")


class AttemptRecord(RecordModel):
    """One container for one step: the contract of a command."""

    attempt: int = Field(description="From 1.")
    container: str = Field(description="Name of the container; empty for a step without one.")
    image_id: str = Field(description="Image the container was made from; empty for a step without one.")
    gpus: tuple[str, ...] = ()
    """Ids of the devices that it had for itself."""
    argv: tuple[str, ...] = Field(description="Command of the step; of a model step `model` and the model's name.")
    cwd: str | None = Field(None, description="Its working directory; null: there was none, or it was not recorded.")
    started_at: str | None = Field(description="UTC, ISO 8601.")
    finished_at: str | None = Field(description="UTC, ISO 8601.")
    seconds: float | None = Field(
        description="Wall time of the container by the engine's clock, or the shim's where that shows none; of a model "
        "step, of its call."
    )
    exit_code: int | None = Field(description="Exit code; 124 after a deadline; null if it never ran.")
    signal: int | None = Field(description="Signal that ended the command, if one did.")
    oom_killed: bool = Field(description="Whether the kernel killed it for memory.")
    timed_out: bool = Field(description="Whether its deadline passed.")
    stdout_bytes: int | None = Field(description="Bytes written to stdout, dropped ones included.")
    stderr_bytes: int | None = Field(description="Bytes written to stderr, dropped ones included.")
    dropped_bytes: int = Field(description="Output beyond limits.log that was not kept.")
    outcome: Outcome = Field(description="Verdict on this attempt.")
    reason: str = Field(description="Why, in a sentence; empty if passed.")
    error: str = Field("", description="Why the command could not be run, in the engine's or the shim's words.")
    watched: bool = Field(
        False, description="Whether a limit ended it that the runner watches, as no kernel or engine does."
    )


class StepRecord(RecordModel):
    """`steps/step_NNN/metadata.json`."""

    version: Literal[1] = 1
    id: str = Field(description="Name of the step.")
    index: int = Field(description="1-based position.")
    title: str = Field(description="What the step asked for.")
    prompt_sha256: str = Field(description="Digest of the prompt.")
    outcome: Outcome = Field(description="Verdict on the step.")
    reason: str = Field(description="Why, in a sentence; empty if passed.")
    started_at: str | None = Field(description="UTC, ISO 8601.")
    finished_at: str | None = Field(description="UTC, ISO 8601.")
    changed_files: int | None = Field(description="Files added, changed or removed in the workspace.")
    phases: tuple[Phase, ...] = Field((), description="The framework's own phases.")
    attempts: tuple[AttemptRecord, ...] = Field((), description="Every attempt, the failed ones included.")
    kind: str = Field("prompt", description="Who performed it: prompt, command, check, model or approval.")
    depends_on: tuple[str, ...] | None = Field(None, description="Steps before it; null: the one before it.")
    counts: bool = Field(
        True,
        description="Whether the run's outcome depends on it: not of one that `when` left out, or that may fail.",
    )
    inputs: tuple[ValueRecord, ...] = Field((), description="Values it took.")
    outputs: tuple[ValueRecord, ...] = Field((), description="Values it gave.")
    answers: tuple[AnswerUse, ...] = Field((), description="Questions it asked.")
    decision: DecisionRecord | None = Field(None, description="Of an approval: what was decided.")
    conflicts: tuple[str, ...] = Field((), description="Paths that steps before it changed differently.")


class Host(RecordModel):
    """The machine a run was carried out on, by what it can do; nothing here names it. Not part of a run's identity."""

    kernel: str
    operating_system: str
    engine_version: str
    api_version: str
    cgroup: str
    cpus: int
    memory_bytes: int
    runner_version: str
    boot: str = ""
    """The machine's boot, a random id: what was written under another one may not have reached the disk."""


class RunRecord(RecordModel):
    """`metadata.json` of a run."""

    version: Literal[1] = 1
    run: Run = Field(description="Everything that was planned.")
    outcome: Outcome | None = Field(description="Verdict; null while the run is not finished.")
    reason: str = Field(description="Why, in a sentence; empty if passed.")
    model_label: str = Field(description="How results name the model, like `scripted model` or openai/gpt-4o-mini.")
    started_at: str = Field(description="UTC, ISO 8601.")
    finished_at: str | None = Field(description="UTC, ISO 8601; null while the run is not finished.")
    host: Host = Field(description="Where it ran.")
    steps: tuple[StepRecord, ...] = Field((), description="Steps that have ended, in order of position.")
    suspended: tuple[Suspension, ...] = Field((), description="Approvals it waits for; then it has no outcome.")
    artifacts: str = Field("", description="Relative path of the final workspace.")
    archive: str | None = Field(None, description="Relative path of the archive; its digests stand in files beside it.")
    notes: tuple[str, ...] = Field((), description="What was left out, changed or could not be done, a sentence each.")


class MetricAbout(RecordModel):
    """What one metric means and how it was come by."""

    unit: str = Field(description="What it is counted in, like seconds, bytes, tokens, USD, share or lines.")
    source: str = Field(
        description="engine, cgroup, shim, stats, gateway, workspace, runner, records, checks, history or none; of a "
        "cost the table of prices."
    )
    exact: bool = Field(description="False for a sample or an estimate.")
    status: Literal["measured", "derived", "partial", "unmeasured"] = Field(description="How complete it is.")
    reason: str = Field("", description="Why it is null, partial or not exact.")


METRIC_NAMES = (
    "wall_seconds",
    "cpu_seconds",
    "peak_memory_bytes",
    "io_read_bytes",
    "io_write_bytes",
    "api_calls",
    "tokens_in",
    "tokens_out",
    "tokens_cached",
    "tokens_reasoning",
    "call_seconds",
    "waiting_seconds",
    "cost_usd",
    "steps_total",
    "steps_performed",
    "steps_passed",
    "attempts",
    "artifact_files",
    "artifact_bytes",
    "crud_effectiveness",
    "endpoint_success",
    "model_correctness",
    "zero_defect",
    "availability",
    "carry_forward",
    "tests_passed",
    "imports_ok",
    "ruff_findings",
    "bandit_findings",
    "complexity",
    "automation_rate",
    "human_interventions",
    "retries",
    "recovery_seconds",
    "iterations",
    "quality_per_token",
    "quality_per_dollar",
    "contamination",
    "files_added",
    "files_changed",
    "files_removed",
    "lines_added",
    "lines_removed",
)
"""Every metrics.json has exactly these names at its top level and in each element of `per_step`."""
