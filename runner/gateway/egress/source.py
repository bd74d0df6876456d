"""Where a session's packages come from: this machine's index as it was before a day, or a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from runner.gateway.egress.index_settings import IndexSettings
from runner.names import canonical_project

if TYPE_CHECKING:
    import aiohttp

    from runner.gateway.session import SessionSpec

METADATA = ".metadata"
"""What the name of a distribution's metadata ends in, PEP 658."""
_SDISTS = (".tar.gz", ".zip")


class Unavailable(Exception):
    """A page or file cannot be had; the message goes to who asked.

    Args:
        status: HTTP status.
        message: why, in a sentence.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a project, as PEP 691 describes it."""

    name: str
    hashes: Mapping[str, str]
    size: int | None = None
    uploaded: str | None = None
    """When it was published, ISO 8601."""
    requires_python: str | None = None
    yanked: str | bool = False
    metadata: Mapping[str, str] | bool = False
    """Hashes of the metadata file beside it, or whether there is one."""
    url: str = field(default="", repr=False)
    """Where it is, for a file on an index."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A file that is being read."""

    size: int | None
    """Bytes, if known."""
    pieces: AsyncIterator[bytes]


class Source(Protocol):
    """Offers the files of projects; names of projects are canonical."""

    async def files(self, project: str) -> Sequence[File]:
        """Return a project's files. Raises Unavailable."""

    def open(self, project: str, name: str) -> AbstractAsyncContextManager[Opened]:
        """Open a project's file, or the metadata beside one, for reading. Raises Unavailable."""


def find_source(spec: SessionSpec, http: aiohttp.ClientSession | None, index: IndexSettings | None) -> Source | None:
    """Return where a session's packages come from; None if it offers none."""
    from runner.gateway.egress.folder import FolderSource
    from runner.gateway.egress.index import IndexSource

    if spec.packages is None:
        return None
    if spec.packages.before is None:
        return FolderSource(spec.packages_folder)
    return IndexSource(http, index or IndexSettings(urls=()), spec.packages.before)


def project_of(file: str) -> str:
    """Return the canonical name of the project that a wheel or sdist belongs to; empty if it is neither.

    Source: the file name conventions of the wheel and sdist formats, PEP 427 and PEP 625.
    """
    if file.endswith(".whl"):
        return canonical_project(file.split("-", 1)[0])
    for suffix in _SDISTS:
        if file.endswith(suffix) and "-" in file:
            return canonical_project(file.removesuffix(suffix).rpartition("-")[0])
    return ""
