"""The public Python interface on a real engine."""

from __future__ import annotations

import io
import os
import secrets
import tarfile
from functools import partial
from pathlib import Path

import pytest
from support.images import ROOT, base_image
from support.project import copy_project, environment

import runner
from runner.engine.docker import connect
from runner.engine.protocol import Engine
from runner.names import LABEL_INPUTS, PROJECT
from runner.spec.models import LimitsPatch
from runner.spec.overrides import Overrides

ENVIRONMENT = environment()
"""With rules under which nobody waits for the machine's load."""
run = partial(runner.run_command, image="base", project=ROOT, process_environment=ENVIRONMENT)


def build(engine: Engine) -> str:
    """Return the tag of an image that does not say it is ours, so that nothing is known of a shim in it."""
    tag = f"{PROJECT}/plain-{secrets.token_hex(4)}"
    recipe = f"FROM {base_image(engine)}\n".encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(recipe)
        tar.addfile(member, io.BytesIO(recipe))
    context.seek(0)
    list(engine.images.build(context, args={}, labels={LABEL_INPUTS: ""}, tag=tag))
    return tag


def test_a_command_tells_all_of_itself(tmp_path: Path) -> None:
    """Streams stay apart and whole, the exit code is the command's, and the workspace is the folder given."""
    script = "cat; echo problem >&2; echo kept >/workspace/file; echo $WORD; exit 3"
    result = run(["sh", "-c", script], stdin=b"typed\n", workspace=tmp_path, environment={"WORD": "w"})
    assert (result.stdout, result.stderr, result.exit_code) == (b"typed\nw\n", b"problem\n", 3)
    assert (tmp_path / "file").read_text() == "kept\n"
    assert (result.cwd, result.timed_out, result.oom_killed, result.signal) == ("/workspace", False, False, None)
    assert result.error == ""
    assert result.image_id.startswith("sha256:")
    assert result.seconds is not None
    assert (result.peak_memory_bytes is None) == ("peak_memory_bytes" in result.reasons)


def test_a_deadline_is_exit_code_124() -> None:
    """A command that does not end is ended, and told from one that returned 124 by itself."""
    late, own = run(["sleep", "600"], timeout=0.5), run(["sh", "-c", "exit 124"])
    assert (late.exit_code, late.timed_out) == (124, True)
    assert (own.exit_code, own.timed_out) == (124, False)


def test_output_beyond_the_limit_is_counted() -> None:
    """What limits.log does not keep is dropped and counted, per stream."""
    result = run(["sh", "-c", "head -c 100000 /dev/zero; echo e >&2"], limits=LimitsPatch(log=8192))
    assert result.dropped_stdout > 0
    assert (result.dropped_stderr, result.stderr) == (0, b"e\n")


def test_memory_beyond_the_limit_is_told() -> None:
    """A command that the kernel kills for its memory says so."""
    result = run(["python3", "-c", "x = b'x' * (200 << 20)"], limits=LimitsPatch(memory=64 * 1024**2))
    assert result.oom_killed


def test_nothing_raises_unless_asked() -> None:
    """A missing image and a missing command are results; with `check` they are exceptions that carry the result."""
    assert "there is no image 'nowhere'" in runner.run_command(["true"], image="nowhere", project=ROOT).error
    assert run(["no-such-command"]).exit_code == 127
    with pytest.raises(runner.CommandFailed) as caught:
        run(["false"], check=True)
    assert caught.value.result.exit_code == 1


def test_an_image_without_the_shim_is_bounded_too() -> None:
    """The runner itself keeps the deadline where no shim does, and the standard input arrives."""
    with connect(os.environ) as engine:
        plain = build(engine)
        try:
            command = partial(runner.run_command, image=plain, engine=engine, process_environment=ENVIRONMENT)
            late, read = command(["sleep", "600"], timeout=0.5), command(["cat"], stdin=b"typed")
        finally:
            engine.images.remove(plain)
    assert (late.exit_code, late.timed_out, late.error) == (124, True, "")
    assert (read.exit_code, read.stdout) == (0, b"typed")


def test_an_experiment_is_planned_carried_out_and_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What the command line does, as values: plan, events, rows, a step's workspace and what changed; nothing printed."""
    project = copy_project("graph", tmp_path / "graph")
    experiment = runner.Experiment.load(
        project=project.root, overrides=Overrides(scenarios=("branches",)), process_environment=ENVIRONMENT
    )
    assert experiment.results().runs == ()
    assert [run.scenario for run in experiment.runs] == ["branches"]
    heard: list[str] = []
    result = experiment.go(on_event=lambda event: heard.append(type(event).__name__))
    assert result.passed
    assert "RunFinished" in heard
    row = result.to_rows()[0]
    assert (row["scenario"], row["outcome"], row["steps_passed"]) == ("branches", "passed", 5)
    again = experiment.go()
    assert [one.record.finished_at for one in again.runs] == [one.record.finished_at for one in result.runs]
    read = runner.load_run(result.runs[0].path)
    assert [step.id for step in read.steps] == ["begin", "left", "right", "third", "judge"]
    assert {path.name for path in read.open("left", tmp_path / "left").iterdir()} == {"common.txt", "left.txt"}
    assert [(one.path, one.how) for one in read.diff("begin", 2)] == [(b"gone.txt", "removed"), (b"left.txt", "added")]
    assert capfd.readouterr() == ("", "")
