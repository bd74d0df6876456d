"""What `runner clean` can remove of runs: by rule, whole, or what earlier attempts left; and what has to stay for them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from runner.cli.finding import Place, find_own_run
from runner.cli.groups import Group
from runner.engine.admission import measure_space
from runner.errors import RunnerError
from runner.evidence.copying import remove_tree
from runner.evidence.depot import Depot, deposit, open_depot
from runner.evidence.kept import kept
from runner.evidence.layout import RunLayout
from runner.evidence.usage import Meter
from runner.evidence.verify import verify_archive
from runner.execution.claim import claim
from runner.execution.resume import read_record
from runner.ledger.removal import finish_removals, remove_run, unfinished_removals
from runner.ledger.retention import Chosen, Rule, choose
from runner.ledger.rows import LedgerRow
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.report.format import size

_MINUTES = 16
"""Characters of an ISO 8601 time up to its minutes."""


@dataclass(frozen=True, kw_only=True)
class RunsWanted:
    """Which finished runs are looked at, and where their archives go."""

    rule: Rule
    filters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names by filter, as `Ledger.rows` takes them."""
    spare: tuple[str, ...] = ()
    """Runs that stay, as a person names them."""
    archive_to: str = ""
    """Path or URL; empty: nowhere."""


def unfinished(output: Path) -> Group | None:
    """Return what is left of removals that were cut off; None if there is nothing."""
    hidden = unfinished_removals(output)
    if not hidden:
        return None
    meter = Meter()
    items = tuple((str(path), size(meter.measure(path))) for path in hidden)

    def remove() -> list[str]:
        try:
            with _at_work(output) as ledger:
                return list(finish_removals(output, ledger))
        except RunnerError as error:
            return [str(error)]

    return Group(title="runs whose removal was cut off", items=items, remove=remove)


def runs_group(output: Path, wanted: RunsWanted) -> Group:
    """Return the finished runs that a rule lets go.

    Those of other users, those that are marked with `runner keep`, and what unfinished forks go on from stay.

    Raises:
        ConfigError: if a run that is to stay is not known, or archives cannot go where they should.
        StorageError: if the ledger or the marks cannot be read.
    """
    depot = open_depot(wanted.archive_to) if wanted.archive_to else None
    spare = {directory_of_place(find_own_run(output, one)) for one in wanted.spare} | set(kept(output))
    chosen = _choose(output, wanted, spare)

    def remove() -> list[str]:
        return _remove(output, chosen, depot)

    items = tuple((one.row.directory, _describe(one, wanted.archive_to)) for one in chosen)
    return Group(title="old runs", items=items, remove=remove, bytes=sum(one.bytes for one in chosen))


def _choose(output: Path, wanted: RunsWanted, spare: Collection[str]) -> Sequence[Chosen]:
    if not ledger_path(output).is_file():
        return ()
    with open_ledger(ledger_path(output)) as ledger:
        rows = ledger.rows()
        matching = {row.digest for row in ledger.rows(**wanted.filters, newest=None)} if wanted.filters else None

    def stays(row: LedgerRow) -> bool:
        other = matching is not None and row.digest not in matching
        return other or row.directory in spare or not _mine(output / row.directory)

    return choose(
        rows,
        wanted.rule,
        now=datetime.now(UTC),
        # One meter each: a file that two runs share counts for both, since either may be the one that stays.
        size=lambda row: Meter().measure(output / row.directory),
        spared=stays,
        free=measure_space(output).free,
    )


def _mine(root: Path) -> bool:
    """Tell whether a run directory is there and belongs to this user."""
    try:
        return root.lstat().st_uid == os.getuid()
    except OSError:
        return False


def _describe(one: Chosen, archive_to: str) -> str:
    row = one.row
    finished = (row.finished_at or "")[:_MINUTES].replace("T", " ")
    archived = f", archived to {archive_to} first" if archive_to else ""
    return f"{(row.outcome or row.state).replace('_', ' ')}, finished {finished}, {size(one.bytes)}{archived}"


def _remove(output: Path, chosen: Sequence[Chosen], depot: Depot | None) -> list[str]:
    problems: list[str] = []
    try:
        with _at_work(output) as ledger:
            problems += finish_removals(output, ledger)
            for one in chosen:
                try:
                    _remove_one(output, ledger, one.row, depot)
                except RunnerError as error:
                    problems.append(f"{one.row.directory}: {error}")
    except RunnerError as error:
        problems.append(str(error))
    return problems


def _remove_one(output: Path, ledger: Ledger, row: LedgerRow, depot: Depot | None) -> None:
    """Remove one run, if it still is what was shown; its archive is elsewhere before that."""
    layout = RunLayout(output / row.directory)
    if row not in ledger.rows(digests=(row.digest,)):
        return
    record = read_record(layout)
    if depot is not None and record is not None:
        deposit(depot, layout, record)
    remove_run(output, ledger, row)


@contextmanager
def _at_work(output: Path) -> Iterator[Ledger]:
    """Hold the folder, so that no runner begins what is being removed, and its ledger."""
    with claim(output), open_ledger(ledger_path(output)) as ledger:
        yield ledger


def attempts_group(output: Path) -> Group:
    """Return what earlier attempts of finished runs left, where the run's archive holds it too."""
    found = [(row, folders) for row in _done(output) if (folders := _attempts(output, row))]
    meter = Meter()
    sizes = [sum(meter.measure(folder) for folder in folders) for _, folders in found]
    items = tuple((row.directory, size(room)) for (row, _), room in zip(found, sizes, strict=True))

    def remove() -> list[str]:
        return [problem for row, folders in found for problem in _remove_attempts(output, row, folders)]

    return Group(title="earlier attempts", items=items, remove=remove, bytes=sum(sizes))


def _done(output: Path) -> list[LedgerRow]:
    if not ledger_path(output).is_file():
        return []
    with open_ledger(ledger_path(output)) as ledger:
        return ledger.rows(states=("done",))


def _attempts(output: Path, row: LedgerRow) -> list[Path]:
    layout = RunLayout(output / row.directory)
    if _archive(layout) is None or not _mine(layout.root):
        return []
    return [step.attempt(1).root.parent for step in layout.steps() if step.attempt(1).root.parent.is_dir()]


def _archive(layout: RunLayout) -> Path | None:
    return next((path for kind in ("zstd", "gzip") if (path := layout.archive(kind)).is_file()), None)


def _remove_attempts(output: Path, row: LedgerRow, folders: Sequence[Path]) -> list[str]:
    """Remove the folders of one run's earlier attempts once its archive has proved whole."""
    try:
        with claim(output):
            archive = _archive(RunLayout(output / row.directory))
            if archive is None or verify_archive(archive):
                return [f"{row.directory}: they stay, its archive is not whole: runner verify {row.directory}"]
            for folder in folders:
                remove_tree(folder)
    except RunnerError as error:
        return [f"{row.directory}: {error}"]
    return []


def images_of_kept_runs(output: Path) -> Collection[str]:
    """Return the config digests of images that a run of this folder was made with, so that it can be done again."""
    if not ledger_path(output).is_file():
        return ()
    with open_ledger(ledger_path(output)) as ledger:
        known = ledger.images()
    found = {image for images in known.values() for image in images}
    for directory in (directory for directory, images in known.items() if not images):
        record = read_record(RunLayout(output / directory))
        if record is not None:
            steps = (step.image for step in record.run.steps)
            found |= {one.id for one in (record.run.image, *steps) if one is not None and one.id is not None}
    return found


def directory_of_place(place: Place) -> str:
    """Return a run's directory relative to the output folder."""
    return f"{place.framework}/{place.run_id}"
