"""Content-addressed cache: every artifact under its own sha256, verified whenever it is read."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from runner.errors import ImageError, StorageError

CHUNK = 1 << 20
_ALIVE = ".alive"
"""Suffix of the file whose lock says that a scratch folder is in use."""
_YOUNG = 60.0
"""Seconds that a new lock file has to get its lock."""


def sha256_file(path: Path) -> tuple[str, int]:
    """Return a file's sha256 in hexadecimal and its size in bytes."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def path_of(cache: Path, sha256: str) -> Path:
    """Return where an artifact of this hash is, or would be, kept."""
    return cache / "cas" / "sha256" / sha256[:2] / sha256


def has(cache: Path, sha256: str) -> bool:
    """Tell whether something is there under this hash; only `verified` looks at its bytes."""
    return path_of(cache, sha256).exists()


def verified(cache: Path, sha256: str, *, name: str, refetch: str) -> Path:
    """Return the path of an artifact after comparing its bytes with its hash.

    Args:
        cache: the cache folder.
        sha256: expected hash in hexadecimal.
        name: what the artifact is called, for the message.
        refetch: recipe whose `fetch` brings it again.

    Raises:
        ImageError: if it is absent, truncated or tampered with.
    """
    path = path_of(cache, sha256)
    command = f"run: runner images fetch {refetch}"
    if not path.exists():
        raise ImageError(f"{name} is not in the cache", why=f"{path} does not exist.", hint=f"R{command[1:]}")
    found, size = sha256_file(path)
    if found != sha256:
        raise ImageError(
            f"{name} in the cache is not what the lock asks for",
            why=f"{path} has {size} bytes with sha256 {found}; the lock says {sha256}.",
            hint=f"Remove that file and {command}",
        )
    return path


def ingest(cache: Path, source: Path, sha256: str, *, name: str, where: str = "") -> Path:
    """Move a fetched file into the cache if its hash fits.

    Raises:
        ImageError: if the bytes are not those that were asked for; the file is then left where it is.
    """
    found, size = sha256_file(source)
    if found != sha256:
        raise ImageError(
            f"what was fetched as {name} does not fit its hash",
            where=where,
            why=f"It has {size} bytes with sha256 {found}; the lock says {sha256}.",
            hint="If the index was changed on purpose, lock again: runner images lock NAME",
        )
    target = path_of(cache, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.chmod(0o444)
    try:
        source.replace(target)
    except OSError as error:
        raise StorageError(f"cannot store {name} as {target}", why=str(error)) from error
    return target


def add(cache: Path, source: Path) -> tuple[str, int]:
    """Move a file into the cache under its own hash, and return hash and size."""
    sha256, size = sha256_file(source)
    ingest(cache, source, sha256, name=source.name)
    return sha256, size


@contextlib.contextmanager
def scratch(cache: Path, purpose: str) -> Iterator[Path]:
    """Lend a folder on the cache's own file system, so that what is made in it can be moved in; it is removed after.

    What a killed process left behind is removed by the next one: a lock that nobody holds tells.

    Raises:
        StorageError: if the cache cannot be written.
    """
    parent = cache / "tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        alive, name = tempfile.mkstemp(prefix=f"{purpose}-", suffix=_ALIVE, dir=parent)
        fcntl.flock(alive, fcntl.LOCK_EX)
        folder = Path(name.removesuffix(_ALIVE))
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise StorageError(
            f"the cache folder {cache} cannot be written", why=str(error), hint="Set XDG_CACHE_HOME to another place."
        ) from error
    try:
        _sweep(parent)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(name).unlink(missing_ok=True)
        os.close(alive)


def _sweep(parent: Path) -> None:
    """Remove scratch folders whose process is gone; a lock file is at least a minute old before it counts."""
    for file in parent.glob(f"*{_ALIVE}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), file.open("rb") as lock:
            if time.time() - file.stat().st_mtime > _YOUNG:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(parent / file.name.removesuffix(_ALIVE), ignore_errors=True)
                file.unlink(missing_ok=True)


def write_atomic(path: Path, text: str) -> None:
    """Replace a text file so that a reader sees the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def copy_range(source: IO[bytes], offset: int, size: int) -> Iterator[bytes]:
    """Yield `size` bytes of a seekable file from `offset`, in chunks."""
    source.seek(offset)
    while size > 0:
        chunk = source.read(min(CHUNK, size))
        if not chunk:
            raise StorageError(f"{source.name} ended {size} bytes early", hint="Check the disk, then try again.")
        size -= len(chunk)
        yield chunk
