"""Take steps out of a history: those whose workspace was kept before it was clear what they came to."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from runner.evidence.atomic import storage_error
from runner.evidence.history.blobs import Blobs
from runner.evidence.history.oci import KeptStep, read_steps, write_index


def keep_only(history: Path, numbers: Collection[int]) -> None:
    """Keep some steps of a history, and of its blobs what those need.

    No step that stays may have come from one that goes.

    Args:
        history: the run's folder `history`; it need not exist.
        numbers: of the steps that stay.

    Raises:
        StorageError: if it cannot be read or written; the steps are all there, or those that stay are.
    """
    steps = read_steps(history)
    stay = tuple(one for one in steps if one.number in numbers)
    if len(stay) == len(steps):
        return
    blobs = Blobs(history)
    write_index(blobs, stay)
    needed = {digest for one in stay for digest in _digests(one)}
    try:
        for digest in {digest for one in steps for digest in _digests(one)} - needed:
            blobs.path(digest).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(f"cannot tidy {history}", error) from error


def _digests(step: KeptStep) -> set[str]:
    own = {step.base, step.index, step.config, step.manifest, *(one.sha256 for one in step.layers)}
    return own - {""}
