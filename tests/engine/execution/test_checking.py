"""A check in a container of Docker's: what it can reach, and hostile ones that leave what nobody asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine_bench import Bench

from runner.evidence.copying import copy_tree
from runner.evidence.verdicts import CheckVerdict
from runner.execution.checking import Subject, Task, perform_check
from runner.names import LABEL_RUN
from runner.plan.models import Checker, ImageRef
from runner.spec.judging import Check

pytestmark = pytest.mark.engine

_SAID = '{"format": 1, "assertions": [{"id": "a", "verdict": "passed"}]}'
_JUDGE = f"""
import json, os, socket, sys
told = json.load(open(sys.argv[1]))
names = sorted(os.listdir("/sys/class/net"))
def writable(path):
    try:
        open(path + "/x", "w").close()
        return True
    except OSError:
        return False
assert names == ["lo"], names
assert [writable(one) for one in ("/workspace", "/in", "/out", "/tmp", "/", "/opt")] == [True, False, True, True, False, False]
assert os.getcwd() == "/workspace" and os.environ["HOME"] == "/tmp"
assert open("app.txt").read() == "built"
server = socket.create_server(("127.0.0.1", 8123))
socket.create_connection(("127.0.0.1", 8123)).close()
os.remove("app.txt")
assert sys.argv[2] == "/out/checks.json" and told["id"] == "app"
open(sys.argv[2], "w").write('{_SAID}')
"""


@pytest.fixture
def built(bench: Bench) -> Path:
    """Return a workspace in which something was built."""
    workspace = bench.context.layout(bench.run).workspace
    (workspace / "app.txt").write_text("built")
    (workspace / "locked").mkdir(mode=0o500)
    return workspace


def _judge(bench: Bench, built: Path, *command: str, **changes: Any) -> CheckVerdict:
    """Judge the workspace with a program, by default one given to `sh -c`."""
    layout, run = bench.context.layout(bench.run), bench.run
    fields = {"id": "app", "kind": "static", "limits": {"timeout": 100, "memory": "128MiB"}, **changes}

    def fill(target: Path) -> None:
        copy_tree(built, target)

    task = Task(
        check=Check.model_validate(fields),
        checker=Checker(image=ImageRef(tag="base", id=run.image.id), command=command),
        subject=Subject(step="begin", index=1, come=frozenset(), fill=fill, files=layout.step(1)),
        root=layout.root,
        scratch=layout.judging / "app",
        run=run.id,
        name=bench.context.object_name(run),
        seed=run.seed,
        model_label="scripted model",
    )
    verdict = perform_check(bench.context, task)
    # Another test at the same time may have a run of this name elsewhere.
    mine = bench.context.object_name(run)
    found = [one.name for one in bench.context.engine.observer.find({LABEL_RUN: run.id})]
    assert [name for name in found if name.startswith(mine)] == []
    assert not task.scratch.exists()
    assert (built / "app.txt").read_text() == "built"
    return verdict


def test_check_is_alone_with_a_copy(bench: Bench, built: Path) -> None:
    """It has loopback only, writes to the copy, /out and /tmp only, and nothing of it reaches the workspace."""
    verdict = _judge(bench, built, "python3", "-c", _JUDGE)
    assert verdict.reason == "", bench.context.layout(bench.run).step(1).check("app").log("stderr").read_text()
    assert (verdict.verdict, verdict.passed, verdict.exit_code) == ("passed", 1, 0)
    assert verdict.image_id == bench.run.image.id
    assert verdict.seconds is not None
    assert verdict.judged_at is not None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", "the check wrote no checks.json"),
        ("echo '{' >$2", "cannot be used: Expecting property name"),
        ("ln -s /etc/passwd $2", "Too many levels of symbolic links"),
        ("mkfifo $2", "not a regular file"),
        ("mkdir $2", "Is a directory"),
        ("truncate -s 200M $2", "it has more than"),
        ("head -c 100000 /dev/zero | tr '\\0' '[' >$2", "nested too deeply"),
        ("truncate -s 300M /out/a; truncate -s 300M /out/b; sleep 90", "/out"),
        ("sleep 60", "did not end within its limits.timeout, 3s"),
        ("python3 -c 'x = bytearray(10**9)'", "ended with exit code 1"),
        ("kill -9 $$", "ended with exit code 137"),
    ],
)
def test_hostile_check_passes_nothing(bench: Bench, built: Path, script: str, reason: str) -> None:
    """Whatever it leaves in the place of verdicts, or does instead, it is not judged, with the reason."""
    limits = {"timeout": 3 if "60" in script else 100, "memory": "128MiB"}
    verdict = _judge(bench, built, "sh", "-c", script, "judge", limits=limits)
    assert verdict.verdict == "unjudged"
    assert reason in verdict.reason or (verdict.oom_killed and "limits.memory" in verdict.reason)


def test_output_is_kept_and_bounded(bench: Bench, built: Path) -> None:
    """What a check prints is evidence, of which no more is kept than its limit."""
    limits = {"timeout": 100, "memory": "128MiB", "log": "4KiB"}
    _judge(bench, built, "sh", "-c", "yes long | head -c 100000; echo bad >&2", "judge", limits=limits)
    files = bench.context.layout(bench.run).step(1).check("app")
    assert files.log("stdout").stat().st_size < 8192
    assert files.log("stderr").read_text() == "bad\n"


def test_own_program_judges(bench: Bench, built: Path) -> None:
    """A scenario's script runs in the copy; what it exits with is the verdict, and it may say more."""
    verdict = _judge(bench, built, kind="program", script=f"grep -q built app.txt; echo '{_SAID}' >/out/checks.json")
    assert [(one.id, one.verdict) for one in verdict.assertions] == [("a", "passed"), ("app.exit", "passed")]
    verdict = _judge(bench, built, kind="program", script="echo no such thing; exit 3")
    (assertion,) = verdict.assertions
    assert (assertion.verdict, assertion.evidence.log_tail) == ("failed", "no such thing")
    assert verdict.verdict == "failed"


def test_image_that_is_gone(bench: Bench, built: Path) -> None:
    """An image that the engine does not have any more is a reason, not a crash."""
    bench.context = replace(bench.context, images={bench.run.image.id or "": f"sha256:{'0' * 64}"})
    verdict = _judge(bench, built, "true")
    assert verdict.verdict == "unjudged"
    assert verdict.reason.startswith("the check could not be run: ")
