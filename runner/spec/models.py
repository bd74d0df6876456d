"""What the user writes: experiments, scenarios, frameworks. Frozen models, no I/O, no defaults elsewhere.

Each field's description is the sentence in the generated schema and reference; `spec.load` reads these from YAML
and adds file and line to every complaint.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from runner.spec.base import LARGEST, LONGEST, Name, PathText, Spec
from runner.spec.egress import HostPattern, Network, Packages
from runner.spec.model import Budgets, Model
from runner.spec.patterns import FilePattern
from runner.spec.units import Bytes, Number, Seconds, Whole

HistoryMode = Literal["off", "diff", "full", "compressed"]


class Limits(Spec):
    """Limits of each step's container, enforced by the kernel, the engine or the entry shim, or watched where they cannot."""

    step_timeout: Seconds = Field(
        600.0, gt=0, le=LONGEST, description="Wall time of one step, after which it ends as timed_out."
    )
    run_timeout: Seconds = Field(7200.0, gt=0, le=LONGEST, description="Wall time of all steps of a run together.")
    grace: Seconds = Field(
        5.0, ge=0, le=LONGEST, description="Time between the polite signal and the kill when a step must end."
    )
    cpus: Number = Field(1.0, gt=0, le=1024, description="CPU cores a step may use.")
    memory: Bytes = Field(
        2 * 1024**3, ge=16 * 1024**2, le=LARGEST, description="Memory a step may use, page cache included."
    )
    swap: Bytes = Field(0, ge=0, le=LARGEST, description="Swap a step may use on top of its memory.")
    gpus: Whole = Field(
        0, ge=0, le=64, description="GPUs a step has, each for itself alone; it waits until so many are free."
    )
    pids: Whole = Field(512, ge=8, le=4_194_304, description="Processes and threads a step may have at once.")
    tmp: Bytes = Field(256 * 1024**2, ge=1024**2, le=LARGEST, description="Size of the step's /tmp, held in memory.")
    shm: Bytes = Field(64 * 1024**2, ge=1024**2, le=LARGEST, description="Size of the step's /dev/shm, held in memory.")
    log: Bytes = Field(
        16 * 1024**2,
        ge=4096,
        le=LARGEST,
        description="Kept output of one step per stream; what is beyond is dropped and counted.",
    )
    workspace: Bytes = Field(
        4 * 1024**3,
        ge=1024**2,
        le=LARGEST,
        description="Size of the workspace; the kernel refuses a single file of more, and the runner watches the whole.",
    )
    state: Bytes = Field(
        2 * 1024**3, ge=1024**2, le=LARGEST, description="Size of /state and /out together; watched by the runner."
    )
    files: Whole = Field(
        200_000,
        ge=100,
        le=100_000_000,
        description="Files, folders and links in /workspace, /state and /out together; watched by the runner.",
    )
    experiment_timeout: Seconds | None = Field(
        None,
        gt=0,
        le=LONGEST,
        description="Wall time of one `runner go`: runs under way are cancelled then, none begins, and the next `go` "
        "does them; by default none.",
    )


class LimitsPatch(Spec):
    """Limits that replace the experiment's for one framework or one step; what is absent stays."""

    step_timeout: Seconds | None = Field(None, gt=0, le=LONGEST, description="Replaces limits.step_timeout.")
    cpus: Number | None = Field(None, gt=0, le=1024, description="Replaces limits.cpus.")
    memory: Bytes | None = Field(None, ge=16 * 1024**2, le=LARGEST, description="Replaces limits.memory.")
    swap: Bytes | None = Field(None, ge=0, le=LARGEST, description="Replaces limits.swap.")
    gpus: Whole | None = Field(None, ge=0, le=64, description="Replaces limits.gpus.")
    pids: Whole | None = Field(None, ge=8, le=4_194_304, description="Replaces limits.pids.")
    tmp: Bytes | None = Field(None, ge=1024**2, le=LARGEST, description="Replaces limits.tmp.")
    log: Bytes | None = Field(None, ge=4096, le=LARGEST, description="Replaces limits.log.")
    workspace: Bytes | None = Field(None, ge=1024**2, le=LARGEST, description="Replaces limits.workspace.")
    state: Bytes | None = Field(None, ge=1024**2, le=LARGEST, description="Replaces limits.state.")
    files: Whole | None = Field(None, ge=100, le=100_000_000, description="Replaces limits.files.")


class Cell(Spec):
    """Selects part of the matrix; an absent key matches everything."""

    framework: Name | None = Field(None, description="Framework to match.")
    scenario: Name | None = Field(None, description="Scenario to match.")
    repetition: Whole | None = Field(None, ge=1, description="Repetition to match, from 1.")


class Experiment(Spec):
    """One experiment: frameworks x scenarios x repetitions under the same limits and model."""

    name: Name = Field(description="Name of the experiment, shown in tables and records.")
    description: str = Field("", description="What the experiment is for, in a sentence.")
    frameworks: tuple[Name, ...] = Field(min_length=1, description="Frameworks to compare: folders under images/.")
    scenarios: tuple[Name, ...] = Field(min_length=1, description="Scenarios to run: files under config/scenarios/.")
    repetitions: Whole = Field(1, ge=1, le=1_000_000, description="How often each framework meets each scenario.")
    seed: Whole = Field(1, ge=0, lt=2**32, description="Seed from which each repetition's own seed is derived.")
    model: Model | None = Field(
        None,
        description="Model for steps that have a way out. May be left out if every `gateway` step has an `allow`: "
        "steps then get no variables of a model.",
    )
    limits: Limits = Field(default_factory=Limits, description="Limits of each step.")
    budgets: Budgets = Field(default_factory=Budgets, description="What model calls may use up.")
    packages: Packages | None = Field(
        None, description="Python packages that steps may install, offered through the gateway; by default none."
    )
    include: tuple[Cell, ...] = Field((), description="Keep only runs that match one of these.")
    exclude: tuple[Cell, ...] = Field((), description="Drop runs that match one of these.")
    jobs: Whole | None = Field(None, ge=1, le=4096, description="Containers at once; by default from cores and memory.")
    stop_after_broken: Whole = Field(
        3,
        ge=0,
        le=1_000_000,
        description="Begin no further run once so many in a row broke for the same reason, whatever they were; 0: never. "
        "What has not begun stays planned.",
    )
    output: PathText = Field("runs", description="Folder for run directories, relative to the project.")
    archive: Literal["zstd", "gzip", "off"] = Field("zstd", description="Format of each run's archive.")
    history: HistoryMode = Field(
        "diff",
        description="How the workspace after each step is kept: `diff`, as what the step changed; `full`, also as a "
        "folder per step to look into; `compressed`, also as an archive per step; or `off`.",
    )
    exclude_files: tuple[FilePattern, ...] = Field(
        (),
        description="Patterns of workspace paths that history and archive leave out, like `**/node_modules/**`; what "
        "was left out is recorded.",
    )


class PypiSource(Spec):
    """A framework from the Python package index."""

    pypi: str = Field(min_length=1, description="Distribution name on the index.")
    version: str = Field(min_length=1, description="Exact version.")


class NpmSource(Spec):
    """A framework from the npm registry."""

    npm: str = Field(min_length=1, description="Package name on the registry.")
    version: str = Field(min_length=1, description="Exact version.")


class GitSource(Spec):
    """A framework from a git repository at one commit."""

    git: str = Field(min_length=1, description="URL or path of the repository.")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$", description="Full commit id, 40 hexadecimal digits.")
    paths: tuple[PathText, ...] = Field(
        (),
        description="Files and folders to take, from the top of the repository; nothing else is fetched. All by default.",
    )


class LocalSource(Spec):
    """A framework from a folder beside its recipe."""

    path: PathText = Field(min_length=1, description="Folder, relative to the recipe; may not leave it.")


_SOURCES = {"pypi": PypiSource, "npm": NpmSource, "git": GitSource, "path": LocalSource}


def _kind_of_source(value: object) -> str | None:
    """Return the name of the class that a mapping means by its own key; a finished value is taken as it is."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    keys = [key for key in _SOURCES if isinstance(value, dict) and key in value]
    return _SOURCES[keys[0]].__name__ if len(keys) == 1 else None


Source = Annotated[
    Annotated[PypiSource, Tag("PypiSource")]
    | Annotated[NpmSource, Tag("NpmSource")]
    | Annotated[GitSource, Tag("GitSource")]
    | Annotated[LocalSource, Tag("LocalSource")],
    Discriminator(
        _kind_of_source,
        custom_error_type="source_kind",
        custom_error_message="a source has exactly one of: pypi (with version), npm (with version), "
        "git (with commit), path",
    ),
]


class SmokeTest(Spec):
    """A command that must succeed in a finished image before it is used."""

    command: tuple[str, ...] = Field(min_length=1, description="Program and arguments.")
    timeout: Seconds = Field(60.0, gt=0, le=LONGEST, description="Wall time it may take.")


class Framework(Spec):
    """Recipe of a framework's image, and the command that performs one step in it."""

    name: Name = Field(description="Name of the framework; equals its folder's name.")
    title: str = Field("", description="What the framework is, in a sentence.")
    homepage: str = Field("", description="Where the framework comes from.")
    license: str = Field("", description="SPDX identifier of the framework's licence.")
    role: Literal["framework", "checker"] = Field(
        "framework", description="`checker`: no framework, but what judges; its command gets the paths of two files."
    )
    source: Source = Field(description="Where the framework's code comes from.")
    system_packages: tuple[str, ...] = Field((), description="Debian packages the framework needs on top of the base.")
    command: tuple[str, ...] = Field(
        min_length=1,
        description="Program and arguments that perform one step; {prompt}, {prompt_file}, {model}, {seed}, {step} "
        "and {index} inside an argument are replaced.",
    )
    environment: dict[str, str] = Field(default_factory=dict, description="Variables set for every step.")
    writable: tuple[str, ...] = Field(
        (), description="Paths below /opt/framework that the framework writes; each is mapped to the run's own storage."
    )
    network: Network = Field(
        "none",
        description="Way out: `none`; `gateway` (the model, and what `allow` and `packages` name); or `open` (anything, "
        "so that results cannot be had again; marked in the record).",
    )
    allow: tuple[HostPattern, ...] = Field(
        (),
        description="Hosts that steps may reach through the gateway's proxy, like `example.org` (ports 80 and 443), "
        "`example.org:8443` or `*.example.org`; needs network `gateway`.",
    )
    limits: LimitsPatch = Field(default_factory=LimitsPatch, description="Limits of this framework's steps.")
    smoke_test: SmokeTest = Field(description="What must work in the finished image.")
