"""Metrics add up, and what was not measured is null with a reason."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.engine.protocol import Usage
from runner.evidence.measures.of_run import LATER
from runner.evidence.metrics import (
    MeasuredAttempt,
    MeasuredStep,
    MetricsReport,
    read_metrics,
    read_totals,
    run_metrics,
    step_metrics,
    write_metrics,
)
from runner.evidence.metrics_table import write_table
from runner.evidence.readings import UNITS
from runner.evidence.records import METRIC_NAMES, AttemptRecord, Outcome, Phase, StepRecord
from runner.evidence.tree import TreeScan
from runner.evidence.untrusted import ShimReport
from runner.gateway.calls import Call
from runner.gateway.session import Totals
from runner.spec.model import Model

USAGE = Usage(
    cpu_seconds=1.0,
    peak_memory_bytes=100,
    io_read_bytes=10,
    io_write_bytes=20,
    sources=dict.fromkeys(("cpu_seconds", "peak_memory_bytes", "io_read_bytes", "io_write_bytes"), "cgroup"),
)
TOTALS = Totals(
    api_calls=2,
    tokens_in=30,
    tokens_out=7,
    tokens_cached=0,
    cost_usd=0.5,
    failed_calls=0,
    unmetered_calls=0,
    last_error="",
    tokens_reasoning=2,
    call_seconds=1.5,
    waiting_seconds=10.0,
    cost_source="config/prices.yaml version 7, sha256 0123456789ab",
)
OPENAI = Model(provider="openai", name="gpt")
TREE = TreeScan(entries={}, files=4, bytes=44)


def _step(
    name: str,
    index: int,
    attempts: list[MeasuredAttempt],
    *,
    outcome: Outcome = "passed",
    model: Model | None = OPENAI,
    tree: TreeScan | None = TREE,
) -> MeasuredStep:
    return MeasuredStep(step=name, index=index, outcome=outcome, attempts=tuple(attempts), tree=tree, model=model)


def _run(steps: Sequence[MeasuredStep], tree: TreeScan | None, **records: dict[str, object]) -> MetricsReport:
    """Return the metrics of a run from those of its steps; `records` has more for the record of a step."""
    return run_metrics([(_record(one, records.get(one.step, {})), step_metrics(one)) for one in steps], tree)


def _record(step: MeasuredStep, more: Mapping[str, object]) -> StepRecord:
    base = StepRecord(
        id=step.step,
        index=step.index,
        title="",
        prompt_sha256="",
        outcome=step.outcome,
        reason="",
        started_at=None,
        finished_at=None,
        changed_files=None,
        attempts=tuple(one[0] for one in step.attempts),
    )
    return base.model_copy(update=more)


def test_units_cover_the_names() -> None:
    """Each metric has a unit, in the order of the records."""
    assert tuple(UNITS) == METRIC_NAMES


def test_attempts_add_and_peaks_do_not(attempt: AttemptRecord) -> None:
    """Time, cpu, io, calls and tokens of all attempts add up; the peak is the highest of them."""
    retry = attempt.model_copy(update={"attempt": 2, "seconds": 3.0})
    more = dataclasses.replace(USAGE, peak_memory_bytes=70)
    report = step_metrics(_step("a", 1, [(attempt, USAGE, None, TOTALS), (retry, more, None, TOTALS)]))
    assert {name: value for name, value in report.totals.items() if name not in LATER} == {
        "wall_seconds": 5.0,
        "cpu_seconds": 2.0,
        "peak_memory_bytes": 100,
        "io_read_bytes": 20,
        "io_write_bytes": 40,
        "api_calls": 4,
        "tokens_in": 60,
        "tokens_out": 14,
        "tokens_cached": 0,
        "tokens_reasoning": 4,
        "call_seconds": 3.0,
        "waiting_seconds": 20.0,
        "cost_usd": 1.0,
        "steps_total": 1,
        "steps_performed": 1,
        "steps_passed": 1,
        "attempts": 2,
        "artifact_files": 4,
        "artifact_bytes": 44,
    }
    assert report.about["cpu_seconds"].model_dump() == {
        "unit": "seconds",
        "source": "cgroup",
        "exact": True,
        "status": "measured",
        "reason": "",
    }
    cost = report.about["cost_usd"]
    assert (cost.status, cost.source) == ("derived", "config/prices.yaml version 7, sha256 0123456789ab")


def test_run_adds_steps_and_leaves_out_the_skipped(attempt: AttemptRecord) -> None:
    """A skipped step used nothing: its own values are null, and the totals are those of the performed ones."""
    steps = [
        _step("a", 1, [(attempt, USAGE, None, TOTALS)]),
        _step("b", 2, [(attempt, USAGE, None, TOTALS)], outcome="failed"),
        _step("c", 3, [], outcome="skipped"),
    ]
    report = _run(steps, dataclasses.replace(TREE, files=9))
    assert report.totals["wall_seconds"] == 4.0
    assert report.totals["peak_memory_bytes"] == 100
    assert report.totals["tokens_in"] == 60
    counted = ("steps_total", "steps_performed", "steps_passed", "attempts")
    assert [report.totals[name] for name in counted] == [3, 2, 1, 2]
    assert [one["steps_performed"] for one in report.per_step] == [1, 1, 0]
    assert report.totals["artifact_files"] == 9
    assert [(one["step"], one["index"], one["cpu_seconds"]) for one in report.per_step] == [
        ("a", 1, 1.0),
        ("b", 2, 1.0),
        ("c", 3, None),
    ]


def test_one_null_makes_the_total_null(attempt: AttemptRecord) -> None:
    """A sum over less than all is no total: it is null, and the reason names the part that is missing."""
    unknown = Usage(reasons={"io_read_bytes": "blkio counts nothing here"})
    steps = [_step("a", 1, [(attempt, USAGE, None, TOTALS)]), _step("b", 2, [(attempt, unknown, None, TOTALS)])]
    report = _run(steps, TREE)
    assert report.totals["io_read_bytes"] is None
    assert report.about["io_read_bytes"].reason == "step b: attempt 1: blkio counts nothing here"
    assert report.about["io_read_bytes"].status == "unmeasured"
    assert report.about["cpu_seconds"].reason == "step b: attempt 1: the engine gives no reading"


def test_shim_stands_in_for_the_engine(attempt: AttemptRecord) -> None:
    """Where the engine cannot tell, the shim's reading is used, called partial, and never exact."""
    shim = ShimReport(cpu_seconds=0.5, max_rss_bytes=50, io_read_bytes=1, io_write_bytes=2)
    usage = Usage(reasons={"peak_memory_bytes": "no parent cgroup"})
    report = step_metrics(_step("a", 1, [(attempt, usage, shim, TOTALS)]))
    assert [report.totals[name] for name in METRIC_NAMES[1:5]] == [0.5, 50, 1, 2]
    about = report.about["peak_memory_bytes"]
    assert (about.source, about.exact, about.status) == ("shim", False, "partial")
    assert about.reason == "peak of the largest single process, not of all together (no parent cgroup)"


def test_samples_are_called_samples(attempt: AttemptRecord) -> None:
    """A value that the engine sampled is partial and not exact."""
    usage = Usage(cpu_seconds=1.0, sources={"cpu_seconds": "stats"})
    about = step_metrics(_step("a", 1, [(attempt, usage, None, TOTALS)])).about["cpu_seconds"]
    assert (about.source, about.exact, about.status, about.reason) == (
        "stats",
        False,
        "partial",
        "sampled while it ran",
    )


def test_sources_mix_visibly(attempt: AttemptRecord) -> None:
    """A total of exact and partial parts names both sources and is as weak as its weakest part."""
    shim = ShimReport(cpu_seconds=0.5)
    steps = [_step("a", 1, [(attempt, USAGE, None, TOTALS)]), _step("b", 2, [(attempt, Usage(), shim, TOTALS)])]
    about = _run(steps, TREE).about["cpu_seconds"]
    assert (about.source, about.exact, about.status) == ("cgroup+shim", False, "partial")


def test_without_network_noughts_are_facts(attempt: AttemptRecord) -> None:
    """A framework without a model made no call: 0, exact, and the reason says why that is known."""
    report = step_metrics(_step("a", 1, [(attempt, USAGE, None, None)], model=None))
    for name in ("api_calls", "tokens_in", "tokens_out", "tokens_cached", "cost_usd"):
        assert report.totals[name] == 0
        assert report.about[name].exact
        assert report.about[name].source == "runner"
        assert report.about[name].reason == "no way to a model, so none was called"


def test_scripted_tokens_are_marked(attempt: AttemptRecord) -> None:
    """Tokens of a scripted model are counted by rule and say so; it has no price."""
    report = step_metrics(_step("a", 1, [(attempt, USAGE, None, TOTALS)], model=Model()))
    assert report.totals["tokens_in"] == 30
    assert not report.about["tokens_in"].exact
    assert report.about["tokens_in"].reason == "scripted model: counted by rule"
    assert report.totals["cost_usd"] is None
    assert report.about["cost_usd"].reason == "attempt 1: scripted model: it has no price"


@pytest.mark.parametrize(
    ("totals", "name", "reason"),
    [
        (
            dataclasses.replace(TOTALS, unmetered_calls=1),
            "tokens_in",
            "attempt 1: the provider stated no usage for 1 of 2 calls",
        ),
        (dataclasses.replace(TOTALS, tokens_cached=None), "tokens_cached", "attempt 1: not stated"),
        (dataclasses.replace(TOTALS, tokens_reasoning=None), "tokens_reasoning", "attempt 1: not stated"),
        (dataclasses.replace(TOTALS, cost_usd=None), "cost_usd", "attempt 1: no price is known for gpt"),
        (
            dataclasses.replace(TOTALS, cost_usd=None, cost_reason="no price for gpt-1 in prices.yaml"),
            "cost_usd",
            "attempt 1: no price for gpt-1 in prices.yaml",
        ),
        (None, "waiting_seconds", "attempt 1: the gateway gave no totals"),
        (None, "api_calls", "attempt 1: the gateway gave no totals"),
    ],
)
def test_unstated_model_use_is_null(attempt: AttemptRecord, totals: Totals | None, name: str, reason: str) -> None:
    """Tokens and cost that nobody stated are null, never 0, with the reason."""
    report = step_metrics(_step("a", 1, [(attempt, USAGE, None, totals)]))
    assert report.totals[name] is None
    assert report.about[name].reason == reason


def test_container_that_never_ran(attempt: AttemptRecord) -> None:
    """An attempt whose container did not run has no wall time."""
    report = step_metrics(_step("a", 1, [(attempt.model_copy(update={"seconds": None}), Usage(), None, TOTALS)]))
    assert report.totals["wall_seconds"] is None
    assert report.about["wall_seconds"].reason == "attempt 1: the container did not run"


@pytest.mark.parametrize("name", ["tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning", "cost_usd"])
def test_broken_off_answers_make_sums_inexact(attempt: AttemptRecord, name: str) -> None:
    """Tokens and cost that hold an answer which broke off are partial and say so; calls and seconds are exact."""
    totals = dataclasses.replace(TOTALS, partial_calls=1)
    report = step_metrics(_step("a", 1, [(attempt, USAGE, None, totals)]))
    about = report.about[name]
    assert report.totals[name] is not None
    assert (about.status, about.exact) == ("partial", False)
    assert about.reason == "1 of 2 calls broke off and count as far as they had been stated"
    assert all(report.about[one].exact for one in ("api_calls", "call_seconds", "waiting_seconds"))


def test_replayed_tokens_are_marked(attempt: AttemptRecord) -> None:
    """Tokens and cost of a replay are those of the recording, and say that nothing was spent."""
    report = step_metrics(_step("a", 1, [(attempt, USAGE, None, TOTALS)], model=Model(provider="replay", name="gpt")))
    assert (report.totals["tokens_in"], report.totals["cost_usd"]) == (30, 0.5)
    assert report.about["tokens_in"].reason == "replay: what the recorded answers state"
    assert report.about["cost_usd"].reason == "replay: what the recorded answers would cost; nothing was spent"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_impossible_readings_are_none(attempt: AttemptRecord, value: float) -> None:
    """A reading that cannot be is no reading."""
    report = step_metrics(_step("a", 1, [(attempt, dataclasses.replace(USAGE, cpu_seconds=value), None, TOTALS)]))
    assert report.totals["cpu_seconds"] is None


def test_workspace_that_cannot_be_read(attempt: AttemptRecord) -> None:
    """A workspace of which a part is unreadable is counted as partial; one that could not be looked at is null."""
    partial = dataclasses.replace(TREE, unreadable=(b"locked",))
    about = step_metrics(_step("a", 1, [], tree=partial)).about["artifact_files"]
    unseen = step_metrics(_step("a", 1, [(attempt, USAGE, None, TOTALS)], tree=None)).about["artifact_files"]
    assert unseen.reason == "its workspace was not looked at: it sees none, or it could not be read"
    skipped = step_metrics(_step("a", 1, [], tree=None)).about["artifact_files"]
    assert skipped.reason == "the step was not performed"
    assert (about.status, about.exact, about.reason) == ("partial", False, "1 folders could not be listed")
    both = dataclasses.replace(partial, too_deep=(b"a", b"b"))
    reason = step_metrics(_step("a", 1, [], tree=both)).about["artifact_files"].reason
    assert reason == "1 folders could not be listed, 2 folders hold paths that are too long"
    assert _run([], None).totals["artifact_bytes"] is None


def test_run_without_a_performed_step() -> None:
    """A run that never got to a step has no usage, and says so."""
    report = _run([_step("a", 1, [], outcome="skipped")], TREE)
    assert report.totals["wall_seconds"] is None
    assert report.about["wall_seconds"].reason == "no step was performed"
    assert report.totals["attempts"] == 0


def test_format_on_disk(tmp_path: Path, attempt: AttemptRecord) -> None:
    """The file is flat names, per_step with the same names, and about for each; it can be read back."""
    report = _run([_step("a", 1, [(attempt, USAGE, None, TOTALS)])], TREE)
    write_metrics(tmp_path / "metrics.json", report)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert set(content) == {*METRIC_NAMES, "per_step", "about"}
    assert [set(one) for one in content["per_step"]] == [{"step", "index", *METRIC_NAMES}]
    assert set(content["about"]) == set(METRIC_NAMES)
    assert set(content["about"]["cpu_seconds"]) == {"unit", "source", "exact", "status", "reason"}
    assert read_totals(tmp_path / "metrics.json") == report.totals
    assert read_metrics(tmp_path / "metrics.json") == report


def test_file_of_an_earlier_version_can_be_read(tmp_path: Path, attempt: AttemptRecord) -> None:
    """Metrics that came later are unmeasured in a file from before, with that as the reason; the others are there."""
    report = _run([_step("a", 1, [(attempt, USAGE, None, TOTALS)])], TREE)
    content = json.loads(json.dumps(report.content()))
    for name in ("tokens_reasoning", "call_seconds", "waiting_seconds"):
        del content[name], content["about"][name]
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    read = read_metrics(tmp_path / "metrics.json")
    assert read is not None
    assert (read.totals["tokens_in"], read.totals["call_seconds"]) == (30, None)
    assert read.about["call_seconds"].reason == "an earlier version of the runner did not measure it"
    assert read.about["call_seconds"].status == "unmeasured"


def test_step_file_names_its_step(tmp_path: Path, attempt: AttemptRecord) -> None:
    """A step's file holds its own numbers, its name and its position."""
    report = step_metrics(_step("a", 3, [(attempt, USAGE, None, TOTALS)]))
    write_metrics(tmp_path / "metrics.json", report)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert (content["step"], content["index"], content["wall_seconds"], content["per_step"]) == ("a", 3, 2.0, [])
    assert read_metrics(tmp_path / "metrics.json") == report


@pytest.mark.parametrize("text", [None, "", "[]", '{"wall_seconds": "x", "cpu_seconds": true}', '{"wall_seconds": NaN'])
def test_unusable_file_tells_nothing(tmp_path: Path, text: str | None) -> None:
    """Metrics that are missing or damaged are all unknown."""
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    assert read_totals(tmp_path / "metrics.json") == dict.fromkeys(METRIC_NAMES)
    assert read_metrics(tmp_path / "metrics.json") is None


def _at(attempt: AttemptRecord, started: str, seconds: float) -> AttemptRecord:
    return attempt.model_copy(update={"started_at": f"2026-01-01T{started}Z", "seconds": seconds})


def test_steps_beside_each_other_add_work_and_not_time(attempt: AttemptRecord) -> None:
    """CPU and tokens of steps beside each other add up; their wall time is that in which any was under way."""
    steps = [
        _step("a", 1, [(_at(attempt, "00:00:00", 10.0), USAGE, None, TOTALS)]),
        _step("b", 2, [(_at(attempt, "00:00:04", 10.0), USAGE, None, TOTALS)]),
        _step("c", 3, [(_at(attempt, "00:00:05", 1.0), USAGE, None, TOTALS)]),
        _step("d", 4, [(_at(attempt, "00:00:20", 2.5), USAGE, None, TOTALS)]),
    ]
    report = _run(steps, TREE, b={"depends_on": ()}, d={"depends_on": ("a", "b", "c")})
    assert report.totals["wall_seconds"] == 16.5
    assert (report.totals["cpu_seconds"], report.totals["tokens_in"]) == (4.0, 120)
    assert report.about["wall_seconds"].exact
    assert _run(steps, TREE).totals["wall_seconds"] == 23.5, "steps of a list are never beside each other"


def test_time_of_steps_whose_beginning_is_unknown(attempt: AttemptRecord) -> None:
    """Where it is not known when an attempt began, the sum stands in, and is called too long, maybe."""
    unknown = attempt.model_copy(update={"started_at": None})
    steps = [
        _step("a", 1, [(_at(attempt, "00:00:00", 10.0), USAGE, None, TOTALS)]),
        _step("b", 2, [(unknown, USAGE, None, TOTALS)]),
    ]
    report = _run(steps, TREE, b={"depends_on": ()})
    assert (report.totals["wall_seconds"], report.about["wall_seconds"].status) == (12.0, "partial")


def test_a_step_without_a_container_leaves_the_totals_whole(attempt: AttemptRecord) -> None:
    """A model call uses no container: its cpu is null with the reason, and the run's is that of the others."""
    bare = attempt.model_copy(update={"container": ""})
    nothing = Usage(reasons=dict.fromkeys(("cpu_seconds", "peak_memory_bytes"), "it had no container"))
    steps = [_step("ask", 1, [(bare, nothing, None, TOTALS)]), _step("b", 2, [(attempt, USAGE, None, TOTALS)])]
    report = _run(steps, TREE, ask={"kind": "model"})
    assert report.per_step[0]["cpu_seconds"] is None
    assert (report.totals["cpu_seconds"], report.totals["tokens_in"]) == (1.0, 60)
    assert step_metrics(steps[0]).about["wall_seconds"].source == "runner"
    alone = _run(steps[:1], TREE, ask={"kind": "model"})
    assert alone.about["cpu_seconds"].reason == "no step had a container"


def test_metrics_of_a_run_come_from_files(tmp_path: Path, attempt: AttemptRecord) -> None:
    """What is read from the steps' files gives the same totals as what was measured."""
    steps = [_step("a", 1, [(attempt, USAGE, None, TOTALS)]), _step("b", 2, [], outcome="skipped")]
    read = []
    for one in steps:
        write_metrics(tmp_path / one.step, step_metrics(one))
        report = read_metrics(tmp_path / one.step)
        assert report is not None
        read.append((_record(one, {}), report))
    assert run_metrics(read, TREE) == _run(steps, TREE)


def _call(time: str, step: str = "a", attempt: int = 2) -> Call:
    values: dict[str, Any] = dict.fromkeys(Call.model_fields)
    values |= {"time": f"2026-01-01T{time}Z", "step": step, "attempt": attempt, "usage_source": "provider"}
    values |= {"tokens_in": 100, "tokens_out": 10, "tokens_cached": 0, "tokens_reasoning": 0, "cost_usd": 0.25}
    values |= {"latency_seconds": 3.0, "waited_seconds": 1.0, "client_gone": False, "exceeded": "", "cost_source": "p"}
    return Call.model_construct(None, **values)


def test_phases_have_the_calls_of_their_time(attempt: AttemptRecord) -> None:
    """A phase that says when it began gets the calls that arrived in it, of its attempt; others get none, with a reason."""
    begin = 1767225600.0
    phases = (
        Phase(name="plan", seconds=10.0, exit_code=0, started_at=begin),
        Phase(name="build", seconds=5.0, exit_code=0, started_at=begin + 10),
        Phase(name="mute", seconds=None, exit_code=0),
    )
    calls = [_call("00:00:00.000"), _call("00:00:09.999"), _call("00:00:10.000"), _call("00:00:01", attempt=1)]
    calls.append(_call("00:00:01", step="b"))
    again = attempt.model_copy(update={"attempt": 2})
    step = _step("a", 1, [(attempt, USAGE, None, TOTALS), (again, USAGE, None, TOTALS)])
    report = step_metrics(dataclasses.replace(step, phases=phases, calls=calls))
    assert [(one["phase"], one["wall_seconds"], one["api_calls"], one["tokens_in"]) for one in report.per_phase] == [
        ("plan", 10.0, 2, 200),
        ("build", 5.0, 1, 100),
        ("mute", None, None, None),
    ]
    about = report.per_phase[2]["about"]
    assert isinstance(about, dict)
    assert about["tokens_in"]["reason"] == "the framework does not say when it began and how long it took"
    assert [(one["attempt"], one["cpu_seconds"]) for one in report.per_attempt] == [(1, 1.0), (2, 1.0)]


def test_the_table_has_every_metric_once(tmp_path: Path, attempt: AttemptRecord) -> None:
    """`metrics.csv` has a row per metric of the run, each step, attempt and phase; what is unknown is empty."""
    phase = Phase(name="plan, or so", seconds=1.5, exit_code=0)
    steps = [
        dataclasses.replace(_step("a", 1, [(attempt, USAGE, None, TOTALS)]), phases=(phase,)),
        _step("b", 2, [], outcome="skipped"),
    ]
    parts = [(_record(one, {}), step_metrics(one)) for one in steps]
    write_table(tmp_path / "metrics.csv", run_metrics(parts, TREE), parts)
    with (tmp_path / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    keys = [(one["level"], one["step"], one["attempt"], one["phase"], one["metric"]) for one in rows]
    assert len(set(keys)) == len(keys)
    assert [sum(key[0] == level for key in keys) for level in ("run", "step", "attempt", "phase")] == [43, 86, 13, 9]
    by_key = dict(zip(keys, rows, strict=True))
    assert by_key["run", "", "", "", "cpu_seconds"]["value"] == "1.0"
    assert by_key["phase", "a", "1", "plan, or so", "wall_seconds"]["value"] == "1.5"
    missing = by_key["step", "b", "", "", "cpu_seconds"]
    assert (missing["value"], missing["status"], missing["index"]) == ("", "unmeasured", "2")
    assert missing["reason"] == "the step was not performed"
