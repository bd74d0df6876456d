"""Take the archive of a run elsewhere, and read it back before anybody relies on it.

A place is a folder, or a URL of any file system that fsspec knows (https://filesystem-spec.readthedocs.io), whose package
is needed only then.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from runner.errors import ConfigError, StorageError
from runner.evidence.archive import write_archive
from runner.evidence.atomic import replacing, storage_error
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.verify import verify_archive

_CHUNK = 1024 * 1024
_MEMORY = "memory"
"""Protocol of fsspec's file system in the memory of the process."""
_SHORT = 12
"""Digits of a digest that tell two archives of one run apart."""


class Depot(Protocol):
    """A place for archives."""

    def store(self, name: str, source: Path) -> None:
        """Copy a file there, under a name with slashes; raises StorageError."""

    def digest(self, name: str) -> str | None:
        """Read what is there under a name and return its sha256; None if there is nothing. Raises StorageError."""

    def show(self, name: str) -> str:
        """Return how a person finds it."""


def open_depot(place: str) -> Depot:
    """Return the place that a path or a URL names; nothing is written yet.

    Raises:
        ConfigError: if its protocol is not known, needs a package that is not installed, or keeps nothing.
    """
    if "://" not in place or place.startswith("file://"):
        return _Folder(Path(place.removeprefix("file://")).expanduser().absolute())
    try:
        core = importlib.import_module("fsspec.core")
    except ImportError as error:
        raise ConfigError(
            f"cannot archive to {place}",
            why="a place that is no folder needs the package fsspec",
            hint="python -m pip install fsspec, and the package of that protocol; or a folder instead",
        ) from error
    try:
        files, root = core.url_to_fs(place)
    except ImportError as error:
        raise ConfigError(
            f"cannot archive to {place}",
            why=f"its protocol needs another package: {error}",
            hint="install that package beside this program, or choose a folder",
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot archive to {place}", why=str(error), hint="choose a folder, or another URL"
        ) from error
    if _MEMORY in ((files.protocol,) if isinstance(files.protocol, str) else files.protocol):
        raise ConfigError(
            f"cannot archive to {place}",
            why="that place ends with this process, and the archives with it",
            hint="choose a folder, or another URL",
        )
    return _Remote(files, str(root).rstrip("/"), place.rstrip("/"))


def deposit(depot: Depot, layout: RunLayout, record: RunRecord) -> str:
    """Take a finished run's archive to a place, unless it is there already, and compare what can be read there.

    An archive that the run does not have, or that is damaged, is written first. One of the same run that is there already
    and differs stays; this one gets a name with its digest.

    Args:
        depot: the place.
        layout: the run.
        record: its record.

    Returns:
        How a person finds it there.

    Raises:
        StorageError: if it cannot be written or read there, or is not what was written.
    """
    archive, sha256 = _sound_archive(layout, record)
    stem, ending = f"{record.run.framework.name}/{record.run.id}", archive.name.removeprefix("run")
    name = f"{stem}{ending}"
    found = depot.digest(name)
    if found not in {None, sha256}:
        name = f"{stem}.{sha256[:_SHORT]}{ending}"
        found = depot.digest(name)
    if found != sha256:
        depot.store(name, archive)
        _require(depot, name, sha256)
    with _digest_file(sha256, name) as file:
        depot.store(f"{name}.sha256", file)
    return depot.show(name)


def _require(depot: Depot, name: str, sha256: str) -> None:
    found = depot.digest(name)
    if found != sha256:
        raise StorageError(
            f"{depot.show(name)} is not what was written there",
            why=f"it reads back with sha256 {found or 'of nothing'}, written was {sha256}",
            hint="check that place, then type the same command again; the run stays",
        )


def _sound_archive(layout: RunLayout, record: RunRecord) -> tuple[Path, str]:
    kind = "zstd" if record.run.archive == "off" else record.run.archive
    path = layout.archive(kind)
    if path.is_file() and not verify_archive(path):
        with path.open("rb") as stream:
            return path, _digest(stream)
    info = write_archive(layout, kind, exclude=record.run.exclude_files)
    return info.path, info.sha256


def _digest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _digest_file(sha256: str, name: str) -> Iterator[Path]:
    """Lend a file for `sha256sum -c`."""
    with tempfile.TemporaryDirectory(prefix="runner-archive-") as folder:
        path = Path(folder) / "digest"
        path.write_text(f"{sha256}  {name.rpartition('/')[2]}\n", encoding="utf-8")
        yield path


class _Folder:
    """A folder of this machine, or mounted here.

    Args:
        root: the folder; made when something is stored.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def store(self, name: str, source: Path) -> None:
        try:
            with source.open("rb") as stream, replacing(self._root / name) as target:
                shutil.copyfileobj(stream, target, _CHUNK)
        except OSError as error:
            raise storage_error(f"cannot write {self.show(name)}", error) from error

    def digest(self, name: str) -> str | None:
        try:
            with (self._root / name).open("rb") as stream:
                # What was written is read from the disk, not from memory, as far as the kernel can be asked for that.
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                return _digest(stream)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(f"cannot read {self.show(name)}", error) from error

    def show(self, name: str) -> str:
        return str(self._root / name)


class _Remote:
    """A file system of fsspec.

    Args:
        files: the file system.
        root: folder on it.
        url: how a person names that folder.
    """

    def __init__(self, files: Any, root: str, url: str) -> None:
        self._files = files
        self._root = root
        self._url = url

    def store(self, name: str, source: Path) -> None:
        path = f"{self._root}/{name}"
        with self._translated(f"cannot write {self.show(name)}"):
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(source), path)

    def digest(self, name: str) -> str | None:
        with self._translated(f"cannot read {self.show(name)}"):
            # What this process remembers of the place must not answer for the place.
            self._files.invalidate_cache()
            try:
                with self._files.open(f"{self._root}/{name}", "rb") as stream:
                    return _digest(stream)
            except FileNotFoundError:
                return None

    def show(self, name: str) -> str:
        return f"{self._url}/{name}"

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            raise StorageError(
                what, why=f"the place says: {error}", hint="check its address and your rights there; the run stays"
            ) from error
