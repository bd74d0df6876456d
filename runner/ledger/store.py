"""The ledger: which runs are planned, leased, suspended and done. An index; the run directories are the truth."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from runner.engine.owner import Owner, from_labels, is_alive
from runner.errors import StorageError
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.ledger.database import connected, transaction, translated
from runner.ledger.rows import (
    SELECT_PAST,
    Lease,
    LedgerRow,
    count_rows,
    directory_of,
    forked_from,
    images_of,
    past_run,
    planned_digest,
    row,
    select_rows,
    waiting,
)
from runner.plan.models import Run
from runner.plan.resume import PastRun

LEDGER_FILE = ".ledger.sqlite"


def ledger_path(output: Path) -> Path:
    """Return where the ledger of an output folder is: inside it, so that both move together."""
    return output / LEDGER_FILE


@contextlib.contextmanager
def open_ledger(path: Path, *, alive: Callable[[Owner], bool] = is_alive) -> Iterator[Ledger]:
    """Open the ledger of an output folder, making it if there is none.

    Args:
        path: the file, as `ledger_path` gives it.
        alive: says whether an owner still runs.

    Raises:
        StorageError: if it cannot be used; the message says whether `runner ledger rebuild` helps.
    """
    with connected(path) as connection:
        yield Ledger(path, connection, alive)


class Ledger:
    """An open ledger; safe to use from several threads and, each with its own, several processes.

    Every method raises StorageError if the file cannot be read or written. Get one from `open_ledger`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, alive: Callable[[Owner], bool]) -> None:
        self._path = path
        self._connection = connection
        self._alive = alive
        self._lock = threading.RLock()

    def register(self, runs: Iterable[Run], output: Path) -> None:
        """Enter planned runs; what the ledger already knows of one stays.

        Args:
            runs: planned runs with digests.
            output: folder of run directories.

        Raises:
            StorageError: if this is not the ledger of that folder.
            ValueError: if a run has no digest.
        """
        if output.resolve() != self._path.parent.resolve():
            raise StorageError(
                f"{self._path} is not the ledger of {output}", hint=f"that folder's ledger is {ledger_path(output)}"
            )
        known = [(planned_digest(run), run) for run in runs]
        with self._using(), transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO runs (digest, run_id, experiment, framework, scenario, repetition, directory,"
                " forked_from, images) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (digest) DO UPDATE SET experiment = excluded.experiment, images = excluded.images",
                (
                    (
                        digest,
                        run.id,
                        run.experiment,
                        run.framework.name,
                        run.scenario,
                        run.repetition,
                        directory_of(run),
                        forked_from(run),
                        images_of(run),
                    )
                    for digest, run in known
                ),
            )
            self._connection.executemany(
                "INSERT OR IGNORE INTO memberships (experiment, digest) VALUES (?, ?)",
                ((run.experiment, digest) for digest, run in known),
            )

    def past(self, digests: Iterable[str]) -> Mapping[str, PastRun]:
        """Return those of the runs that were started some time, by digest; the outcome of an unfinished one is None."""
        with self._using():
            found = self._connection.execute(SELECT_PAST, (json.dumps(list(digests)),))
            return {one.digest: one for one in map(past_run, found)}

    def lease(self, run: Run, owner: Owner) -> Lease | None:
        """Take the right to carry out a registered run; None if a live owner has it, this one included.

        A dead owner's lease is taken over. Leasing a run that is done forgets its outcome: until it is finished again,
        its directory alone knows it.

        Raises:
            StorageError: if the run was never registered.
        """
        digest = planned_digest(run)
        with self._using():
            query = "SELECT fence, state, owner FROM runs WHERE digest = ?"
            found = self._connection.execute(query, (digest,)).fetchone()
            if found is None:
                raise StorageError(f"run {run.id} is not in the ledger {self._path}", hint="runner ledger rebuild")
            fence, state, held = found
            if state == "leased" and self._is_held(held):
                return None
            # The fence that was seen is part of the condition: of several who come this far, one succeeds.
            changed = self._connection.execute(
                "UPDATE runs SET state = 'leased', owner = ?, fence = fence + 1, leased_at = ?, outcome = NULL,"
                " waits_for = '', reason = '', started_at = NULL, finished_at = NULL, metrics = '{}'"
                " WHERE digest = ? AND fence = ? AND state = ?",
                (json.dumps(owner.labels(), sort_keys=True), _now(), digest, fence, state),
            ).rowcount
            return Lease(digest=digest, fence=fence + 1) if changed else None

    def finish(self, lease: Lease, record: RunRecord, totals: Mapping[str, float | int | None]) -> bool:
        """Record a finished run, once.

        Args:
            lease: as `lease` gave it.
            record: the run's final record.
            totals: the run's metrics by name.

        Returns:
            False if the lease was lost or used before; nothing is changed then, and the run is somebody else's.

        Raises:
            ValueError: if the record has no outcome.
        """
        if record.outcome is None:
            raise ValueError(f"the record of {record.run.id} has no outcome")
        values = (
            record.outcome,
            record.reason,
            record.model_label,
            record.started_at,
            record.finished_at,
            json.dumps(dict(totals), allow_nan=False),
            lease.digest,
            lease.fence,
        )
        with self._using():
            changed = self._connection.execute(
                "UPDATE runs SET state = 'done', owner = NULL, outcome = ?, reason = ?, model_label = ?,"
                " started_at = ?, finished_at = ?, metrics = ? WHERE digest = ? AND fence = ? AND state = 'leased'",
                values,
            )
            return changed.rowcount == 1

    def judged(self, run: Run, totals: Mapping[str, float | int | None]) -> bool:
        """Replace the numbers of a run that is done, as it was judged again; False if it is not there, or not done."""
        with self._using():
            changed = self._connection.execute(
                "UPDATE runs SET metrics = ? WHERE digest = ? AND directory = ? AND state = 'done'",
                (json.dumps(dict(totals), allow_nan=False), run.digest, directory_of(run)),
            )
            return changed.rowcount == 1

    def release(self, lease: Lease) -> bool:
        """Give a lease back without a result; False if it was lost or used before."""
        with self._using():
            changed = self._connection.execute(
                "UPDATE runs SET state = 'planned', owner = NULL WHERE digest = ? AND fence = ? AND state = 'leased'",
                (lease.digest, lease.fence),
            )
            return changed.rowcount == 1

    def suspend(self, lease: Lease, record: RunRecord) -> bool:
        """Give a lease back because its run waits for people: from now on nobody holds it.

        Args:
            lease: as `lease` gave it.
            record: the run's record, which says what it waits for.

        Returns:
            False if the lease was lost or used before; nothing is changed then.

        Raises:
            ValueError: if the record waits for nobody.
        """
        asked = waiting(record)
        if not asked:
            raise ValueError(f"the record of {record.run.id} waits for nobody")
        with self._using():
            changed = self._connection.execute(
                "UPDATE runs SET state = 'planned', owner = NULL, waits_for = ?, model_label = ?, started_at = ?"
                " WHERE digest = ? AND fence = ? AND state = 'leased'",
                (asked, record.model_label, record.started_at, lease.digest, lease.fence),
            )
            return changed.rowcount == 1

    def rows(
        self,
        *,
        experiments: Collection[str] = (),
        frameworks: Collection[str] = (),
        scenarios: Collection[str] = (),
        outcomes: Collection[str] = (),
        states: Collection[str] = (),
        digests: Collection[str] = (),
        newest: int | None = None,
    ) -> list[LedgerRow]:
        """Return the runs that match every filter, by framework, scenario, repetition; an empty filter matches all.

        With `newest` at most so many, those that began last.
        """
        filters = {
            "experiments": experiments,
            "frameworks": frameworks,
            "scenarios": scenarios,
            "outcomes": outcomes,
            "states": states,
            "digests": digests,
        }
        with self._using():
            return [row(found) for found in self._connection.execute(*select_rows(filters, newest))]

    def counts(
        self,
        *,
        experiments: Collection[str] = (),
        frameworks: Collection[str] = (),
        scenarios: Collection[str] = (),
        outcomes: Collection[str] = (),
        states: Collection[str] = (),
    ) -> Mapping[str, int]:
        """Return how many runs match, by outcome, or by state where there is none yet; without reading the rows."""
        filters = {
            "experiments": experiments,
            "frameworks": frameworks,
            "scenarios": scenarios,
            "outcomes": outcomes,
            "states": states,
        }
        with self._using():
            return dict(self._connection.execute(*count_rows(filters)))

    def images(self) -> Mapping[str, Collection[str]]:
        """Return the config digests of each run's images, by directory; none where only the record says them."""
        with self._using():
            found = self._connection.execute("SELECT directory, images FROM runs")
            return {directory: images.split() for directory, images in found}

    def forget(self, digest: str) -> bool:
        """Take a run that is done out of the ledger; False if it is not there, or not done."""
        with self._using():
            changed = self._connection.execute("DELETE FROM runs WHERE digest = ? AND state = 'done'", (digest,))
            return changed.rowcount == 1

    def previous(self, run: Run) -> Run | None:
        """Return the latest started run of the same framework, scenario and repetition under another digest.

        It is read from its directory; None if there is none, or it is no longer there.
        """
        query = (
            "SELECT directory FROM runs WHERE framework = ? AND scenario = ? AND repetition = ? AND digest IS NOT ?"
            " AND fence > 0 ORDER BY coalesce(leased_at, started_at) DESC LIMIT 1"
        )
        with self._using():
            values = (run.framework.name, run.scenario, run.repetition, run.digest)
            found = self._connection.execute(query, values).fetchone()
        if found is None:
            return None
        try:
            metadata = RunLayout(self._path.parent / found[0]).metadata.read_bytes()
            return RunRecord.model_validate_json(metadata).run
        except (OSError, ValueError):
            return None

    def _is_held(self, labels: str) -> bool:
        owner = from_labels(json.loads(labels))
        # A lease that names nobody cannot be judged; it counts as held, so that nothing is done twice.
        return owner is None or self._alive(owner)

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        with self._lock, translated(self._path):
            yield


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
