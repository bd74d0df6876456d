"""What the ledger tells: values, and how they are read from a database row."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
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
    """Totals by the names of `metrics.json`, quality as the newest verdicts have it; empty until the run has finished."""
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


_SHOWN = "CASE waits_for WHEN '' THEN state ELSE 'suspended' END"
_LATEST_FIRST = "coalesce(started_at, leased_at, '') DESC"
_SELECT = f"""
    SELECT digest, run_id, experiment, framework, scenario, repetition, {_SHOWN}, outcome, reason, model_label,
        coalesce(started_at, leased_at), finished_at, directory, metrics, waits_for, forked_from
    FROM runs
"""  # noqa: S608  put together from constants
_COUNT = f"SELECT coalesce(outcome, {_SHOWN}) AS what, count(*) FROM runs"  # noqa: S608  as above
_IN_ORDER = " ORDER BY framework, scenario, repetition, digest"
_FILTERS = {
    "experiments": "digest IN (SELECT digest FROM memberships WHERE experiment IN (SELECT value FROM json_each(?)))",
    "frameworks": "framework IN (SELECT value FROM json_each(?))",
    "scenarios": "scenario IN (SELECT value FROM json_each(?))",
    "outcomes": "outcome IN (SELECT value FROM json_each(?))",
    "digests": "digest IN (SELECT value FROM json_each(?))",
    "states": f"{_SHOWN} IN (SELECT value FROM json_each(?))",  # noqa: S608  as above
}
"""Filter -> its condition, whose parameter is a JSON list. One that is not asked for is left out, for the indexes' sake."""

Query = tuple[str, list[str | int]]
"""Statement and its parameters."""


def select_rows(filters: Mapping[str, Collection[str]], newest: int | None = None) -> Query:
    """Return what finds the rows that `row` reads, by framework, scenario and repetition.

    Args:
        filters: names by filter; an empty one matches all.
        newest: how many at most, those begun last.
    """
    where, values = _where(filters)
    if newest is None:
        return f"{_SELECT}{where}{_IN_ORDER}", values
    latest = f"SELECT digest FROM runs {where} ORDER BY {_LATEST_FIRST} LIMIT ?"  # noqa: S608  constants
    return f"{_SELECT}WHERE digest IN ({latest}){_IN_ORDER}", [*values, newest]


def count_rows(filters: Mapping[str, Collection[str]]) -> Query:
    """Return what counts runs by outcome, the most frequent first, then by state where there is none yet."""
    where, values = _where(filters)
    return f"{_COUNT} {where} GROUP BY what ORDER BY max(outcome IS NULL), count(*) DESC, what", values


def _where(filters: Mapping[str, Collection[str]]) -> Query:
    used = {name: wanted for name, wanted in filters.items() if wanted}
    conditions = " AND ".join(_FILTERS[name] for name in used)
    values: list[str | int] = [json.dumps(list(wanted)) for wanted in used.values()]
    return (f"WHERE {conditions}" if conditions else ""), values


def row(found: tuple[Any, ...]) -> LedgerRow:
    """Return a row from what `select_rows` finds."""
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


def images_of(run: Run) -> str:
    """Return the config digests of the images that a run is made with, blanks between them."""
    images = (run.image, *(step.image for step in run.steps))
    return " ".join(sorted({one.id for one in images if one is not None and one.id is not None}))


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
