"""Blobs of a history: files named by the sha256 of what is in them, written once, shared with sibling runs."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import TEMPORARY_PREFIX, storage_error, write_bytes

SEEN = "seen.zst"
"""What the files looked like when they were last read: of use on this machine only, so it is in no archive."""
_HEX = frozenset("0123456789abcdef")
_DIGEST = 64


@dataclass(frozen=True)
class Blobs:
    """The blobs of one run's history.

    Args:
        history: the run's folder `history`.
        siblings: the same of other runs; an equal blob of theirs is shared by a hard link.
    """

    history: Path
    siblings: Sequence[Path] = ()

    def path(self, sha256: str) -> Path:
        """Return where a blob is.

        Raises:
            StorageError: if that is no digest.
        """
        if len(sha256) != _DIGEST or not _HEX.issuperset(sha256):
            raise StorageError(f"{sha256[:80]!r} is no sha256", where=str(self.history))
        return self.history / "blobs" / "sha256" / sha256

    def add(self, data: bytes) -> str:
        """Keep bytes and return their digest."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        if not path.exists():
            write_bytes(path, data)
        return sha256

    def new(self) -> Path:
        """Return the path of a file to fill, in the folder of blobs."""
        folder = self.history / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"

    def take(self, temporary: Path, sha256: str) -> None:
        """Give a filled file its name, or a sibling's equal one in its place, which costs no room.

        The sibling's bytes are compared, not its name believed: a damaged copy must not spread.
        """
        path = self.path(sha256)
        for other in self.siblings:
            with contextlib.suppress(OSError):
                twin = Blobs(other).path(sha256)
                if filecmp.cmp(twin, temporary, shallow=False):
                    shared = self.new()
                    os.link(twin, shared)
                    shared.replace(path)
                    temporary.unlink()
                    return
        temporary.replace(path)

    def read(self, sha256: str) -> bytes:
        """Return a blob's bytes.

        Raises:
            StorageError: if it is missing, or not what its name says.
        """
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise storage_error(f"cannot read {path}", error) from error
        if (actual := hashlib.sha256(data).hexdigest()) != sha256:
            raise StorageError("a blob of the history is damaged", where=str(path), why=f"its sha256 is {actual}")
        return data
