"""Several processes share a ledger, and one that is killed harms nobody."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.engine.owner import Owner
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.plan.models import Run

ALIVE = Owner(uid=1, pid=10, started=1, boot="b", host="h")
pytestmark = pytest.mark.processes

_OPEN = """
import sys
from pathlib import Path
from runner.ledger.store import ledger_path, open_ledger
with open_ledger(ledger_path(Path(sys.argv[1]))) as ledger:
    print(len(ledger.rows()))
"""
_LEASE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from runner.engine.owner import current
from runner.ledger.store import ledger_path, open_ledger
with open_ledger(ledger_path(Path(sys.argv[1]))) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    for digest in sys.argv[2:]:
        if ledger.lease(SimpleNamespace(id=digest, digest=digest), current()) is not None:
            print(digest, flush=True)
    print("end", flush=True)
    sys.stdin.readline()
"""
_DIE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE runs SET reason = hex(randomblob(5000))")
print("writing", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _lines(process: subprocess.Popen[str], last: str) -> list[str]:
    assert process.stdout is not None
    return [line.strip() for line in iter(process.stdout.readline, f"{last}\n")]


def _say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_opened_by_many_at_once(tmp_path: Path) -> None:
    """Processes that all make the same new ledger at the same moment all succeed."""
    processes = [_start(_OPEN, str(tmp_path)) for _ in range(6)]
    assert [process.communicate(timeout=200)[0] for process in processes] == ["0\n"] * 6


def test_two_processes_lease_each_run_once(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """Two processes that want the same runs share them without overlap; after their death the runs are free."""
    runs = [make_run(number) for number in range(1, 101)]
    ledger.register(runs, tmp_path)
    digests = [run.digest or "" for run in runs]
    processes = [_start(_LEASE, str(tmp_path), *order) for order in (digests, digests[::-1])]
    for process in processes:
        _lines(process, "ready")
    for process in processes:
        _say(process)
    got = [digest for process in processes for digest in _lines(process, "end")]
    assert sorted(got) == sorted(digests)
    me = Owner(uid=1, pid=1, started=1, boot="b", host="h")
    with open_ledger(ledger_path(tmp_path)) as real:
        assert real.lease(runs[0], me) is None
        for process in processes:
            process.kill()
            process.communicate()
        assert real.lease(runs[0], me) is not None


def test_killed_in_the_middle_of_a_transaction(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """A writer that is killed leaves the ledger as it was before, and blocks nobody."""
    runs = [make_run(number) for number in range(1, 501)]
    ledger.register(runs, tmp_path)
    process = _start(_DIE, str(ledger_path(tmp_path)))
    assert process.communicate(timeout=200)[0] == "writing\n"
    assert process.returncode == -9
    assert {row.reason for row in ledger.rows()} == {""}
    assert ledger.lease(runs[0], ALIVE) is not None
