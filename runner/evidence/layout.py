"""The on-disk layout of a run; the only place that knows file names of evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
    │   ├── in/                  what /in held: step.json, prompt.txt
    │   ├── out/                 what /out held
    │   ├── stdout.log  stderr.log   of the last attempt
    │   └── attempts/01/         stdout.log stderr.log out/ of earlier attempts
    ├── llm/calls.jsonl          one line per model call
    ├── llm/connections.jsonl    one line per other connection, made or refused
    ├── llm/bodies/              requests and answers, redacted, each once under its sha256
    ├── history/                 the workspace after every step, as an OCI image layout: a layer and a tag per step
    │   ├── oci-layout  index.json
    │   └── blobs/sha256/        layers, and what says which belong to which step
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
    def calls(self) -> Path:
        return self.root / "llm" / "calls.jsonl"

    @property
    def history(self) -> Path:
        return self.root / "history"

    @property
    def log(self) -> Path:
        return self.root / "logs" / "run.log"

    def step(self, index: int) -> StepLayout:
        """Return the layout of the step at 1-based `index`."""
        return StepLayout(self.root / "steps" / f"step_{index:03d}")

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

    def log(self, stream: str) -> Path:
        """Return the log of `stdout` or `stderr`."""
        return self.root / f"{stream}.log"

    def attempt(self, number: int) -> StepLayout:
        """Return where an earlier attempt's evidence is kept."""
        return StepLayout(self.root / "attempts" / f"{number:02d}")
