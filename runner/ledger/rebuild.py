"""Make the ledger anew from the run directories, which are the truth, and say where the two part."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.evidence.atomic import storage_error
from runner.evidence.layout import RunLayout
from runner.evidence.measures.again import newest_totals
from runner.evidence.records import RunRecord, what_is_wrong
from runner.ledger.database import connected, transaction, translated
from runner.ledger.removal import unfinished_removals
from runner.ledger.rows import directory_of, forked_from, images_of, waiting
from runner.ledger.schema import UnusableLedger
from runner.ledger.store import LEDGER_FILE, ledger_path, open_ledger

_COMPANIONS = ("", "-wal", "-shm", "-journal")
"""Endings of the files that together are a SQLite database."""


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What a rebuild came to."""

    runs: int
    """Runs in the ledger now."""
    problems: tuple[str, ...]
    """Run directories that could not be entered, and why."""
    kept: Path | None
    """Where the old ledger was put, if it could not be used."""


@dataclass(frozen=True)
class _Found:
    directory: str
    record: RunRecord | None
    problem: str = ""


def rebuild(output: Path) -> Rebuilt:
    """Enter what the run directories say, and nothing else, keeping leases.

    A run counts as done when everything of it is known to be on the disk: its record says how it ended, and its archive
    is there, as none is wanted or the ledger had been told so, which it is only after the archive. One whose archive is
    missing is entered as begun: `runner go` writes the archive, or, if the machine was started again since, carries
    the run out again, as what it left may not have reached the disk. So is one that was cut off; of that nothing but the
    record is looked at here.

    A ledger that cannot be used (damaged, of a newer version, of another program) is put aside first, never deleted.
    Call it with the folder claimed: a runner at work would lose the runs it has planned and not begun.

    Args:
        output: folder of run directories.

    Raises:
        StorageError: if the ledger cannot be written or put aside.
    """
    path = ledger_path(output)
    try:
        with connected(path) as connection, translated(path):
            _require_sound(connection, path)
            return _fill(connection, output, None)
    except UnusableLedger:
        kept = _put_aside(path)
    with connected(path) as connection, translated(path):
        return _fill(connection, output, kept)


def check(output: Path) -> tuple[str, ...]:
    """Return a sentence for each thing in which the ledger and the run directories differ.

    Raises:
        UnusableLedger: if the file is damaged: every page and every index of it is looked at.
        StorageError: if the ledger cannot be used.
    """
    path = ledger_path(output)
    with connected(path) as connection, translated(path):
        _require_sound(connection, path)
    found = {one.directory: one for one in _directories(output)}
    with open_ledger(ledger_path(output)) as ledger:
        rows = {row.directory: row for row in ledger.rows()}
    said = [f"{one.directory}: {one.problem}" for one in found.values() if one.problem]
    for directory, one in found.items():
        if one.record is None:
            continue
        row = rows.get(directory)
        record = _believed(one.record, output, row.outcome if row is not None else None)
        if row is None:
            said.append(f"{directory}: not in the ledger")
        elif row.state != "leased" and row.outcome != record.outcome:
            said.append(f"{directory}: {_word(one.record, record)}, the ledger {row.outcome or row.state}")
        elif row.state != "leased" and bool(row.waits_for) != bool(waiting(one.record)):
            waits = "waits for approval" if waiting(one.record) else "does not wait for approval"
            said.append(f"{directory}: by its record it {waits}, the ledger says {row.outcome or row.state}")
    said += [
        f"{directory}: {row.outcome} in the ledger, and there is no such directory"
        for directory, row in rows.items()
        if row.state == "done" and directory not in found
    ]
    said += [
        f"{hidden.relative_to(output)}: its removal was cut off; `runner clean --yes` finishes it"
        for hidden in unfinished_removals(output)
    ]
    return tuple(sorted(said))


def _fill(connection: sqlite3.Connection, output: Path, kept: Path | None) -> Rebuilt:
    problems = []
    with transaction(connection):
        highest = connection.execute("SELECT coalesce(max(fence), 0) FROM runs").fetchone()[0]
        # A fence from the clock is above every one that a ledger now put aside ever counted to.
        fence = max(int(time.time()), highest + 1)
        told = dict(connection.execute("SELECT digest, outcome FROM runs WHERE state = 'done'"))
        connection.execute("DELETE FROM runs WHERE state <> 'leased'")
        for one in _directories(output):
            if one.record is None or one.record.run.digest is None:
                problems.append(f"{one.directory}: {one.problem or 'its record has no digest'}")
            else:
                record = _believed(one.record, output, told.get(one.record.run.digest))
                _enter(connection, record, output, fence)
        runs = int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
    return Rebuilt(runs=runs, problems=tuple(problems), kept=kept)


def _believed(record: RunRecord, output: Path, told: str | None) -> RunRecord:
    """Return a record as far as the disk is known to hold what it speaks of.

    Args:
        record: as it is on disk.
        output: folder of run directories.
        told: the outcome that the ledger had; None: none, or there was no ledger.
    """
    sealed = record.archive is None or (output / directory_of(record.run) / record.archive).is_file()
    if record.outcome is None or sealed or told == record.outcome:
        return record
    return record.model_copy(update={"outcome": None, "reason": "", "finished_at": None})


def _word(record: RunRecord, believed: RunRecord) -> str:
    if record.outcome is not None and believed.outcome is None:
        return f"its record says {record.outcome} and its archive is not there"
    return f"its record says {record.outcome or 'that it has not ended'}"


def _enter(connection: sqlite3.Connection, record: RunRecord, output: Path, fence: int) -> None:
    run, done = record.run, record.outcome is not None
    totals = newest_totals(RunLayout(output / directory_of(run))) if done else {}
    connection.execute(
        "INSERT OR IGNORE INTO runs (digest, run_id, experiment, framework, scenario, repetition, directory, state,"
        " fence, outcome, reason, model_label, started_at, finished_at, metrics, waits_for,"
        " forked_from, images) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run.digest,
            run.id,
            run.experiment,
            run.framework.name,
            run.scenario,
            run.repetition,
            directory_of(run),
            "done" if done else "planned",
            fence,
            record.outcome,
            record.reason,
            record.model_label,
            record.started_at,
            record.finished_at,
            json.dumps(totals),
            waiting(record),
            forked_from(run),
            images_of(run),
        ),
    )
    connection.execute("INSERT OR IGNORE INTO memberships VALUES (?, ?)", (run.experiment, run.digest))


def _directories(output: Path) -> Iterator[_Found]:
    """Yield every run directory below the output folder, in order; hidden folders hold no runs of today."""
    for framework in _folders(output):
        for root in _folders(framework):
            directory = f"{framework.name}/{root.name}"
            try:
                record = RunRecord.model_validate_json(RunLayout(root).metadata.read_bytes())
            except FileNotFoundError:
                yield _Found(directory, None, "it has no metadata.json")
            except OSError as error:
                yield _Found(directory, None, f"its metadata.json cannot be read: {error.strerror}")
            except ValueError as error:
                yield _Found(directory, None, f"its metadata.json is no record: {what_is_wrong(error)}")
            else:
                yield _check_place(directory, record)


def _check_place(directory: str, record: RunRecord) -> _Found:
    if directory_of(record.run) != directory:
        return _Found(directory, None, f"it holds the record of {directory_of(record.run)}")
    return _Found(directory, record)


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            names = [one.name for one in entries if one.is_dir(follow_symlinks=False) and not one.name.startswith(".")]
    except OSError as error:
        raise storage_error(f"cannot list {parent}", error) from error
    return [parent / name for name in sorted(names)]


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise UnusableLedger(
            f"the ledger {path} is damaged",
            why=f"SQLite says: {found}",
            hint="`runner ledger rebuild` keeps the file aside and makes a new one from the run directories; no run is lost",
        )


def _put_aside(path: Path) -> Path:
    """Rename an unusable ledger with its companions."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    number = 1
    while (kept := path.with_name(f"{LEDGER_FILE}.{stamp}.{number}")).exists():
        number += 1
    try:
        for ending in _COMPANIONS:
            companion = path.with_name(path.name + ending)
            if companion.exists():
                companion.rename(kept.with_name(kept.name + ending))
    except OSError as error:
        raise storage_error(f"cannot put {path} aside", error) from error
    return kept
