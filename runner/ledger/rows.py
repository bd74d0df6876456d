"""What the ledger tells: values, and how they are read from a database row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runner.evidence.records import RunRecord, Suspension
from runner.plan.models import Run
from runner.plan.resume import PastRun

State = Literal["planned", "leased", "suspended", "done"]
"""planned; leased: somebody carries it out; suspended: it waits for people and holds nothing; done."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One run as `runner runs` lists it."""

    run_id: str
    digest: str
    experiment: str
    """The experiment that planned it last; filters also know the earlier ones."""
    framework: str
    scenario: str
    repetition: int
    state: State
    outcome: str | None
    """None unless the state is done."""
    reason: str
    model_label: str
    """Empty until the run has finished."""
    started_at: str | None
    """UTC, ISO 8601; when the run was leased while it is under way."""
    finished_at: str | None
    directory: str
    """Relative to the output folder."""
    metrics: Mapping[str, float | int | None]
    """Totals by the names of `metrics.json`; empty until the run has finished."""
    waits_for: tuple[Suspension, ...] = ()
    """Of a suspended run, what people are asked."""
    forked_from: str = ""
    """Of a forked run, `RUN@STEP` that it goes on from."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to carry out a run, until it is finished, released, or the owner is found dead."""

    digest: str
    fence: int
    """Grows with every lease of the run: who comes with an older one has lost it."""


SELECT_ROWS = """
    SELECT digest, run_id, experiment, framework, scenario, repetition, shown, outcome, reason, model_label,
        coalesce(started_at, leased_at), finished_at, directory, metrics, waits_for, forked_from
    FROM (SELECT *, CASE waits_for WHEN '' THEN state ELSE 'suspended' END AS shown FROM runs)
    WHERE (:experiments IS NULL OR digest IN (
            SELECT digest FROM memberships WHERE experiment IN (SELECT value FROM json_each(:experiments))))
        AND (:frameworks IS NULL OR framework IN (SELECT value FROM json_each(:frameworks)))
        AND (:scenarios IS NULL OR scenario IN (SELECT value FROM json_each(:scenarios)))
        AND (:outcomes IS NULL OR outcome IN (SELECT value FROM json_each(:outcomes)))
        AND (:states IS NULL OR shown IN (SELECT value FROM json_each(:states)))
    ORDER BY framework, scenario, repetition, digest
"""
"""What `row` reads. Each parameter is a JSON list, or null where everything matches."""


def row(found: tuple[Any, ...]) -> LedgerRow:
    """Return a row from what SELECT_ROWS finds."""
    return LedgerRow(
        digest=found[0],
        run_id=found[1],
        experiment=found[2],
        framework=found[3],
        scenario=found[4],
        repetition=found[5],
        state=found[6],
        outcome=found[7],
        reason=found[8],
        model_label=found[9],
        started_at=found[10],
        finished_at=found[11],
        directory=found[12],
        metrics=json.loads(found[13]) if found[13] != "{}" else {},
        waits_for=tuple(Suspension.model_validate(one) for one in json.loads(found[14] or "[]")),
        forked_from=found[15],
    )


SELECT_PAST = """
    SELECT digest, run_id, framework, scenario, repetition, outcome, reason, finished_at, directory, waits_for
    FROM runs
    WHERE fence > 0 AND digest IN (SELECT value FROM json_each(?))
"""
"""What `past_run` reads, of runs that were started some time; the parameter is a JSON list of digests."""


def past_run(found: tuple[Any, ...]) -> PastRun:
    """Return a past run from what SELECT_PAST finds."""
    return PastRun(
        digest=found[0],
        run_id=found[1],
        framework=found[2],
        scenario=found[3],
        repetition=found[4],
        outcome=found[5],
        reason=found[6],
        finished_at=found[7],
        directory=found[8],
        waits_for=tuple(str(one["step"]) for one in json.loads(found[9] or "[]")),
    )


def waiting(record: RunRecord) -> str:
    """Return what is written of the questions a run waits with; empty if it waits for nobody."""
    asked = [one.model_dump(mode="json") for one in record.suspended] if record.outcome is None else []
    return json.dumps(asked) if asked else ""


def forked_from(run: Run) -> str:
    """Return `RUN@STEP` that a run goes on from; empty if it is no fork."""
    return f"{run.parent.run}@{run.parent.step}" if run.parent is not None else ""


def planned_digest(run: Run) -> str:
    """Return the digest a run is known by.

    Raises:
        ValueError: if it has none, because its image does not exist yet.
    """
    if run.digest is None:
        raise ValueError(f"run {run.id} has no digest: its image does not exist yet")
    return run.digest


def directory_of(run: Run) -> str:
    """Return a run's directory, relative to the output folder."""
    return f"{run.framework.name}/{run.id}"
