"""What a step of each kind finds in its container, seen from inside it on Docker."""

from __future__ import annotations

import hashlib
import json

import pytest
from support.engine_bench import Bench

from runner.execution.container import prepare_state
from runner.plan.models import PlannedAnswer, PlannedInput, PlannedOutput, PlannedRetry

pytestmark = pytest.mark.engine


def test_a_script_runs_in_the_workspace(bench: Bench) -> None:
    """A script without a first line of its own is run by a shell that stops at the first failure."""
    done = bench.perform("pwd; touch made; false; echo never\n", expect_changes=True)
    assert (done.record.outcome, done.record.reason) == ("failed", "exit code 1")
    assert bench.said() == "/workspace\n"
    assert done.record.changed_files == 1


def test_a_script_may_choose_its_interpreter(bench: Bench) -> None:
    """With a first line that names an interpreter the file itself is run."""
    done = bench.perform("#!/usr/bin/python3 -I\nimport sys; print(sys.argv[0])\n")
    assert done.record.outcome == "passed"
    assert bench.said() == "/in/script\n"


def test_standard_input_comes_from_the_scenario(bench: Bench) -> None:
    """What the scenario gives is read to its end, byte for byte; without it there is nothing to read."""
    bench.perform("cat", stdin="one\ntwo é")
    assert bench.said() == "one\ntwo é"
    bench.perform("cat; echo end")
    assert bench.said() == "end\n"


def test_inputs_can_be_read_and_not_written(bench: Bench) -> None:
    """Inputs stand as files in /in/inputs, and /in cannot be written."""
    inputs = (
        PlannedInput(name="name", source="value", value="a b$(id)", type="text"),
        PlannedInput(name="parts", source="value", value=["x", 1], type="list"),
    )
    done = bench.perform("cat /in/inputs/name /in/inputs/parts; ! touch /in/inputs/more", inputs=inputs)
    assert done.record.outcome == "passed"
    assert bench.said() == 'a b$(id)["x", 1]\n'


def test_outputs_become_values(bench: Bench) -> None:
    """A file in /out, one in the workspace and the standard output are taken once the step has passed."""
    outputs = (
        PlannedOutput(name="count", source="file", path="n.json", type="number"),
        PlannedOutput(name="notes", source="workspace", path="notes.md"),
        PlannedOutput(name="said", source="stdout"),
    )
    done = bench.perform("echo 3 >/out/n.json; echo hello >notes.md; echo done", outputs=outputs)
    assert done.record.outcome == "passed"
    kept = {one.name: (bench.files.root / one.path).read_text() for one in done.record.outputs}
    assert kept == {"count": "3\n", "notes": "hello\n", "said": "done"}


def test_a_link_out_of_the_workspace_is_no_output(bench: Bench) -> None:
    """An output that is a link to a file of the host's is not followed."""
    outputs = (PlannedOutput(name="x", source="workspace", path="leak"),)
    done = bench.perform("ln -s /etc/passwd leak", outputs=outputs)
    assert done.record.outcome == "failed"
    assert done.record.reason == (
        "output `x` cannot be taken: leak in the workspace: it is a link, and links are not followed"
    )


def test_a_framework_that_asks_is_answered(bench: Bench) -> None:
    """`runner-ask` gives the prepared answer, exits 4 where none fits, and every question is in the record."""
    answers = (PlannedAnswer(question="(?i)database", answer="SQLite"),)
    done = bench.perform("runner-ask Which database?; runner-ask 'Which colour?' || echo $?", answers=answers)
    assert bench.said() == "SQLite\n4\n"
    assert [(one.question, one.answer_sha256) for one in done.record.answers] == [
        ("Which database?", hashlib.sha256(b"SQLite").hexdigest()),
        ("Which colour?", None),
    ]


def test_a_check_judges_without_touching(bench: Bench) -> None:
    """A check can read the workspace and not write it; a state of its own it can."""
    bench.perform("echo 1 >app; echo kept >/state/kept")
    bench.read_only, bench.state = True, bench.files.root / "own"
    prepare_state(bench.state, bench.run)
    done = bench.perform("cat app; ls -A /state /state/home; touch /state/own; ! touch more", kind="check")
    assert (done.record.outcome, done.record.kind) == ("passed", "check")
    assert bench.said() == "1\n/state:\nhome\n\n/state/home:\n"


def test_without_a_workspace_there_is_an_empty_one(bench: Bench) -> None:
    """A step with `workspace: none` begins in a /workspace that is empty and cannot be written."""
    bench.perform("touch made")
    bench.workspace = False
    done = bench.perform("pwd; ls -A; ! touch more")
    assert done.record.outcome == "passed"
    assert bench.said() == "/workspace\n"


def test_each_attempt_has_a_fresh_container(bench: Bench) -> None:
    """What a failed attempt left outside the workspace is gone in the next, and its output is kept."""
    script = "test -e /tmp/seen && exit 9; touch /tmp/seen; echo try; grep -q '\"attempt\": 2' /in/step.json"
    done = bench.perform(script, retry=PlannedRetry(attempts=3, backoff=0.1))
    assert [one.exit_code for one in done.record.attempts] == [1, 0]
    assert len({one.container for one in done.record.attempts}) == 2
    assert bench.again == 1
    assert bench.files.attempt(1).log("stdout").read_text() == "try\n"
    assert done.metrics.totals["cpu_seconds"]


def test_the_contract_of_a_command(bench: Bench) -> None:
    """Streams apart and complete, exit code, time, argument list, folder, and whether a deadline or memory ended it."""
    done = bench.perform(command=("sh", "-c", "echo out; echo err >&2; exit 7"))
    attempt = done.record.attempts[0]
    assert (bench.said("stdout"), bench.said("stderr")) == ("out\n", "err\n")
    assert (attempt.exit_code, attempt.argv[0], attempt.cwd) == (7, "sh", "/workspace")
    assert (attempt.timed_out, attempt.oom_killed, attempt.signal, attempt.error) == (False, False, None, "")
    assert attempt.image_id == bench.run.image.id
    assert attempt.seconds is not None
    assert attempt.seconds > 0
    limits = bench.run.steps[0].limits.model_copy(update={"step_timeout": 0.5, "grace": 0.2})
    attempt = bench.perform("sleep 60", limits=limits).record.attempts[0]
    assert (attempt.exit_code, attempt.timed_out) == (124, True)
    attempt = bench.perform(command=("no-such-program",)).record.attempts[0]
    assert (attempt.exit_code, attempt.outcome) == (127, "broken")
    assert attempt.error.startswith("command not found: 'no-such-program'")


def test_what_a_step_is_told_of_itself(bench: Bench) -> None:
    """step.json names kind, item and inputs."""
    bench.perform("cat /in/step.json")
    told = json.loads(bench.said())
    assert (told["kind"], told["item"], told["inputs"]) == ("command", None, {})
