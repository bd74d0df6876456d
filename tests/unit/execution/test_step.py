"""Performing one step: its kinds, what its container is given and what it gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_world import World, limits, tell
from support.step_bench import Bench, idle

from runner.engine.protocol import Mount
from runner.events import StepFinished
from runner.evidence.records import DecisionRecord
from runner.execution.container import prepare_state
from runner.execution.step import decided_step
from runner.names import WORKSPACE_DIR
from runner.plan.models import ImageRef, PlannedAnswer, PlannedInput, PlannedItem, PlannedOutput, PlannedRetry
from runner.testing import Box


def test_a_script_is_a_file_and_no_shell_line(bench: Bench) -> None:
    """A script is run by the shell of its own first line, else by `sh -eu`; its text stands in /in/script."""
    texts: list[str] = []

    def read(box: Box) -> int:
        texts.append(box.path("/in/script").read_text())
        tell(box)
        return 0

    bench.world.engine.register(read)
    script = "echo {prompt} $HOME\n"
    done = bench.perform(kind="command", script=script, prompt="", expect_changes=False)
    assert done.record.attempts[0].argv == ("sh", "-eu", "/in/script")
    assert (texts, done.record.kind) == ([script], "command")
    done = bench.perform(script="#!/usr/bin/python3\n")
    assert done.record.attempts[0].argv == ("/in/script",)
    assert bench.files.inputs.joinpath("script").stat().st_mode & 0o777 == 0o755


def test_a_command_replaces_the_frameworks(bench: Bench) -> None:
    """A command's placeholders are filled in, and its working directory is recorded."""
    bench.world.engine.register(idle)
    done = bench.perform(kind="command", command=("tool", "{step}-{seed}"), expect_changes=False)
    attempt = done.record.attempts[0]
    assert attempt.argv == ("tool", f"begin-{bench.run.seed}")
    assert attempt.cwd == "/workspace"


def test_a_command_with_stray_braces_fails_with_a_sentence(bench: Bench) -> None:
    """Braces around no placeholder end the step before any container."""
    done = bench.perform(kind="command", command=("python3", "-c", "print({1: 2})"))
    assert (done.record.outcome, done.record.attempts) == ("failed", ())
    assert "`print({1: 2})` in the command has braces" in done.record.reason
    assert "create" not in bench.world.engine.calls


def test_inputs_are_files_and_described(bench: Bench) -> None:
    """Every input stands in /in/inputs and in step.json with type, digest and size, and in the record."""
    seen: dict[str, Any] = {}

    def look(box: Box) -> int:
        seen["text"] = box.path("/in/inputs/name").read_bytes()
        seen["list"] = box.path("/in/inputs/parts").read_bytes()
        seen["step"] = json.loads(box.path("/in/step.json").read_text())
        seen["stdin"] = box.path("/in/stdin").read_text()
        seen["answers"] = json.loads(box.path("/in/answers.json").read_text())
        seen["argv"] = box.spec.argv
        tell(box)
        return 0

    bench.world.engine.register(look)
    done = bench.perform(
        inputs=(
            PlannedInput(name="name", source="value", value="a b", type="text"),
            PlannedInput(name="parts", source="value", value=[1], type="list"),
        ),
        item=PlannedItem(number=2, value={"k": 1}),
        stdin="typed",
        answers=(PlannedAnswer(question="x", answer="y"), PlannedAnswer(answer="z")),
        prompt="{{ name }}: {{ item.k }}",
        template=True,
        expect_changes=False,
    )
    assert (seen["text"], seen["list"], seen["stdin"]) == (b"a b", b"[1]\n", "typed")
    assert "--stdin=/in/stdin" in seen["argv"]
    assert seen["answers"]["answers"] == [{"question": "x", "answer": "y"}, {"question": None, "answer": "z"}]
    described = seen["step"]
    assert described["item"] == {"number": 2, "value": {"k": 1}}
    assert described["inputs"]["parts"]["bytes"] == 4
    assert (bench.files.inputs / "prompt.txt").read_text() == "a b: 1"
    modes = {path.name: path.stat().st_mode & 0o777 for path in bench.files.inputs.rglob("*")}
    assert modes == {**dict.fromkeys(modes, 0o644), "inputs": 0o755}
    assert [one.path for one in done.record.inputs] == ["in/inputs/name", "in/inputs/parts"]
    assert done.record.inputs[0].sha256 == described["inputs"]["name"]["sha256"]


def test_outputs_are_kept_and_recorded(bench: Bench) -> None:
    """What a passed step gives is copied beside its record."""

    def give(box: Box) -> int:
        box.path("/out/count", write=True).write_text("3")
        box.write(b"done\n")
        tell(box)
        return 0

    bench.world.engine.register(give)
    outputs = (
        PlannedOutput(name="n", source="file", path="count", type="number"),
        PlannedOutput(name="s", source="stdout"),
    )
    done = bench.perform(outputs=outputs, expect_changes=False)
    assert [(one.name, one.type, one.path, one.bytes) for one in done.record.outputs] == [
        ("n", "number", "outputs/n", 2),
        ("s", "text", "outputs/s", 4),
    ]
    assert (bench.files.given / "n").read_text() == "3\n"


def test_a_missing_output_is_a_failure(bench: Bench) -> None:
    """A step that exits 0 and does not give what it has to has failed, and can be tried again."""
    bench.world.engine.register(idle)
    outputs = (PlannedOutput(name="n", source="file", path="count"),)
    done = bench.perform(outputs=outputs, expect_changes=False, retry=PlannedRetry(attempts=2))
    assert done.record.outcome == "failed"
    assert done.record.reason == "output `n` is missing: there is no count in /out"
    assert (len(done.record.attempts), done.record.outputs) == (2, ())
    assert not bench.files.given.exists()


def test_a_standard_output_that_was_cut_is_no_value(bench: Bench) -> None:
    """When the shim had to drop some of the standard output, a step whose output it is has failed."""

    def shout(box: Box) -> int:
        box.write(b"beginning ... end")
        tell(box, dropped_stdout=5)
        return 0

    bench.world.engine.register(shout)
    done = bench.perform(outputs=(PlannedOutput(name="s", source="stdout"),), expect_changes=False)
    assert done.record.reason == "output `s` is the standard output, and that was longer than limits.log"


def test_an_input_that_cannot_be_had_is_a_failure(bench: Bench) -> None:
    """A missing workspace file fails the step before any container, with its name."""
    inputs = (PlannedInput(name="x", source="workspace", workspace="none.md", type="text"),)
    done = bench.perform(inputs=inputs)
    assert done.record.outcome == "failed"
    assert done.record.reason == "input `x`: none.md in the workspace cannot be read: No such file or directory"
    last = bench.world.events[-1]
    assert isinstance(last, StepFinished)
    assert last.outcome == "failed"


def test_a_check_cannot_write_and_keeps_its_own_state(bench: Bench, tmp_path: Path) -> None:
    """A check sees the workspace read-only, and everything else it may write is in the state it is given."""
    framework = bench.run.framework.model_copy(update={"writable": ("/opt/framework/warehouse",)})
    bench.run = bench.run.model_copy(update={"framework": framework})
    prepare_state(tmp_path / "own", bench.run)
    mounts: dict[str, Mount] = {}

    def judge(box: Box) -> int:
        mounts.update({one.target: one for one in box.spec.mounts})
        tell(box)
        return 0

    bench.world.engine.register(judge)
    bench.place_changes = {"read_only": True, "state": tmp_path / "own"}
    done = bench.perform(kind="check", command=("judge",), network="none", expect_changes=False)
    assert done.record.outcome == "passed"
    assert (mounts[WORKSPACE_DIR].read_only, mounts["/in"].read_only) == (True, True)
    for target in ("/state", "/opt/framework/warehouse"):
        assert Path(mounts[target].source).is_relative_to(tmp_path / "own")
    assert (done.record.changed_files, done.tree) == (0, bench.place.before)
    assert bench.world.gateway.opened == []


def test_a_step_without_a_workspace_mounts_none(bench: Bench) -> None:
    """With `workspace: none` nothing is mounted there, and nothing is said about changes."""
    targets: list[str] = []

    def look(box: Box) -> int:
        targets.extend(one.target for one in box.spec.mounts)
        tell(box)
        return 0

    bench.world.engine.register(look)
    bench.place_changes = {"workspace": None, "volume": None}
    done = bench.perform(kind="command", command=("look",), expect_changes=False)
    assert WORKSPACE_DIR not in targets
    assert (done.record.changed_files, done.tree) == (None, None)


def test_another_image_has_nothing_of_the_framework(bench: Bench) -> None:
    """A step in another image gets neither the framework's variables nor its writable paths, and names its image."""
    framework = bench.run.framework.model_copy(
        update={"writable": ("/opt/framework/w",), "environment": {"ONLY": "here"}}
    )
    bench.run = bench.run.model_copy(update={"framework": framework})
    other = bench.world.engine.add_image("other")
    context = bench.world.context
    seen: list[tuple[str, bool, int]] = []

    def look(box: Box) -> int:
        seen.append((box.spec.image, "ONLY" in box.spec.env, len(box.spec.mounts)))
        tell(box)
        return 0

    bench.world.engine.register(look)
    bench.context = replace(context, images={**context.images, "sha256:2": other}, gateway=None)
    done = bench.perform(image=ImageRef(tag="other", id="sha256:2"), expect_changes=False)
    assert seen == [(other, False, 4)]
    assert done.record.attempts[0].image_id == "sha256:2"


def test_an_error_is_told_in_the_engines_words(bench: Bench) -> None:
    """A command that the shim could not start leaves its words in the attempt's record."""

    def missing(box: Box) -> int:
        tell(box, exit_code=127, error="command not found: 'x'")
        return 127

    bench.world.engine.register(missing)
    attempt = bench.perform().record.attempts[0]
    assert (attempt.outcome, attempt.error) == ("broken", "command not found: 'x'")


def test_phases_may_say_when_they_began(bench: Bench) -> None:
    """A phase's start is recorded as reported, and left out where it cannot be one."""

    def report(box: Box) -> int:
        phases = [{"name": "plan", "seconds": 1, "started_at": 1700000000.5}, {"name": "do", "started_at": "now"}]
        box.path("/out/result.json", write=True).write_text(json.dumps({"version": 1, "phases": phases}))
        tell(box)
        return 0

    bench.world.engine.register(report)
    phases = bench.perform(expect_changes=False).record.phases
    assert [one.started_at for one in phases] == [1700000000.5, None]


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        ({"decision": "approve", "by": "person", "message": "fine"}, ""),
        ({"decision": "reject", "by": "person", "message": "too slow"}, "rejected: too slow"),
        ({"decision": "reject", "by": "person"}, "rejected"),
        ({"decision": "reject", "by": "timeout"}, "rejected: nobody answered in time"),
    ],
)
def test_a_decision_is_the_outcome_of_an_approval(world: World, taken: dict[str, Any], reason: str) -> None:
    """What was decided is recorded with its message, and rejection is a failure."""
    decision = DecisionRecord(**taken, asked_at="A", decided_at="B")
    done = decided_step(world.run, world.run.steps[0], decision)
    assert (done.record.outcome, done.record.reason) == ("failed" if reason else "passed", reason)
    assert (done.record.decision, done.record.started_at, done.record.finished_at) == (decision, "A", "B")
    assert done.metrics.totals["attempts"] == 0


def test_limits_name_the_shorter_time(bench: Bench) -> None:
    """The deadline is the step's own or what is left of the run's, whichever is shorter."""
    bench.left = 5.0
    deadlines: list[str] = []

    def look(box: Box) -> int:
        deadlines.extend(word for word in box.spec.argv if word.startswith("--deadline"))
        tell(box)
        return 0

    bench.world.engine.register(look)
    bench.perform(expect_changes=False)
    bench.left = 500.0
    bench.perform(expect_changes=False, limits=limits(step_timeout=7.0))
    assert deadlines == ["--deadline=5.000", "--deadline=7.000"]
