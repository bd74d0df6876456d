"""Take an archive apart: only members that its manifest lists, checked, and never outside the folder they go to."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error
from runner.evidence.compress import DECOMPRESSION_ERRORS, decompressed
from runner.evidence.folders import Folders
from runner.evidence.listing import read_manifest
from runner.evidence.manifest import Skipped
from runner.evidence.tarformat import TarFile, TarFolder, TarLink, permissions
from runner.evidence.tarreader import stream_tar
from runner.evidence.verify import Checked, Hashing, Problem, read_checked
from runner.evidence.walk import LONGEST_PATH, RawPath, opened, show_path

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

_NO_NAME = frozenset({errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR})
"""Errors of making what no folder can hold, or has already; of a folder that is there and was empty."""

Wanted = Callable[[RawPath], bool]
"""Tells of a member whether it is to be written."""


def unpack(
    archive: Path,
    target: Path,
    wanted: Wanted = lambda _: True,
    *,
    most: int | None = None,
    tar_sha256: str | None = None,
) -> tuple[Skipped, ...]:
    """Write an archive's members into a folder, each checked against the manifest while it is written.

    Nothing in an archive is trusted. Refused are members that are not in the manifest or not as it says, names that
    lead out or through a link, devices and their like. A symbolic link is written only if it stays inside the folder.

    Args:
        archive: what `write_archive` wrote.
        target: must not exist, or be an empty folder; after an error what is in it is of no use.
        wanted: which members to write; all are checked.
        most: bytes that are written at most: a small archive may hold more than any disk. None: what is free there.
        tar_sha256: digest that the tar inside must have; None: it is not compared.

    Returns:
        The links that were left out because they lead out of the folder.

    Raises:
        StorageError: if the archive is damaged, naming the member, or the target cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        room = shutil.disk_usage(target).free
        manifest = read_manifest(archive)
        with (
            opened(target) as root,
            Folders(root) as tree,
            decompressed(archive) as stream,
            stream_tar(hashing := Hashing(stream)) as tar,
        ):
            place = _Place(archive=archive, tree=tree, wanted=wanted, left=room if most is None else most)
            for one in read_checked(tar, manifest):
                if isinstance(one, Problem):
                    raise _refused(archive, str(one))
                place.put(one)
            hashing.drain()
            if tar_sha256 not in {None, hashing.digest.hexdigest()}:
                raise _refused(archive, f"the tar in it has sha256 {hashing.digest.hexdigest()}, not {tar_sha256}")
    except (ValueError, tarfile.TarError, *DECOMPRESSION_ERRORS) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise storage_error(f"cannot unpack {archive} into {target}", error) from error
        raise _refused(archive, str(error)) from None
    return tuple(place.left_out)


def below(*names: str) -> Wanted:
    """Return what wants the members of these names, and everything in them."""
    chosen = [name.encode() for name in names]
    return lambda path: any(path == one or path.startswith(one + b"/") for one in chosen)


@dataclass(kw_only=True)
class _Place:
    """Where an archive goes, and what has been made there."""

    archive: Path
    tree: Folders
    wanted: Wanted
    left: int
    """Bytes that may still be written."""
    folders: set[RawPath] = field(default_factory=lambda: {b""})
    left_out: list[Skipped] = field(default_factory=list)

    def put(self, one: Checked) -> None:
        """Write one member, and check its content; of one that is not wanted only check it."""
        path = one.member.path
        if len(path) > LONGEST_PATH:
            raise _refused(self.archive, f"{show_path(path[:80])}...: its path has {len(path)} bytes")
        if not self.wanted(path):
            for _ in one.content():
                continue
            self._complain(one)
            return
        try:
            self._make(one, path)
        except OSError as error:
            if error.errno not in _NO_NAME:
                raise
            raise _refused(self.archive, f"{show_path(path)}: cannot be made: {error.strerror}") from None

    def _make(self, one: Checked, path: RawPath) -> None:
        self._make_way(path)
        match one.member:
            case TarFolder():
                self._make_way(path + b"/")
            case TarLink(target=target) if _leads_out(path, target):
                self.left_out.append(Skipped(path=path, reason=f"a link that leads out: {show_path(target)}"))
            case TarLink(target=target):
                parent, name = self.tree.at(path)
                os.symlink(target, name, dir_fd=parent)
            case TarFile():
                self._write(one, one.member)

    def _write(self, one: Checked, member: TarFile) -> None:
        self.left -= member.size
        if self.left < 0:
            raise _refused(
                self.archive, f"{show_path(member.path)}: with it, what is unpacked is too large for the disk"
            )
        parent, name = self.tree.at(member.path)
        with os.fdopen(os.open(name, _CREATE, permissions(member), dir_fd=parent), "wb") as file:
            for chunk in one.content():
                file.write(chunk)
        self._complain(one)

    def _complain(self, one: Checked) -> None:
        if one.problem is not None:
            raise _refused(self.archive, str(one.problem))

    def _make_way(self, path: RawPath) -> None:
        """Make the folders on the way to a path that are not there yet; never through a link or a file."""
        parts = path.split(b"/")[:-1]
        for end in range(1, len(parts) + 1):
            folder = b"/".join(parts[:end])
            if folder in self.folders:
                continue
            parent, name = self.tree.at(folder)
            try:
                os.mkdir(name, dir_fd=parent)
            except FileExistsError:
                raise _refused(self.archive, f"{show_path(path)}: stands in what is no folder") from None
            self.folders.add(folder)


def _leads_out(path: RawPath, target: bytes) -> bool:
    """Tell whether a link may lead out of the folder, also by way of other links.

    One that goes up only at its beginning starts from a real folder, and cannot get further than that.
    """
    parts = [part for part in target.split(b"/") if part not in {b"", b"."}]
    ups = next((count for count, part in enumerate(parts) if part != b".."), len(parts))
    return target.startswith(b"/") or ups > path.count(b"/") or b".." in parts[ups:]


def _refused(archive: Path, why: str) -> StorageError:
    return StorageError(f"the archive is damaged: {why}", where=str(archive), hint="take another copy of it")
