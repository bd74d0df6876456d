"""One runner per folder of runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.errors import StorageError
from runner.execution.claim import LOCK, claim, holder


def test_a_second_claim_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    """The message says which process is at work, and where."""
    with claim(tmp_path), pytest.raises(StorageError) as refused, claim(tmp_path):
        pass
    assert f"process {os.getpid()}" in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_claim_ends_with_its_block(tmp_path: Path) -> None:
    """The same folder can be claimed again afterwards."""
    for _ in range(2):
        with claim(tmp_path / "runs"):
            assert (tmp_path / "runs" / LOCK).read_text().strip() == str(os.getpid())


@pytest.mark.processes
def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    """The kernel drops the lock of a process that died, so that nobody has to clear anything by hand."""
    code = (
        "import os, pathlib, signal, sys\nfrom runner.execution.claim import claim\n"
        "with claim(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert (tmp_path / LOCK).exists()
    with claim(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    """A file in the way is reported, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write to"), claim(tmp_path / "file" / "runs"):
        pass


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a runner at work be waited for for a moment only."""
    monkeypatch.setattr("runner.execution.claim._PATIENCE", 0.05)


@pytest.mark.usefixtures("impatient")
def test_who_only_clears_away_is_waited_for(tmp_path: Path) -> None:
    """A sweep from elsewhere takes its time; a runner that wants to begin says so, and has the folder when it is over."""
    swept, holders = threading.Event(), list[int | None]()

    def sweep() -> None:
        with claim(tmp_path, sweeps=True):
            held.set()
            swept.wait(120)

    held, sweeper = threading.Event(), threading.Thread(target=sweep)
    sweeper.start()
    assert held.wait(60)
    holders.append(holder(tmp_path))
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        swept.set()

    with claim(tmp_path, on_wait=tell):
        holders.append(holder(tmp_path))
    sweeper.join(60)
    assert holders == [None, os.getpid()]
    assert told == [f"waiting for process {os.getpid()}, which still clears away here, for 60 s at most"]


@pytest.mark.usefixtures("impatient")
def test_a_sweep_waits_for_nobody(tmp_path: Path) -> None:
    """It may hold other folders: neither for a runner at work nor for another sweep."""
    begun = time.monotonic()
    for sweeps in (False, True):
        with claim(tmp_path, sweeps=sweeps), pytest.raises(StorageError), claim(tmp_path, sweeps=True):
            pass
    assert time.monotonic() - begun < 30  # half of what a runner that wants to begin would wait for a sweep


@pytest.mark.usefixtures("impatient")
def test_a_sweep_that_takes_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message does not say that runs are carried out."""
    monkeypatch.setattr("runner.execution.claim._SWEEP_PATIENCE", 0.1)
    with claim(tmp_path, sweeps=True), pytest.raises(StorageError) as refused, claim(tmp_path):
        pass
    assert f"another runner (process {os.getpid()}) still clears away in {tmp_path}" in str(refused.value)
