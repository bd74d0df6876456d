"""Packages from a folder of wheels and sdists."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from runner.gateway.egress.source import METADATA, File, Opened, Unavailable, project_of

_PIECE = 1 << 16


class FolderSource:
    """Offers the wheels and sdists that lie in a folder; remembers their digests while they do not change.

    Args:
        folder: where they are; None: nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._digests: dict[tuple[str, int, int], str] = {}

    async def files(self, project: str) -> Sequence[File]:
        """Return a project's files, sorted by name."""
        found = await asyncio.to_thread(self._files, project)
        if not found:
            raise Unavailable(404, f"the folder of packages holds no file of {project}")
        return found

    @contextlib.asynccontextmanager
    async def open(self, project: str, name: str) -> AsyncIterator[Opened]:
        """Open one of a project's files."""
        known = {file.name: file for file in await self.files(project)}
        if name not in known or self.folder is None:
            raise Unavailable(404, f"the folder of packages holds no {name.removesuffix(METADATA)}")
        try:
            with (self.folder / name).open("rb") as file:

                async def pieces() -> AsyncIterator[bytes]:
                    while piece := await asyncio.to_thread(file.read, _PIECE):
                        yield piece

                yield Opened(size=known[name].size, pieces=pieces())
        except OSError as error:
            raise Unavailable(502, f"{name} cannot be read: {error.strerror}") from None

    def _files(self, project: str) -> list[File]:
        if self.folder is None:
            raise Unavailable(502, "the folder of packages is not known")
        try:
            paths = sorted(path for path in self.folder.iterdir() if project_of(path.name) == project)
            return [self._describe(path) for path in paths if path.is_file()]
        except OSError as error:
            raise Unavailable(502, f"the folder of packages cannot be read: {error.strerror}") from None

    def _describe(self, path: Path) -> File:
        status = path.stat()
        key = (path.name, status.st_size, status.st_mtime_ns)
        if key not in self._digests:
            with path.open("rb") as file:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return File(name=path.name, hashes={"sha256": self._digests[key]}, size=status.st_size)
