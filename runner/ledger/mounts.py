"""What kind of file system a folder is on, and whether locks hold there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StorageError

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK_KINDS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "glusterfs", "beegfs"}
_WITHOUT_LOCKS = {
    "fuse.sshfs": "locks on it are seen by this machine alone",
    "fuse.s3fs": "it has no locks",
    "fuse.goofys": "it has no locks",
    "fuse.gcsfuse": "it has no locks",
    "fuse.rclone": "it has no locks",
    "vboxsf": "its locks do not reach the other side",
}
"""Kinds that keep a lock from whoever else has the same files; documented by each of them."""
_UNLOCKED = {
    "nolock": "it is mounted with `nolock`",
    "local_lock=all": "it is mounted with `local_lock=all`",
    "local_lock=posix": "it is mounted with `local_lock=posix`",
    "local_lock=flock": "it is mounted with `local_lock=flock`",
    "nobrl": "it is mounted with `nobrl`",
    "localflock": "it is mounted with `localflock`",
    "noflock": "it is mounted with `noflock`",
}
"""Options of nfs(5), mount.cifs(8) and mount.lustre(8) that keep locks from the server."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """The mount that a folder is on."""

    kind: str
    """Like `ext4` or `nfs4`; empty if it is not known."""
    point: str
    options: frozenset[str]

    @property
    def network(self) -> bool:
        """Whether other machines may have it too, so that shared memory cannot be relied on."""
        return self.kind in _NETWORK_KINDS or self.kind in _WITHOUT_LOCKS

    @property
    def broken(self) -> str:
        """Why locks do not hold there; empty if they do."""
        if self.kind in _WITHOUT_LOCKS:
            return _WITHOUT_LOCKS[self.kind]
        return next((why for option, why in _UNLOCKED.items() if option in self.options and self.network), "")


def mounted(folder: Path, mounts: Path = _MOUNTS) -> Mount:
    """Return the mount that a folder is on, or will be.

    Args:
        folder: the folder.
        mounts: table of mounts in the format of `/proc/self/mountinfo` (proc(5)).
    """
    place = os.fsencode(os.path.realpath(folder))
    found = Mount(kind="", point="", options=frozenset())
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return found
    best = b""
    for line in lines:
        fields, _, rest = line.partition(b" - ")
        # Blanks in a mount point are written in octal.
        point = fields.split(b" ")[4].replace(b"\\040", b" ")
        inside = place == point or place.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= len(best):
            kind, _, more = rest.partition(b" ")
            options = {*fields.split(b" ")[5].split(b","), *more.rpartition(b" ")[2].split(b",")}
            best = point
            found = Mount(
                kind=kind.decode("ascii", "replace"),
                point=os.fsdecode(point),
                options=frozenset(one.decode("ascii", "replace") for one in options),
            )
    return found


def require_locks(path: Path, mounts: Path = _MOUNTS) -> None:
    """Refuse a place on which two processes could both believe that they alone write.

    Raises:
        StorageError: if locks do not hold on the file system of `path`.
    """
    mount = mounted(path.parent, mounts)
    if mount.broken:
        raise StorageError(
            f"runs cannot be kept in {path.parent}: locks do not hold on its file system ({mount.kind})",
            why=f"{mount.point}: {mount.broken}; two runners at once would do the same runs twice and damage the ledger",
            hint="choose a folder on a disk of this machine with `--output`; `runner export` takes finished runs elsewhere",
        )
