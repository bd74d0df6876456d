"""Write a run directory as one deterministic archive: the same tree gives the same tar on every machine.

Members stand in the order of their path bytes, after the manifest. Times, owners and everything of the permissions but
"can be executed" are normalised; hard links are files of their own. The tar's digest depends on the tree alone, the
archive's also on the version of the compression library.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import is_temporary, replacing, write_text
from runner.evidence.content import Changed, read_file
from runner.evidence.history.blobs import SEEN
from runner.evidence.layout import RunLayout
from runner.evidence.manifest import MANIFEST, Listed, Skipped, encode
from runner.evidence.pack import Packer
from runner.evidence.tarformat import TarFile, TarFolder, TarLink, TarMember, header, padding
from runner.evidence.walk import DIRECTORY, FILE, LINK, Entry, RawPath, opened, walk

LARGEST_MEMBER = 8 * 1024**3
"""Bytes of the largest file that is archived: a sparse file may claim to be larger than any disk."""
_PATIENCE = 2
"""Times a file may be found changing before it is left out."""
_TRIES = 20


@dataclass(frozen=True, kw_only=True)
class ArchiveInfo:
    """An archive that has been written."""

    path: Path
    sha256: str
    """Of the file."""
    tar_sha256: str
    """Of the tar inside."""
    bytes: int
    """Size of the file."""
    members: int
    """The manifest included."""
    skipped: tuple[Skipped, ...]


def write_archive(layout: RunLayout, kind: str, *, largest: int = LARGEST_MEMBER) -> ArchiveInfo:
    """Archive a run directory, beside its digests, all replaced in one step each and the archive last.

    Args:
        layout: the run; its archives and their digests are no members.
        kind: `zstd` or `gzip`.
        largest: bytes of the largest file that is archived.

    Returns:
        Digests, size and what was left out: sockets, FIFOs and devices, files that are unreadable, too large or being
        written all the time. The manifest lists the same.

    Raises:
        StorageError: if the archive cannot be written, or the tree keeps changing.
    """
    restless: Counter[RawPath] = Counter()
    for _ in range(_TRIES):
        try:
            return _attempt(layout, kind, largest, {path for path, times in restless.items() if times >= _PATIENCE})
        except Changed as change:
            restless[change.path] += 1
    raise StorageError(
        f"cannot archive {layout.root}",
        why=f"its files changed in each of {_TRIES} attempts",
        hint="something still writes there; `runner runs` shows what is running",
    )


def _attempt(layout: RunLayout, kind: str, largest: int, leave_out: set[RawPath]) -> ArchiveInfo:
    path = layout.archive(kind)
    with opened(layout.root) as root:
        selection = _Selection(root=root, own=_own_names(layout), largest=largest, leave_out=leave_out)
        chosen = selection.choose()
        manifest = encode((one for one, _ in chosen), selection.skipped)
        with replacing(path) as stream, Packer(stream, kind) as sink:
            sink.write(header(TarFile(path=MANIFEST.encode(), size=len(manifest), executable=False)))
            sink.write(manifest + padding(len(manifest)))
            for listed, entry in chosen:
                _write_member(sink, root, listed.member, entry)
            sink.close()
            # The archive takes its place when this block ends: where it stands, its digests do too.
            write_text(layout.archive_digest(kind), f"{sink.sha256}  {path.name}\n")
            write_text(layout.tar_digest, f"{sink.tar_sha256}  {path.with_suffix('').name}\n")
    return ArchiveInfo(
        path=path,
        sha256=sink.sha256,
        tar_sha256=sink.tar_sha256,
        bytes=sink.bytes,
        members=len(chosen) + 1,
        skipped=tuple(selection.skipped),
    )


def _write_member(sink: Packer, root: int, member: TarMember, entry: Entry) -> None:
    sink.write(header(member))
    if isinstance(member, TarFile):
        for chunk in _read_again(root, member.path, entry):
            sink.write(chunk)
        sink.write(padding(member.size))


def _own_names(layout: RunLayout) -> frozenset[bytes]:
    """Return what an archive never holds: itself, its like, their digests, and what only this machine can use."""
    paths = [layout.tar_digest, layout.history / SEEN]
    for kind in ("zstd", "gzip"):
        paths += [layout.archive(kind), layout.archive_digest(kind)]
    return frozenset(os.fsencode(path.relative_to(layout.root)) for path in paths)


@dataclass(frozen=True, kw_only=True)
class _Selection:
    """What of a tree is archived, and what is not and why."""

    root: int
    own: frozenset[bytes]
    largest: int
    leave_out: set[RawPath]
    skipped: list[Skipped] = field(default_factory=list)

    def choose(self) -> list[tuple[Listed, Entry]]:
        """Return the members in order, with the digests of their content."""
        names = (
            one
            for one in walk(self.root, lambda folder: self._skip(folder, "a folder that cannot be listed"))
            if one[0] not in self.own and not is_temporary(os.fsdecode(one[0]))
        )
        chosen = [(one, entry) for path, entry in sorted(names) if (one := self._list(path, entry)) is not None]
        self.skipped.sort(key=lambda one: one.path)
        return chosen

    def _skip(self, path: RawPath, reason: str) -> None:
        self.skipped.append(Skipped(path=path, reason=reason))

    def _list(self, path: RawPath, entry: Entry) -> Listed | None:
        if entry.kind == DIRECTORY:
            return Listed(member=TarFolder(path=path))
        if entry.kind == LINK:
            return Listed(member=TarLink(path=path, target=entry.target))
        reason = self._reason(path, entry)
        try:
            digest = "" if reason else self._digest(path, entry)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        if reason:
            self._skip(path, reason)
            return None
        member = TarFile(path=path, size=entry.size, executable=bool(entry.mode & stat.S_IXUSR))
        return Listed(member=member, sha256=digest)

    def _reason(self, path: RawPath, entry: Entry) -> str:
        """Return why a name that is neither a folder nor a link is left out; empty if it is not."""
        if entry.kind != FILE:
            return f"a {entry.kind}, which holds nothing to keep"
        if path == MANIFEST.encode():
            return "the archive's own manifest has this name"
        if entry.size > self.largest:
            return f"{entry.size} bytes, more than the {self.largest} of the largest member"
        return "was being written all the time" if path in self.leave_out else ""

    def _digest(self, path: RawPath, entry: Entry) -> str:
        digest = hashlib.sha256()
        for chunk in read_file(self.root, path, entry):
            digest.update(chunk)
        return digest.hexdigest()


def _read_again(root: int, path: RawPath, entry: Entry) -> Iterator[bytes]:
    """Read a file that could be read a moment ago: whatever goes wrong now is a change."""
    try:
        yield from read_file(root, path, entry)
    except OSError as error:
        raise Changed(path) from error
