"""What will be run: values that cross process, machine and disk boundaries as versioned JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runner.spec.egress import HostPattern, Network, Packages
from runner.spec.model import Budgets, Model
from runner.spec.models import Framework, Limits


class Planned(BaseModel):
    """Base settings of planned values."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedStep(Planned):
    """A step with everything resolved: prompt text in, limits merged (experiment < framework < step)."""

    id: str = Field(description="Name of the step.")
    index: int = Field(description="1-based position among the enabled steps.")
    title: str = Field(description="What the step asks for.")
    prompt: str = Field(description="Prompt text.")
    prompt_sha256: str = Field(description="Digest of the prompt's UTF-8 bytes.")
    expect_changes: bool = Field(description="Whether changing nothing is a failure.")
    limits: Limits = Field(description="Limits of this step's container.")
    network: Network = Field("none", description="Way out of this step.")
    allow: tuple[HostPattern, ...] = Field((), description="Hosts it may reach through the gateway's proxy, sorted.")


class ImageRef(Planned):
    """The image a run uses. `id` is None only in a dry run before the image exists."""

    tag: str = Field(description="Tag, made from the hash of everything that goes in.")
    id: str | None = Field(description="Config digest of the image, sha256:...; null if not built yet.")


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
    history: Literal["off", "diff"] = Field(
        "diff", description="Whether the workspace after each step is kept; not part of the digest."
    )
    run_timeout: float = Field(description="Wall time of the whole run, seconds.")
