"""Measures that are known when a run is over: they stand in the metrics of its steps and of the run."""

from __future__ import annotations

import json

from support.fake_world import World, good_step
from support.verdicts import said

from runner.evidence.atomic import write_json
from runner.evidence.measures.completing import write_all
from runner.evidence.measures.contamination import foreign
from runner.evidence.metrics import read_metrics
from runner.evidence.verdicts import CheckVerdict, Verdicts
from runner.execution.executors.local import LocalPool
from runner.execution.experiment import carry_out
from runner.execution.resume import step_report
from runner.execution.run import perform_run
from runner.ledger.store import ledger_path, open_ledger
from runner.testing import Box

FOUR = ("student.create", "student.read", "student.update", "student.delete")


def _verdict(index: int, passed: tuple[str, ...], failed: tuple[str, ...] = ()) -> CheckVerdict:
    return CheckVerdict(
        check="api",
        kind="application",
        step=f"s{index}",
        index=index,
        version="v",
        passed=len(passed),
        failed=len(failed),
        assertions=(*said("passed", *passed), *said("failed", *failed)),
    )


def test_a_run_measures_what_its_steps_changed(world: World) -> None:
    """The first step adds a file of a line, the second changes it; the run adds them up, and nothing names another run."""
    done = perform_run(world.context, world.run)
    first, second = (read_metrics(world.layout.step(index).metrics) for index in (1, 2))
    assert first is not None
    assert second is not None
    names = ("files_added", "files_changed", "lines_added", "lines_removed", "contamination", "retries")
    assert [first.totals[name] for name in names] == [1, 0, 1, 0, 0, 0]
    assert [second.totals[name] for name in names] == [0, 1, 1, 1, 0, 0]
    assert [done.totals[name] for name in names] == [1, 1, 2, 1, 0, 0]
    assert done.totals["automation_rate"] == 1
    assert done.totals["crud_effectiveness"] is None
    content = json.loads(world.layout.metrics.read_text())
    assert content["about"]["crud_effectiveness"]["reason"] == "no check judged it after any step"
    assert [one["files_changed"] for one in content["per_step"]] == [0, 1]


def test_verdicts_become_measures(world: World) -> None:
    """Half of the operations after the first step and three quarters in the end: the run's is that in the end."""
    done = perform_run(world.context, world.run)
    for index, passed in ((1, FOUR[:2]), (2, FOUR[:3])):
        verdicts = Verdicts(checks=(_verdict(index, ("start", *passed), FOUR[len(passed) :]),))
        write_json(world.layout.step(index).checks, verdicts)
    steps = [(one, step_report(world.layout, done.record, one)) for one in done.record.steps]
    report = write_all(world.layout, world.run, steps)
    assert [one["crud_effectiveness"] for one in report.per_step] == [0.5, 0.75]
    names = ("crud_effectiveness", "availability", "carry_forward", "zero_defect")
    assert [report.totals[name] for name in names] == [0.75, 1, 1, 0]
    tokens = report.totals["tokens_in"], report.totals["tokens_out"]
    assert tokens == (30, 3)
    assert report.totals["quality_per_token"] == 0.75 / 33 * 1000
    assert report.per_step[0]["quality_per_token"] == 0.5 / 11 * 1000
    assert read_metrics(world.layout.metrics) == report


def test_what_was_found_once_is_not_looked_for_again(world: World) -> None:
    """Without its history a run that is measured again keeps what its metrics say of its steps' changes."""
    done = perform_run(world.context, world.run)
    before = read_metrics(world.layout.metrics)
    (world.layout.history / "index.json").unlink()
    steps = [(one, step_report(world.layout, done.record, one)) for one in done.record.steps]
    assert write_all(world.layout, world.run, steps) == before


def test_without_a_history_changes_are_not_measured(world: World) -> None:
    """Null, and the reason is that none is kept."""
    done = perform_run(world.context, world.run.model_copy(update={"history": "off"}))
    assert done.totals["files_added"] is None
    about = json.loads(world.layout.metrics.read_text())["about"]["lines_added"]
    assert (about["status"], about["reason"]) == ("unmeasured", "step begin: the run keeps no history (and 1 more)")


def test_runs_beside_each_other_leave_nothing_in_each_other(world: World) -> None:
    """Of three runs side by side, no file of one, whichever it is, names another; one that is planted is found."""
    runs = world.runs(3)
    with open_ledger(ledger_path(world.output)) as ledger:
        done = list(carry_out(world.context, runs, ledger, LocalPool(3, world.cancellation)))
    assert [one.totals["contamination"] for one in done] == [0, 0, 0]
    for run in runs:
        others = [one.id for one in runs if one.id != run.id]
        files = [path for path in world.context.layout(run).root.rglob("*") if path.is_file()]
        assert len(files) > 20
        assert foreign(files, others) == []
    planted = world.context.layout(runs[0]).workspace / "app.txt"
    planted.write_text(f"see {runs[1].id}")
    assert foreign([planted], [runs[1].id]) == [(planted, runs[1].id)]


def test_a_step_that_prints_another_runs_id_is_contaminated(world: World) -> None:
    """What is measured is what stands there, whoever wrote it."""
    first, second = world.runs(2)
    perform_run(world.context, first)

    def telling(box: Box) -> int:
        box.write(f"{first.id}\n".encode())
        return good_step(box)

    world.engine.register(telling)
    done = perform_run(world.context, second)
    assert done.totals["contamination"] == 2
    about = json.loads(world.context.layout(second).metrics.read_text())["about"]["contamination"]
    assert about["reason"] == f"named in stdout.log: {first.id}"
