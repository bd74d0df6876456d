"""A disk that takes no more costs the ledger nothing that it had."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.ledger.rebuild import check
from runner.ledger.store import ledger_path, open_ledger
from runner.plan.models import Run

WriteRun = Callable[[RunRecord], RunLayout]
PROGRAM = """
import os, resource, signal, sys
from pathlib import Path

from runner.errors import StorageError
from runner.ledger.store import ledger_path, open_ledger
from runner.plan.models import ImageRef, Run
from runner.spec.models import Framework, PypiSource, SmokeTest

output = Path(sys.argv[1])
framework = Framework(
    name="fake", source=PypiSource(pypi="fake", version="1"), command=("true",), smoke_test=SmokeTest(command=("true",))
)


def run(number):
    return Run.model_construct(
        version=1, id=f"run-{number}", digest=f"digest-{number}", experiment="default", framework=framework,
        scenario="crud", steps=(), repetition=number, seed=1, image=ImageRef(tag="t", id="sha256:1"), parent=None,
    )


with open_ledger(ledger_path(output)) as ledger:
    ledger.register([run(number) for number in range(50)], output)
    size = sum(path.stat().st_size for path in output.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 65536, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for _ in range(2):
        try:
            ledger.register([run(number) for number in range(50, 20_000)], output)
        except StorageError as error:
            print(error.what, "|", error.hint)
    print(len(ledger.rows()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.register([run(50)], output)
    print(len(ledger.rows()))
os._exit(0)
"""


FULL = """
import subprocess, sys
from pathlib import Path

from runner.ledger.rebuild import check, rebuild
from runner.ledger.removal import remove_run
from runner.ledger.store import ledger_path, open_ledger

output = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", output], check=True)
subprocess.run(["cp", "-r", sys.argv[2], output / "fake"], check=True)
print(rebuild(output).runs)
with (output / "fill").open("wb", buffering=0) as fill:
    try:
        while True:
            fill.write(bytes(4096))
    except OSError as error:
        print(error.strerror)
with open_ledger(ledger_path(output)) as ledger:
    (row,) = ledger.rows()
    remove_run(output, ledger, row)
with open_ledger(ledger_path(output)) as ledger:
    print(len(ledger.rows()), check(output))
"""
_ALONE = ("unshare", "--mount") if os.getuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")


@pytest.mark.processes
def test_a_run_can_be_removed_on_a_full_disk(
    tmp_path: Path, make_run: Callable[..., Run], make_record: Callable[..., RunRecord], write_run: WriteRun
) -> None:
    """With not a byte free the ledger is read, a run removed, and both agree: that is how room is made."""
    layout = write_run(make_record(make_run()))
    layout.workspace.mkdir()
    (layout.workspace / "product").write_bytes(b"x" * 50_000)
    (tmp_path / "small").mkdir()
    if subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk for a test")
    command = [*_ALONE, sys.executable, "-c", FULL, str(tmp_path / "small"), str(layout.root.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert (done.stdout.splitlines(), done.stderr) == (["1", "No space left on device", "0 ()"], "")


@pytest.mark.processes
def test_a_write_that_fails_leaves_the_old_state(tmp_path: Path) -> None:
    """It is one clear error each time, the rows are those from before, and with room the same ledger goes on."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True, timeout=200
    )
    first, second, held, later = done.stdout.splitlines()
    assert first == second
    assert "cannot be written" in first
    assert "runner doctor" in first
    assert (held, later) == ("50", "51")
    assert check(tmp_path) == ()
    with open_ledger(ledger_path(tmp_path)) as ledger:
        assert len(ledger.rows()) == 51
