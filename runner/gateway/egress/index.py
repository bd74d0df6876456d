"""Packages from the machine's own indexes, as they were before a day. PEP 503, 658, 691, 700."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from runner.gateway.egress.index_settings import IndexSettings
from runner.gateway.egress.source import METADATA, File, Opened, Unavailable

JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = {"Accept": f"{JSON}, text/html;q=0.1"}
_LARGEST_PAGE = 64 * 1024 * 1024
_PIECE = 1 << 16
_REMEMBERED = 256
"""Pages."""
_OK, _NOT_FOUND = 200, 404


class IndexSource:
    """Offers what indexes had before a day; pages are asked for once.

    Args:
        http: asks them.
        settings: which ones.
        before: first day (UTC) of what is not offered.
    """

    def __init__(self, http: aiohttp.ClientSession | None, settings: IndexSettings, before: date) -> None:
        self.http = http
        self.urls = settings.urls
        self.certificates = settings.certificates
        self.before = before
        self._pages: OrderedDict[str, tuple[File, ...]] = OrderedDict()
        self._context: ssl.SSLContext | None = None

    async def files(self, project: str) -> Sequence[File]:
        """Return the files that a project had, the first index's if several have one of the same name."""
        if project in self._pages:
            self._pages.move_to_end(project)
            return self._pages[project]
        if not self.urls:
            raise Unavailable(502, "this machine's pip names no package index that is reached over http or https")
        pages = await asyncio.gather(*(self._ask(url, project) for url in self.urls))
        listed = [file for page in reversed(pages) for file in page or ()]
        if all(page is None for page in pages):
            raise Unavailable(404, f"the package index has no project {project}")
        if listed and not any(file.uploaded for file in listed):
            raise Unavailable(
                502,
                "the package index states no upload times (PEP 700), so packages cannot be had as of a day: "
                "use packages.folder",
            )
        found = {file.name: file for file in listed if is_before(file.uploaded, self.before)}
        self._pages[project] = tuple(found[name] for name in sorted(found))
        if len(self._pages) > _REMEMBERED:
            self._pages.popitem(last=False)
        return self._pages[project]

    @contextlib.asynccontextmanager
    async def open(self, project: str, name: str) -> AsyncIterator[Opened]:
        """Open one of a project's files, or the metadata beside it."""
        known = {file.name: file for file in await self.files(project)}
        file = known.get(name) or known.get(name.removesuffix(METADATA))
        if file is None or (file.name != name and not file.metadata):
            raise Unavailable(404, f"the package index had no {name} before {self.before}")
        url = file.url if file.name == name else f"{file.url}{METADATA}"
        with _failures(_shown(url)):
            async with self._get(url, {"Accept-Encoding": "identity"}) as response:
                if response.status != _OK:
                    raise Unavailable(502, f"{_shown(url)} answered {response.status}")
                yield Opened(size=response.content_length, pieces=_pieces(response, _shown(url)))

    async def _ask(self, index: str, project: str) -> list[File] | None:
        """Return what one index has of a project; None if it does not know it."""
        url = f"{index}/{quote(project)}/"
        with _failures(_shown(index)):
            async with self._get(url, _ACCEPT) as response:
                if response.status == _NOT_FOUND:
                    return None
                if response.status != _OK:
                    raise Unavailable(502, f"the package index {_shown(index)} answered {response.status}")
                body = bytearray()
                async for piece in response.content.iter_chunked(_PIECE):
                    body += piece
                    if len(body) > _LARGEST_PAGE:
                        raise Unavailable(502, f"the page of {project} has more than {_LARGEST_PAGE} bytes")
                if "json" not in response.content_type:
                    # A page of links: there are files, and nothing says from when.
                    return [File(name="", hashes={})]
                final = response.url.with_user(URL(url).user).with_password(URL(url).password)
        return await asyncio.to_thread(_read_page, bytes(body), final, URL(url))

    def _get(self, url: str, headers: Mapping[str, str]) -> contextlib.AbstractAsyncContextManager[Any]:
        if self.http is None:
            raise Unavailable(502, "the gateway was started without a way to a package index")
        return self.http.get(URL(url), headers=headers, ssl=self._checks())

    def _checks(self) -> ssl.SSLContext | bool:
        """Return how certificates are checked."""
        if self.certificates is None:
            return True
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self.certificates)
        return self._context


def is_before(uploaded: str | None, day: date) -> bool:
    """Tell whether a file was published before a day began in UTC; one that does not say when was not."""
    if not uploaded:
        return False
    try:
        moment = datetime.fromisoformat(uploaded)
    except ValueError:
        return False
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return moment < datetime.combine(day, time(), UTC)


def _read_page(body: bytes, page: URL, asked: URL) -> list[File]:
    """Read a project's page in JSON; an address in it may be relative to the page's."""
    try:
        content = json.loads(body)
        return [_read_file(one, page, asked) for one in content["files"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unavailable(502, f"the page {_shown(str(asked))} is not what PEP 691 describes") from None


def _read_file(one: Mapping[str, Any], page: URL, asked: URL) -> File:
    url = page.join(URL(one["url"])).with_fragment(None)
    if url.origin() == asked.with_user(None).origin() and asked.user and not url.user:
        url = url.with_user(asked.user).with_password(asked.password)
    metadata = one.get("core-metadata", one.get("dist-info-metadata", False))
    return File(
        name=str(one["filename"]),
        url=str(url),
        hashes={str(name): str(value) for name, value in one.get("hashes", {}).items()},
        size=one.get("size"),
        uploaded=one.get("upload-time"),
        requires_python=one.get("requires-python"),
        yanked=one.get("yanked", False),
        metadata=metadata if isinstance(metadata, bool) else dict(metadata),
    )


async def _pieces(response: aiohttp.ClientResponse, shown: str) -> AsyncIterator[bytes]:
    with _failures(shown):
        async for piece in response.content.iter_chunked(_PIECE):
            yield piece


@contextlib.contextmanager
def _failures(shown: str) -> Iterator[None]:
    """Turn failures of the network into words, without texts that may hold a password."""
    try:
        yield
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise Unavailable(502, f"{shown} cannot be reached: {type(error).__name__}") from None


def _shown(url: str) -> str:
    return str(URL(url).with_user(None))
