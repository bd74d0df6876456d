"""Planned runs and their records for the tests of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.evidence.atomic import write_json
from runner.evidence.layout import RunLayout
from runner.evidence.records import METRIC_NAMES, Host, Outcome, RunRecord
from runner.ledger.rows import directory_of
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.plan.models import ImageRef, Run
from runner.spec.models import Framework, PypiSource, SmokeTest

MakeRun = Callable[..., Run]
MakeRecord = Callable[..., RunRecord]

DEAD_PID = 99
"""Process id of the only owner that does not live."""


@pytest.fixture
def make_run() -> MakeRun:
    """Return what makes planned runs; `salt` stands for everything that changes the digest."""
    frameworks: dict[str, Framework] = {}

    def make(
        repetition: int = 1,
        *,
        framework: str = "fake",
        scenario: str = "crud",
        experiment: str = "default",
        salt: str = "0",
        seed: int = 7,
    ) -> Run:
        recipe = frameworks.setdefault(
            framework,
            Framework(
                name=framework,
                source=PypiSource(pypi="fake", version="1"),
                command=("true",),
                smoke_test=SmokeTest(command=("true",)),
            ),
        )
        digest = f"{framework}-{scenario}-{repetition}-{salt}"
        return Run.model_construct(
            version=1,
            id=f"{scenario}-r{repetition}-{salt}",
            digest=digest,
            experiment=experiment,
            framework=recipe,
            scenario=scenario,
            steps=(),
            repetition=repetition,
            seed=seed,
            image=ImageRef(tag="t", id="sha256:1"),
            model=None,
            answers_sha256=None,
            platform="linux/amd64",
            archive="zstd",
            parent=None,
            run_timeout=60.0,
        )

    return make


@pytest.fixture
def make_record() -> MakeRecord:
    """Return what makes the record of a run."""

    def make(run: Run, outcome: Outcome | None = "passed", reason: str = "") -> RunRecord:
        return RunRecord(
            run=run,
            outcome=outcome,
            reason=reason,
            model_label="no model",
            started_at="2026-01-01T00:00:00.000Z",
            finished_at="2026-01-01T00:00:05.000Z" if outcome else None,
            host=Host(
                kernel="6.1",
                operating_system="Debian 12",
                engine_version="20.10",
                api_version="1.41",
                cgroup="v1 cgroupfs",
                cpus=2,
                memory_bytes=1024,
                runner_version="0.1.0",
            ),
        )

    return make


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[[RunRecord], RunLayout]:
    """Return what writes a run directory with its record and metrics."""

    def write(record: RunRecord) -> RunLayout:
        layout = RunLayout(tmp_path / directory_of(record.run))
        write_json(layout.metadata, record)
        if record.outcome is not None:
            write_json(layout.metrics, {**dict.fromkeys(METRIC_NAMES), "wall_seconds": 5.0})
        return layout

    return write


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return the open ledger of `tmp_path`."""
    with open_ledger(ledger_path(tmp_path), alive=lambda owner: owner.pid != DEAD_PID) as opened:
        yield opened
