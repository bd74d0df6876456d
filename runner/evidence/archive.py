"""Write a run directory as one deterministic archive: the same tree gives the same tar on every machine.

Members stand in the order of their path bytes, and the manifest after them. Times, owners and everything of the permissions but
"can be executed" are normalised; hard links are files of their own. The tar's digest depends on the tree alone, the
archive's also on the version of the compression library.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import TEMPORARY_PREFIX, is_temporary, replacing_all
from runner.evidence.content import Changed, pack_file
from runner.evidence.excludes import left_out, summary
from runner.evidence.history.blobs import SEEN
from runner.evidence.layout import RunLayout
from runner.evidence.manifest import LARGEST, MANIFEST, MOST, Listed, Skipped, encode
from runner.evidence.pack import Packer, ReadError
from runner.evidence.tarformat import TarFile, TarFolder, TarLink, header, padding
from runner.evidence.walk import DIRECTORY, FILE, LINK, TOO_DEEP, Entry, RawPath, opened, walk

LARGEST_MEMBER = 8 * 1024**3
"""Bytes of the largest file that is archived: a sparse file may claim to be larger than any disk."""
_OWN_NAME = MANIFEST.encode()
_TEMPORARY = TEMPORARY_PREFIX.encode()
_STEPS = b"steps/"
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


def write_archive(
    layout: RunLayout,
    kind: str,
    *,
    exclude: Sequence[str] = (),
    target: Path | None = None,
    largest: int = LARGEST_MEMBER,
) -> ArchiveInfo:
    """Archive a run directory, beside its digests, all replaced in one step each and the archive last.

    Args:
        layout: the run; its archives and their digests are no members, nor are copies of steps that its history has.
        kind: `zstd` or `gzip`.
        exclude: patterns of workspace paths that are left out, as `runner.spec.patterns` has them.
        target: file to write instead of the run's own archive; then no digests are written beside it.
        largest: bytes of the largest file that is archived.

    Returns:
        Digests, size and what was left out: what the patterns say, sockets, FIFOs and devices, files that are unreadable,
        too large or being written all the time, and what has a path longer than LONGEST_PATH. The manifest lists the same.

    Raises:
        StorageError: if the archive cannot be written, or the tree keeps changing.
    """
    restless: Counter[RawPath] = Counter()
    for _ in range(_TRIES):
        leave_out = {path for path, times in restless.items() if times >= _PATIENCE}
        try:
            return _attempt(layout, kind, target, _Choice.of(layout, exclude, largest, leave_out))
        except Changed as change:
            restless[change.path] += 1
    raise StorageError(
        f"cannot archive {layout.root}",
        why=f"its files changed in each of {_TRIES} attempts",
        hint="something still writes there; `runner runs` shows what is running",
    )


def _attempt(layout: RunLayout, kind: str, target: Path | None, choice: _Choice) -> ArchiveInfo:
    path = target or layout.archive(kind)
    # The archive is the last of them to take its place: where it stands, its digests do too.
    digests = [layout.archive_digest(kind), layout.tar_digest] if target is None else []
    with (
        opened(layout.root) as root,
        replacing_all([*digests, path]) as (*texts, stream),
        Packer(stream, kind) as packer,
    ):
        members = [one for name, entry in choice.entries(root) if (one := _take(packer, root, name, entry, choice))]
        skipped = tuple(sorted(choice.skipped, key=lambda one: one.path))
        manifest = encode(members, skipped, sorted(choice.derivable)) if len(members) <= MOST else b""
        if not manifest or len(manifest) > LARGEST:
            raise StorageError(
                f"cannot archive {layout.root}: {len(members)} members are more than an archive can list",
                hint="leave some of them out with `exclude_files`, or say `archive: off`",
            )
        head = header(TarFile(path=_OWN_NAME, size=len(manifest), executable=False))
        packer.close(head + manifest + padding(len(manifest)))
        for text, (sha256, name) in zip(
            texts, [(packer.sha256, path.name), (packer.tar_sha256, path.stem)], strict=False
        ):
            text.write(f"{sha256}  {name}\n".encode())
    return ArchiveInfo(
        path=path,
        sha256=packer.sha256,
        tar_sha256=packer.tar_sha256,
        bytes=packer.bytes,
        members=len(members) + 1,
        skipped=skipped,
    )


def _take(packer: Packer, root: int, path: RawPath, entry: Entry, choice: _Choice) -> Listed | None:
    """Give one name to the archive, and return how the manifest lists it; None if it is left out."""
    if entry.kind == DIRECTORY:
        packer.write(header(folder := TarFolder(path=path)))
        return Listed(member=folder)
    if entry.kind == LINK:
        packer.write(header(link := TarLink(path=path, target=entry.target)))
        return Listed(member=link)
    if reason := choice.reason(path, entry):
        choice.skip(path, reason)
        return None
    return _take_file(packer, root, path, entry, choice)


def _take_file(packer: Packer, root: int, path: RawPath, entry: Entry, choice: _Choice) -> Listed | None:
    """Give a file to the archive, as far as it has been read: that it can be is known only then."""
    member = TarFile(path=path, size=entry.size, executable=bool(entry.mode & stat.S_IXUSR))
    try:
        return Listed(member=member, sha256=pack_file(packer, header(member), root, path, entry))
    except ReadError as error:
        if error.begun:
            raise Changed(path) from error
        choice.skip(path, f"cannot be read: {error.strerror}")
        return None


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """What of a tree is archived, and what is not and why."""

    own: frozenset[bytes]
    """Names that an archive never holds."""
    copies: Mapping[bytes, RawPath]
    """Names that the history has in another form, and that folder or file of the history."""
    workspace: bytes
    exclude: Sequence[str]
    largest: int
    leave_out: set[RawPath]
    skipped: list[Skipped] = field(default_factory=list)
    derivable: set[tuple[RawPath, RawPath]] = field(default_factory=set)
    """Names that were met and left out because the history has them, and where."""

    @classmethod
    def of(cls, layout: RunLayout, exclude: Sequence[str], largest: int, leave_out: set[RawPath]) -> _Choice:
        history = _relative(layout, layout.history)
        copies = [path for step in layout.steps() for path in (step.copy, step.packed_copy)]
        return cls(
            own=_own_names(layout),
            copies={_relative(layout, path): history for path in copies},
            workspace=_relative(layout, layout.workspace) + b"/",
            exclude=exclude,
            largest=largest,
            leave_out=leave_out,
        )

    def entries(self, root: int) -> list[tuple[RawPath, Entry]]:
        """Return the names that may be members, in order."""
        unreadable: list[RawPath] = []
        too_deep: list[RawPath] = []
        found = dict(
            one
            for one in walk(root, unreadable.append, too_deep.append)
            if one[0] not in self.own and not _is_unfinished(one[0]) and not self._is_copy(one[0])
        )
        for path in unreadable:
            self.skip(path, "a folder that cannot be listed")
        for path in too_deep:
            self.skip(path, TOO_DEEP)
        if self.exclude:
            self._exclude(found)
        return sorted(found.items())

    def skip(self, path: RawPath, reason: str) -> None:
        self.skipped.append(Skipped(path=path, reason=reason))

    def reason(self, path: RawPath, entry: Entry) -> str:
        """Return why a name that is neither a folder nor a link is left out; empty if it is not."""
        if entry.kind != FILE:
            return f"a {entry.kind}, which holds nothing to keep"
        if path == _OWN_NAME:
            return "the archive's own manifest has this name"
        if entry.size > self.largest:
            return f"{entry.size} bytes, more than the {self.largest} of the largest member"
        return "was being written all the time" if path in self.leave_out else ""

    def _is_copy(self, path: RawPath) -> bool:
        top = b"/".join(path.split(b"/", 3)[:3]) if path.startswith(_STEPS) else b""
        if top not in self.copies:
            return False
        self.derivable.add((top, self.copies[top]))
        return True

    def _exclude(self, found: dict[RawPath, Entry]) -> None:
        prefix = self.workspace
        inside = {path.removeprefix(prefix): entry for path, entry in found.items() if path.startswith(prefix)}
        gone = left_out(inside, self.exclude)
        for path in gone:
            del found[prefix + path]
        for one in summary(inside, gone):
            self.skip(prefix + one.path, one.reason)


def _is_unfinished(path: RawPath) -> bool:
    return path.startswith(_TEMPORARY) and is_temporary(os.fsdecode(path))


def _own_names(layout: RunLayout) -> frozenset[bytes]:
    """Return what an archive never holds: itself, its like, their digests, and what only this machine can use."""
    paths = [layout.tar_digest, layout.history / SEEN]
    for kind in ("zstd", "gzip"):
        paths += [layout.archive(kind), layout.archive_digest(kind)]
    return frozenset(_relative(layout, path) for path in paths)


def _relative(layout: RunLayout, path: Path) -> bytes:
    return os.fsencode(path.relative_to(layout.root))
