"""The power fails, again and again: what a runner has said to be done stays done, and everything else is done again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import pytest
import zstandard
from chaos.bounds import SECONDS, SEED, UNREADABLE, keep, listed
from chaos.engine_eye import Witness
from chaos.invariants import FINAL, Facts, machine_violations
from chaos.places import Place, World, place
from chaos.power import Machine, cannot, machine
from support.own_engine import can_run

FAILURES = max(1, min(8, int(SECONDS // 60)))
"""Of the power: as many as the time allows, about a minute each."""
RUNS = 10

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(can_run() or cannot()), reason=can_run() or cannot() or "can run"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


def test_a_power_failure_takes_nothing_that_is_done(arena: World) -> None:
    """Archives that were there are there, byte for byte; every run ends once, whole, and nothing is left behind."""
    dice = random.Random(SEED)
    with place(arena, "power", arena.engine.host) as here, machine(here) as power:
        happened: list[str] = []
        try:
            wrong = _suffer(here, power, dice, happened)
        except UNREADABLE as error:
            wrong = [repr(error)]
        if wrong:
            said = here.log.read_text("utf-8", "replace").splitlines()[-40:]
            parts = listed("what does not hold", wrong), listed("what happened", happened), listed("said last", said)
            pytest.fail("\n".join((*parts, f"kept in {keep(here.root, 'power')}", f"again: CHAOS_SEED={SEED}")))


def _suffer(here: Place, power: Machine, dice: random.Random, happened: list[str]) -> list[str]:
    """Let the power fail in the middle of an experiment, and the experiment come to its end; return what is wrong."""
    wrong: list[str] = []
    for _ in range(FAILURES):
        runner = here.start(*here.command("go", "scripted"))
        pause = dice.uniform(1.0, 7.0)
        try:
            runner.wait(pause)
        except subprocess.TimeoutExpired:
            happened.append(f"the power failed {pause:.2f} s after the start")
        promised = _promised(here)
        power.fail()
        runner.wait()
        lost = [run for run, digest in promised.items() if _digest(here.output / run) != digest]
        wrong += [f"{run} was done, and its archive is not the same any more" for run in lost]
        happened.append(f"{len(promised)} runs were done")
    if (code := here.run("go", "scripted")) not in {0, 1}:
        wrong.append(f"left in peace, the runner ends with exit code {code}")
    return [*wrong, *_unfinished(here), *machine_violations(_facts(here))]


def _facts(here: Place) -> Facts:
    return Facts(place=here, witness=Witness(here.world.eye), planned=RUNS)


def _promised(here: Place) -> dict[str, str]:
    """Return the digest of the archive of each run that the ledger has as done: from then on nobody may lose it."""
    with tempfile.TemporaryDirectory() as folder:
        # A copy, so that nothing here writes to the disk whose power fails.
        for path in here.output.glob(".ledger.sqlite*"):
            shutil.copy(path, folder)
        if not Path(folder, ".ledger.sqlite").exists():
            return {}
        with contextlib.closing(sqlite3.connect(Path(folder, ".ledger.sqlite"))) as ledger:
            rows = ledger.execute("SELECT directory, outcome FROM runs WHERE state = 'done'").fetchall()
    return {name: _digest(here.output / name) for name, outcome in rows if outcome in FINAL}


def _digest(root: Path) -> str:
    try:
        return hashlib.sha256((root / "run.tar.zst").read_bytes()).hexdigest()
    except OSError as error:
        return str(error)


def _unfinished(here: Place) -> list[str]:
    """Return what is wrong with the runs at the end, each read from its record and from inside its archive."""
    wrong = []
    records = sorted(here.output.glob("[!.]*/*/metadata.json"))
    if len(records) != RUNS:
        wrong.append(f"{len(records)} run directories instead of {RUNS}")
    for path in records:
        record = json.loads(path.read_text("utf-8"))
        name = record["run"]["id"]
        if record["outcome"] not in FINAL:
            wrong.append(f"{name} is not final: {record['outcome']}: {record['reason']}")
        elif record["outcome"] == "passed" and b"one more line\n" not in _tar(path.parent):
            wrong.append(f"{name}: the archive does not hold what its steps wrote")
        if code := here.run("verify", name):
            wrong.append(f"`runner verify {name}` ends with exit code {code}")
    return wrong


def _tar(root: Path) -> bytes:
    with zstandard.open(root / "run.tar.zst", "rb") as tar:
        return bytes(tar.read())
