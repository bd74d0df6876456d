"""After a crash: what a dead runner left in the engine and on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_world import World, tell

from runner.engine.owner import Owner
from runner.errors import EngineError
from runner.evidence.atomic import write_json
from runner.evidence.records import RunRecord, Suspension
from runner.evidence.verify import verify_archive
from runner.execution.conditions import Ready
from runner.execution.container import container_spec, prepare_attempt, prepare_run
from runner.execution.host import describe_host
from runner.execution.recovery import finish_interrupted, settle, sweep_dead
from runner.ledger.store import ledger_path, open_ledger
from runner.names import LABEL_KIND, LABEL_RUN, LABEL_RUN_DIR
from runner.testing import Box


def _crash(world: World, owner: Owner) -> str:
    """Leave what a runner leaves that is killed while its first step runs; return the container's name."""
    context, run, layout = replace(world.context, owner=owner), world.run, world.layout
    prepare_run(layout, run)
    record = RunRecord(
        run=run,
        outcome=None,
        reason="",
        model_label="scripted model",
        started_at="2026-01-01T00:00:00.000Z",
        finished_at=None,
        host=describe_host(context.info, context.owner.boot),
    )
    write_json(layout.metadata, record)
    labels = {**owner.labels(), LABEL_KIND: "workspace", LABEL_RUN: run.id, LABEL_RUN_DIR: str(layout.root)}
    world.engine.volumes.create(context.object_name(run), device=str(layout.workspace), labels=labels)
    prepare_attempt(layout.step(1), run, Ready(step=run.steps[0], inputs=(), item=None), 1)
    place = replace(world.place(run), volume=context.object_name(run))
    spec = container_spec(context, run, run.steps[0], place, attempt=1, session=None, deadline=60)
    world.engine.containers.start(world.engine.containers.create(spec))
    return spec.name


def _talkative(box: Box) -> int:
    tell(box)
    box.write(b"I was here\n")
    box.write(b"and here\n", "stderr")
    box.sleep(60)
    return 0


def _begin(world: World, owner: Owner) -> str:
    world.engine.register(_talkative)
    name = _crash(world, owner)
    for stream, _ in world.engine.observer.logs(name, follow=True):
        if stream == "stderr":
            break
    return name


def test_a_dead_runners_container_is_collected_then_removed(world: World, dead: Owner) -> None:
    """Its output is where the attempt's would have been; container, volume and parent cgroup are gone."""
    name = _begin(world, dead)
    swept = sweep_dead(world.engine, world.owner, world.output.parent)
    assert (swept.containers, swept.kept, swept.left_alone) == ((name,), (), ())
    assert world.layout.step(1).log("stdout").read_text() == "I was here\n"
    assert world.layout.step(1).log("stderr").read_text() == "and here\n"
    assert (world.containers_left, world.volumes_left, world.engine.cgroup_parents) == ([], [], [])
    assert "stop" in world.engine.calls


def test_a_live_runners_container_is_left_alone(world: World, dead: Owner) -> None:
    """What belongs to a runner that lives, this one included, and to other users, still runs afterwards."""
    foreign = replace(dead, uid=dead.uid + 1)
    for owner in (world.owner, foreign):
        world.output = world.output.parent / f"runs-{owner.uid}-{owner.started}"
        _begin(world, owner)
    before = world.containers_left
    swept = sweep_dead(world.engine, world.owner, world.output.parent)
    assert (swept.containers, swept.volumes) == ((), ())
    assert world.containers_left == before
    assert {state.status for state in world.engine.observer.find({LABEL_KIND: None})} == {"running"}
    for name in before:
        world.engine.kill(name)


def test_a_container_stays_while_its_output_cannot_be_kept(world: World, dead: Owner) -> None:
    """When the logs cannot be read the container stays, with the reason, and the next sweep has it."""
    name = _begin(world, dead)
    world.engine.fail_next("logs", EngineError("connection cut"))
    swept = sweep_dead(world.engine, world.owner, world.output.parent)
    assert swept.containers == ()
    assert "connection cut" in dict(swept.kept)[name]
    assert world.containers_left == [name]
    assert sweep_dead(world.engine, world.owner, world.output.parent).containers == (name,)
    assert world.layout.step(1).log("stdout").read_text() == "I was here\n"
    assert world.volumes_left == []


def test_output_that_could_not_be_kept_is_kept_by_the_next_start(world: World, dead: Owner) -> None:
    """A container that a run had to leave, because its output could not be read, is collected once its runner is gone."""
    me, world.owner = world.owner, dead
    world.engine.fail_next("logs", EngineError("connection cut"))
    assert world.perform().record.outcome == "broken"
    world.owner = me
    assert len(sweep_dead(world.engine, me, world.output.parent).containers) == 1
    assert world.layout.step(1).log("stdout").read_text() == "did: Begin.\n"
    assert (world.containers_left, world.volumes_left) == ([], [])


def test_a_container_of_a_deleted_run_is_removed(world: World, dead: Owner) -> None:
    """When somebody has deleted the run's folder there is nowhere to keep anything, and nothing is made anew."""
    name = _begin(world, dead)
    world.layout.root.rename(world.layout.root.with_name("elsewhere"))
    assert sweep_dead(world.engine, world.owner, world.output.parent).containers == (name,)
    assert not world.layout.root.exists()


def test_a_sweep_goes_on_after_a_removal_that_fails(world: World, dead: Owner) -> None:
    """One container that cannot be removed is reported with its volume; the next one goes."""
    first = _begin(world, dead)
    world.output = world.output.parent / "more-runs"
    second = _begin(world, dead)
    world.engine.fail_next("remove", EngineError("device busy"))
    swept = sweep_dead(world.engine, world.owner, world.output.parent)
    assert len(swept.containers) == 1
    (left,) = {first, second} - set(swept.containers)
    assert "device busy" in dict(swept.kept)[left]
    assert world.containers_left == [left]


def test_sweep_then_settle_keeps_everything_of_a_crash(world: World, dead: Owner, tmp_path: Path) -> None:
    """What a killed runner left ends as an interrupted run set aside, its output and workspace in it."""
    _begin(world, dead)
    (world.layout.workspace / "half.txt").write_text("half")
    sweep_dead(world.engine, world.owner, world.output.parent)
    assert settle(world.layout, world.output, world.owner.boot, fresh=False) is None
    assert not world.layout.root.exists()
    (kept,) = (world.output / ".superseded" / "alpha").iterdir()
    record = RunRecord.model_validate_json((kept / "metadata.json").read_bytes())
    assert (record.outcome, record.reason) == ("broken", "interrupted: the runner ended before the run did")
    assert (kept / "generated_artifacts" / "half.txt").read_text() == "half"
    assert (kept / "steps" / "step_001" / "stdout.log").read_text() == "I was here\n"


def test_a_dead_runners_runs_are_finished_in_place(world: World, dead: Owner) -> None:
    """A run that was cut off gets a final record, metrics, page and archive, and the ledger knows its outcome."""
    _begin(world, dead)
    sweep_dead(world.engine, world.owner, world.output.parent)
    with open_ledger(ledger_path(world.output)) as ledger:
        ledger.register([world.run], world.output)
        ledger.lease(world.run, dead)
        (record,) = finish_interrupted(world.output, ledger, world.owner)
        assert [(row.state, row.outcome) for row in ledger.rows()] == [("done", "broken")]
        assert finish_interrupted(world.output, ledger, world.owner) == []
    assert (record.outcome, record.reason) == ("broken", "interrupted: the runner ended before the run did")
    assert RunRecord.model_validate_json(world.layout.metadata.read_bytes()) == record
    assert "broken" in world.layout.readme.read_text()
    assert verify_archive(world.layout.archive("zstd")) == []


def test_a_live_runners_runs_are_not_finished_for_it(world: World, dead: Owner) -> None:
    """A lease whose holder lives keeps its record as it is."""
    _begin(world, dead)
    before = world.layout.metadata.read_bytes()
    with open_ledger(ledger_path(world.output)) as ledger:
        ledger.register([world.run], world.output)
        ledger.lease(world.run, world.owner)
        assert finish_interrupted(world.output, ledger, world.owner) == []
        assert [row.state for row in ledger.rows()] == ["leased"]
    assert world.layout.metadata.read_bytes() == before
    sweep_dead(world.engine, world.owner, world.output.parent)


def test_settling_nothing_does_nothing(world: World) -> None:
    """A run that never started has nothing to settle."""
    assert settle(world.layout, world.output, world.owner.boot, fresh=True) is None
    assert not world.output.exists()


def _ask(world: World) -> Suspension:
    """Leave a run that waits for approval after its first step, the changes of a step beside it not merged yet."""
    done = world.perform().record
    asked = Suspension(
        step="extend", index=2, message="?", asked_at="2026-01-01T00:00:00Z", until=None, default="reject"
    )
    update = {"outcome": None, "reason": "", "finished_at": None, "suspended": (asked,), "steps": done.steps[:1]}
    write_json(world.layout.metadata, done.model_copy(update=update))
    (world.layout.views / "s02").mkdir(parents=True)
    return asked


def test_a_suspended_run_survives_a_dead_runner(world: World, dead: Owner) -> None:
    """A runner that died with the lease of a suspended run in its hand has interrupted nothing: it still waits."""
    asked = _ask(world)
    before = world.layout.metadata.read_bytes()
    with open_ledger(ledger_path(world.output)) as ledger:
        ledger.register([world.run], world.output)
        ledger.lease(world.run, dead)
        assert finish_interrupted(world.output, ledger, world.owner) == []
        assert [(row.state, row.waits_for) for row in ledger.rows()] == [("suspended", (asked,))]
    assert world.layout.metadata.read_bytes() == before
    assert (world.layout.views / "s02").is_dir()


def test_a_suspended_run_that_is_begun_anew_is_kept_aside(world: World) -> None:
    """What was done of it stays on record as cancelled, without the workspaces that were only on their way."""
    _ask(world)
    assert settle(world.layout, world.output, world.owner.boot, fresh=True) is None
    (kept,) = (world.output / ".superseded" / "alpha").iterdir()
    record = RunRecord.model_validate_json((kept / "metadata.json").read_bytes())
    assert (record.outcome, record.suspended) == ("cancelled", ())
    assert record.reason == "it waited for approval and was begun anew"
    assert not (kept / "views").exists()


def test_steps_of_an_interrupted_run_keep_what_was_measured(world: World) -> None:
    """Totals of a run that was cut off are those of its steps' files; steps that its record lags behind count too."""
    record = world.perform().record
    interrupted = {"outcome": None, "reason": "", "finished_at": None, "steps": record.steps[:1]}
    write_json(world.layout.metadata, record.model_copy(update=interrupted))
    assert settle(world.layout, world.output, world.owner.boot, fresh=True) is None
    (kept,) = (world.output / ".superseded" / "alpha").iterdir()
    metrics = json.loads((kept / "metrics.json").read_bytes())
    assert (metrics["cpu_seconds"], metrics["tokens_in"], metrics["attempts"]) == (1.0, 30, 2)
    assert metrics["about"]["tokens_in"]["status"] == "measured"
    assert (kept / "metrics.csv").read_text().startswith("level,step,index,")


def test_totals_of_an_interrupted_run_are_not_said_to_be_whole(world: World) -> None:
    """What a step used that was under way nobody knows, so that the totals are partial and say why."""
    record = world.perform().record
    interrupted = {"outcome": None, "reason": "", "finished_at": None, "steps": record.steps[:1]}
    write_json(world.layout.metadata, record.model_copy(update=interrupted))
    world.layout.step(2).metadata.unlink()
    assert settle(world.layout, world.output, world.owner.boot, fresh=True) is None
    (kept,) = (world.output / ".superseded" / "alpha").iterdir()
    metrics = json.loads((kept / "metrics.json").read_bytes())
    assert (metrics["cpu_seconds"], metrics["tokens_in"], metrics["attempts"]) == (0.5, 10, 1)
    for name in ("cpu_seconds", "tokens_in"):
        about = metrics["about"][name]
        assert (about["status"], about["exact"]) == ("partial", False)
        assert about["reason"].endswith("not counted, as cut off while under way: extend")


def test_several_steps_that_were_cut_off_are_named(world: World, dead: Owner) -> None:
    """A run that was cut off with more than one step under way says which they were."""
    _begin(world, dead)
    world.layout.step(2).root.mkdir()
    sweep_dead(world.engine, world.owner, world.output.parent)
    settle(world.layout, world.output, world.owner.boot, fresh=False)
    (kept,) = (world.output / ".superseded" / "alpha").iterdir()
    record = RunRecord.model_validate_json((kept / "metadata.json").read_bytes())
    assert "steps begin, extend were under way; what they printed is in their folders" in record.notes


@pytest.mark.parametrize(("boot", "whole"), [("another", False), ("", True)])
def test_a_run_without_its_archive_counts_under_its_own_boot_alone(world: World, boot: str, *, whole: bool) -> None:
    """Killed before its archive was written, a finished run is done again if the machine was started again meanwhile."""
    done = world.perform()
    archive = world.layout.archive("zstd")
    archive.unlink()
    found = settle(world.layout, world.output, boot or world.owner.boot, fresh=False)
    assert (found == done.record) == whole
    assert archive.exists() == whole
    if not whole:
        (kept,) = (world.output / ".superseded" / "alpha").iterdir()
        record = RunRecord.model_validate_json((kept / "metadata.json").read_bytes())
        assert record.outcome == "broken"
        assert "started again before the run's archive was written" in record.reason
