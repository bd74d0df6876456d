"""What is in a workspace, byte for byte, so that those of two runs can be compared: directories or archived ones."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.compress import DECOMPRESSION_ERRORS
from runner.evidence.excludes import left_out
from runner.evidence.listing import read_manifest
from runner.evidence.manifest import Listed
from runner.evidence.tarformat import TarFile, TarFolder, TarLink
from runner.evidence.walk import DIRECTORY, FILE, LINK, Entry, RawPath, open_below, opened, show_path, walk


@dataclass(frozen=True)
class Contents:
    """Every path of a tree with what is there: a file's digest and whether it can be executed, a link's target.

    Times, owners and other permissions do not count; neither do sockets, FIFOs and devices, which hold nothing, and what is
    so deep that its path is longer than LONGEST_PATH, which no archive holds.
    """

    entries: Mapping[RawPath, str]

    @cached_property
    def sha256(self) -> str:
        """Return the digest of all of it: equal trees have equal ones, on every machine."""
        found = hashlib.sha256()
        for path, what in sorted(self.entries.items()):
            found.update(path + b"\0" + what.encode("utf-8", "surrogateescape") + b"\0")
        return found.hexdigest()

    @property
    def files(self) -> int:
        """Return how many regular files there are."""
        return sum(what.startswith("file ") for what in self.entries.values())


def read_contents(root: Path, exclude: Sequence[str] = ()) -> Contents:
    """Look at everything below a folder; no link is followed.

    Args:
        root: the folder.
        exclude: patterns of paths that do not count, as `runner.spec.patterns` has them.

    Raises:
        StorageError: if something cannot be read.
    """
    unreadable: list[RawPath] = []
    with opened(root) as handle:
        there = dict(walk(handle, unreadable.append, lambda _: None))
        gone = left_out(there, exclude)
        entries = {
            path: what for path, entry in there.items() if path not in gone and (what := _describe(handle, path, entry))
        }
    if unreadable:
        raise StorageError(f"a folder of {root} cannot be listed: {show_path(unreadable[0])}")
    return Contents(entries)


def archived_contents(archive: Path, folder: str) -> Contents:
    """Look at a folder of a run's archive, as its manifest lists it.

    Args:
        archive: an archive that `verify_archive` found nothing wrong with: the manifest is believed.
        folder: path of the folder within the run.

    Raises:
        StorageError: if it has no usable manifest.
    """
    prefix = folder.encode() + b"/"
    members = {one.member.path: one for one in _manifest(archive)}
    return Contents(
        {path.removeprefix(prefix): _listed(one) for path, one in members.items() if path.startswith(prefix)}
    )


def differences(one: Contents, other: Contents) -> list[tuple[str, str]]:
    """Return the paths where two trees differ, sorted, each with how: `only in the first`, `only in the second`, ..."""
    paths = sorted(path for path in {*one.entries, *other.entries} if one.entries.get(path) != other.entries.get(path))
    return [(show_path(path), _how(one.entries.get(path), other.entries.get(path))) for path in paths]


def _how(old: str | None, new: str | None) -> str:
    if old is None:
        return "only in the second"
    if new is None:
        return "only in the first"
    kinds = [what.partition(" ")[0] for what in (old, new)]
    return "differs" if kinds[0] == kinds[1] else f"a {kinds[0]} in the first, a {kinds[1]} in the second"


def _describe(root: int, path: RawPath, entry: Entry) -> str:
    """Return what is at a path; empty for what does not count."""
    if entry.kind == DIRECTORY:
        return "folder"
    if entry.kind == LINK:
        return f"link {entry.target.decode('utf-8', 'surrogateescape')}"
    if entry.kind != FILE:
        return ""
    try:
        with os.fdopen(open_below(root, path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            return _file(hashlib.file_digest(stream, "sha256").hexdigest(), executable=bool(entry.mode & stat.S_IXUSR))
    except OSError as error:
        raise StorageError(f"cannot read {show_path(path)}: {error.strerror}") from error


def _listed(one: Listed) -> str:
    match one.member:
        case TarFile(executable=executable):
            return _file(one.sha256, executable=executable)
        case TarFolder():
            return "folder"
        case TarLink(target=target):
            return f"link {target.decode('utf-8', 'surrogateescape')}"


def _file(digest: str, *, executable: bool) -> str:
    return f"file {digest}{' executable' if executable else ''}"


def _manifest(archive: Path) -> list[Listed]:
    """Return what an archive's manifest lists."""
    try:
        return read_manifest(archive).listed
    except (ValueError, tarfile.TarError, *DECOMPRESSION_ERRORS) as error:
        raise StorageError("the archive's manifest cannot be used", where=str(archive), why=str(error)) from None
