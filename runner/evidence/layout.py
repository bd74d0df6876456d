"""The on-disk layout of a run; the only place that knows file names of evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner.names import VERDICTS_FILE


@dataclass(frozen=True)
class RunLayout:
    """Paths of one run directory.

    ```
    runs/<framework>/<run_id>/
    ├── README.md                what happened, for a person
    ├── metadata.json            RunRecord
    ├── metrics.json             flat totals, per_step, about
    ├── generated_artifacts/     the workspace: mounted as the run's volume while it runs, final state after
    ├── state/                   /state: HOME, caches, context stores; writable/ holds the framework's writable paths
    ├── steps/step_001/
    │   ├── metadata.json        StepRecord
    │   ├── metrics.json         the step's metrics
    │   ├── in/                  what /in held: step.json, prompt.txt, script; inputs/ with the values it took
    │   ├── out/                 what /out held
    │   ├── outputs/             the values it gave to later steps
    │   ├── stdout.log  stderr.log   of the last attempt
    │   ├── workspace/  workspace.tar.zst   the workspace after it, with `history: full` or `compressed`
    │   ├── conflicts/           what steps before it changed differently, of each side
    │   ├── checks.json          what was said of the workspace after it; checks/<id>/ what each check was told and printed
    │   └── attempts/01/         stdout.log stderr.log out/ of earlier attempts
    ├── llm/calls.jsonl          one line per model call
    ├── llm/connections.jsonl    one line per other connection, made or refused
    ├── llm/bodies/              requests and answers, redacted, each once under its sha256
    ├── approvals/               step_002.asked.json: what a person is asked; step_002.json: what was decided
    ├── views/                   workspaces of steps beside others, until they are merged: only while the run goes on
    ├── conflicts/               what steps beside each other changed differently, of each side, if no step needed both
    ├── history/                 the workspace after every step, as an OCI image layout: a layer and a tag per step
    │   ├── oci-layout  index.json
    │   └── blobs/sha256/        layers, and what says which belong to which step
    ├── checks.json              verdicts of all checks, the newest of each
    ├── checks/<version>/        what was judged later: checks.json and steps/ like those of the run
    ├── judging/                 copies that are being judged: only while that goes on
    ├── logs/run.log             this run's events, JSON lines
    ├── run.tar.zst              deterministic archive (or run.tar.gz)
    ├── run.tar.zst.sha256       its digest, for `sha256sum -c`
    └── run.tar.sha256           digest of the tar inside, the same whatever compressed it
    ```
    """

    root: Path

    @property
    def readme(self) -> Path:
        return self.root / "README.md"

    @property
    def metadata(self) -> Path:
        return self.root / "metadata.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.json"

    @property
    def workspace(self) -> Path:
        return self.root / "generated_artifacts"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def bodies(self) -> Path:
        """Return the folder of the bodies of model calls, which the gateway does not sync one by one."""
        return self.root / "llm" / "bodies"

    @property
    def calls(self) -> Path:
        return self.root / "llm" / "calls.jsonl"

    @property
    def views(self) -> Path:
        return self.root / "views"

    @property
    def conflicts(self) -> Path:
        return self.root / "conflicts"

    @property
    def checks(self) -> Path:
        """Return the file of all verdicts."""
        return self.root / VERDICTS_FILE

    @property
    def judging(self) -> Path:
        """Return where copies are while they are judged."""
        return self.root / "judging"

    def judged_later(self, name: str) -> RunLayout:
        """Return the layout of what was judged after the run's end, under a name made from the checks' version."""
        return RunLayout(self.root / "checks" / name)

    @property
    def history(self) -> Path:
        return self.root / "history"

    @property
    def metrics_table(self) -> Path:
        return self.root / "metrics.csv"

    def question(self, index: int) -> Path:
        """Return what a person is asked by the approval at 1-based `index`."""
        return self.root / "approvals" / f"step_{index:03d}.asked.json"

    def decision(self, index: int) -> Path:
        """Return what a person decided on the approval at 1-based `index`."""
        return self.root / "approvals" / f"step_{index:03d}.json"

    @property
    def log(self) -> Path:
        return self.root / "logs" / "run.log"

    def step(self, index: int) -> StepLayout:
        """Return the layout of the step at 1-based `index`."""
        return StepLayout(self.root / "steps" / f"step_{index:03d}")

    def steps(self) -> tuple[StepLayout, ...]:
        """Return the layouts of the steps that have left something, in order."""
        return tuple(StepLayout(path) for path in sorted((self.root / "steps").glob("step_*")))

    def archive(self, kind: str) -> Path:
        """Return the archive's path for `zstd` or `gzip`."""
        return self.root / {"zstd": "run.tar.zst", "gzip": "run.tar.gz"}[kind]

    def archive_digest(self, kind: str) -> Path:
        """Return the path of the archive's digest."""
        archive = self.archive(kind)
        return archive.with_name(f"{archive.name}.sha256")

    @property
    def tar_digest(self) -> Path:
        return self.root / "run.tar.sha256"


@dataclass(frozen=True)
class StepLayout:
    """Paths of one step within a run directory."""

    root: Path

    @property
    def metadata(self) -> Path:
        return self.root / "metadata.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.json"

    @property
    def inputs(self) -> Path:
        return self.root / "in"

    @property
    def outputs(self) -> Path:
        return self.root / "out"

    @property
    def checks(self) -> Path:
        """Return the file of verdicts on the workspace after the step."""
        return self.root / VERDICTS_FILE

    def check(self, name: str) -> StepLayout:
        """Return where it is kept what a check was told and what it printed."""
        return StepLayout(self.root / "checks" / name)

    @property
    def given(self) -> Path:
        """Return where the values are kept that the step gave to later ones."""
        return self.root / "outputs"

    @property
    def conflicts(self) -> Path:
        """Return where both sides are kept of what steps before it changed differently."""
        return self.root / "conflicts"

    @property
    def copy(self) -> Path:
        """Return where the workspace after the step is to be looked into, with `history: full`."""
        return self.root / "workspace"

    @property
    def packed_copy(self) -> Path:
        """Return the archive of the workspace after the step, with `history: compressed`."""
        return self.root / "workspace.tar.zst"

    def log(self, stream: str) -> Path:
        """Return the log of `stdout` or `stderr`."""
        return self.root / f"{stream}.log"

    def attempt(self, number: int) -> StepLayout:
        """Return where an earlier attempt's evidence is kept."""
        return StepLayout(self.root / "attempts" / f"{number:02d}")
