"""What has to be true before a run's own archive is written again: nothing may go that only the old one has."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from runner.cli.finding import Place
from runner.errors import StorageError
from runner.evidence.compress import DECOMPRESSION_ERRORS
from runner.evidence.listing import read_manifest
from runner.evidence.proof import check_run
from runner.evidence.walk import show_path
from runner.report.format import plural


def require_whole(place: Place) -> None:
    """Refuse a run that is damaged, or lacks what an archive of its own still has; one without an archive passes.

    Raises:
        StorageError: if it is such a run, naming the first of what is wrong.
    """
    layout = place.layout
    archives = [path for kind in ("zstd", "gzip") if (path := layout.archive(kind)).is_file()]
    if not archives:
        return
    found = check_run(layout)
    own = {path.name for path in archives}
    problems = [text for name, texts in found.items() if name not in own for text in texts]
    what = f"the run {place.run_id} is damaged"
    if not problems:
        problems = [f"{name} is missing" for path in archives for name in _lost(path, layout.root)]
        what = f"the run {place.run_id} has not all that its archive has"
    if not problems:
        return
    sound = next((path for path in archives if not found.get(path.name)), None)
    more = f", and {plural(len(problems) - 1, 'more problem')}" if len(problems) > 1 else ""
    raise StorageError(
        f"{what}: {problems[0]}{more}",
        where=str(layout.root),
        why=f"its archive is {'sound' if sound else 'damaged too'}, and would be replaced by a poorer one",
        hint=(f"the archive stands for the run: runner show {sound}; or " if sound else "")
        + f"archive what is left somewhere else: runner archive {place.run_id} --to FILE",
    )


def _lost(archive: Path, root: Path) -> list[str]:
    """Return what an archive has and the run has not any more; nothing of one that cannot be read."""
    try:
        listed = read_manifest(archive).listed
    except (ValueError, tarfile.TarError, *DECOMPRESSION_ERRORS):
        return []
    names = (one.member.path for one in listed)
    return [show_path(name) for name in names if not os.path.lexists(root / os.fsdecode(name))]
