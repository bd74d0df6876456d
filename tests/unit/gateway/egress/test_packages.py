"""The package index on the gateway's port: from a folder, and from an index as it was before a day."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from support.egress import TOKEN, World, go, world

from runner.gateway.egress.index import is_before
from runner.gateway.egress.index_settings import IndexSettings
from runner.gateway.egress.pages import HTML, JSON, PLAIN_HTML, choose
from runner.gateway.egress.source import project_of

PIP_ACCEPT = f"{JSON}, {HTML}; q=0.1, text/html; q=0.01"
DAY = date(2026, 1, 31)
DATA = b"the wheel's bytes"
SHA256 = hashlib.sha256(DATA).hexdigest()


@dataclass(kw_only=True)
class Answer:
    """What came back."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


async def get(session: World, path: str, *, token: str = TOKEN, method: str = "GET", **headers: str) -> Answer:
    """Ask for a path with the token as pip sends it."""
    basic = base64.b64encode(f"run:{token}".encode()).decode()
    connector = aiohttp.UnixConnector(str(session.socket))
    given = {"Authorization": f"Basic {basic}"} | headers
    async with (
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as http,
        http.request(method, f"http://127.0.0.1:4000{path}", headers=given, allow_redirects=False) as response,
    ):
        try:
            body = await response.read()
        except aiohttp.ClientPayloadError:
            body = b"cut short"
        return Answer(status=response.status, reason=response.reason or "", headers=response.headers, body=body)


@dataclass(kw_only=True)
class Index:
    """A package index on loopback."""

    url: str = ""
    pages: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)


@asynccontextmanager
async def index(pages: dict[str, Any]) -> AsyncIterator[Index]:
    """Serve pages in JSON, or as given if they are text, and the same bytes for every file."""
    one = Index(pages=pages)

    async def page(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        one.asked.append(name)
        one.credentials.append(request.headers.get("Authorization", ""))
        if name not in pages:
            raise web.HTTPNotFound
        if isinstance(pages[name], str):
            return web.Response(text=pages[name], content_type="text/html")
        return web.Response(body=json.dumps(pages[name]).encode(), headers={"Content-Type": JSON})

    async def file(request: web.Request) -> web.Response:
        one.asked.append(request.match_info["file"])
        one.credentials.append(request.headers.get("Authorization", ""))
        return web.Response(body=DATA)

    app = web.Application()
    app.router.add_get("/simple/{name}/", page)
    app.router.add_get("/files/{file}", file)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    one.url = f"http://me:pass@127.0.0.1:{runner.addresses[0][1]}/simple"
    yield one
    await runner.cleanup()


def entry(name: str, uploaded: str | None, **more: Any) -> dict[str, Any]:
    """Return a file of a page."""
    found = {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": SHA256}, **more}
    return found | ({"upload-time": uploaded} if uploaded is not None else {})


def page_of(*files: dict[str, Any]) -> dict[str, Any]:
    """Return a page."""
    return {"meta": {"api-version": "1.1"}, "name": "demo", "files": list(files)}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (PIP_ACCEPT, JSON),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("text/html", PLAIN_HTML),
        ("*/*", PLAIN_HTML),
        ("", PLAIN_HTML),
        (f"{HTML}, {JSON};q=0.5", HTML),
        (f"{JSON};q=0, text/html", PLAIN_HTML),
        (f"{JSON};q=x", JSON),
    ],
)
def test_form_is_what_is_asked_for(accept: str, form: str) -> None:
    """The form of a page follows the Accept header; a browser gets HTML."""
    assert choose(accept) == form


@pytest.mark.parametrize(
    ("uploaded", "before"),
    [
        ("2026-01-30T23:59:59.999999Z", True),
        ("2026-01-31T00:00:00Z", False),
        ("2026-01-31T01:00:00+02:00", True),
        ("2026-01-30T23:00:00-02:00", False),
        ("2026-01-30T23:00:00", True),
        ("yesterday", False),
        (None, False),
    ],
)
def test_day_begins_in_utc(uploaded: str | None, before: bool) -> None:  # noqa: FBT001  a row of a table
    """A file counts as published before a day only if it says so, by the clock of UTC."""
    assert is_before(uploaded, DAY) is before


@pytest.mark.parametrize(
    ("file", "project"),
    [
        ("Foo_Bar-1.0-py3-none-any.whl", "foo-bar"),
        ("foo.bar-1.0.tar.gz", "foo-bar"),
        ("foo-bar-1.0.zip", "foo-bar"),
        ("README.md", ""),
        ("foo.tar.gz", ""),
    ],
)
def test_project_of_a_file(file: str, project: str) -> None:
    """Wheels and sdists belong to the project their name begins with; other files to none."""
    assert project_of(file) == project


def test_folder_is_offered(tmp_path: Path) -> None:
    """A folder's files are listed with their digests in both forms, and served; all of it is recorded."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "demo_pkg-1.0-py3-none-any.whl").write_bytes(DATA)
    (tmp_path / "wheels" / "other-1.0.tar.gz").write_bytes(b"x")

    async def scenario() -> None:
        async with world(tmp_path, packages_folder=tmp_path / "wheels") as session:
            listed = await get(session, "/packages/simple/Demo.Pkg/", Accept=PIP_ACCEPT)
            assert (listed.status, listed.headers["Content-Type"]) == (200, JSON)
            page = json.loads(listed.body)
            (file,) = page["files"]
            assert (page["name"], file["filename"]) == ("demo-pkg", "demo_pkg-1.0-py3-none-any.whl")
            assert (file["hashes"], file["size"]) == ({"sha256": SHA256}, len(DATA))
            links = await get(session, "/packages/simple/demo-pkg/", Accept="text/html")
            assert f'href="{file["url"]}#sha256={SHA256}"' in links.body.decode()
            assert file["url"] == "../../files/demo-pkg/demo_pkg-1.0-py3-none-any.whl"
            served = await get(session, "/packages/files/demo-pkg/demo_pkg-1.0-py3-none-any.whl")
            assert (served.status, served.body) == (200, DATA)
            head = await get(session, "/packages/files/demo-pkg/demo_pkg-1.0-py3-none-any.whl", method="HEAD")
            assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(DATA)), b"")
            lines = await session.until_recorded(4)
        assert [line.package for line in lines[:2]] == ["demo-pkg", "demo-pkg"]
        assert (lines[2].package, lines[2].sha256) == ("demo-pkg/demo_pkg-1.0-py3-none-any.whl", SHA256)
        assert (lines[2].bytes_down, lines[2].ended, lines[2].kind) == (len(DATA), "done", "package")

    go(scenario())


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/packages/simple/absent/", "GET", 404),
        ("/packages/files/demo/absent-1.0.tar.gz", "GET", 404),
        ("/packages/files/demo/..%2fsecret-1.0.tar.gz", "GET", 404),
        ("/packages/simple/a%0Ab/", "GET", 404),
        ("/packages/", "GET", 404),
        ("/packages/simple/demo", "GET", 301),
        ("/packages/simple/demo/", "POST", 405),
        ("/packages/files/demo/demo-1.0.tar.gz", "DELETE", 405),
    ],
)
def test_nothing_else_is_offered(tmp_path: Path, path: str, method: str, status: int) -> None:
    """What is not in the folder, leads out of it, or would change it, is refused, and no model is asked."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "demo-1.0.tar.gz").write_bytes(DATA)
    (tmp_path / "secret-1.0.tar.gz").write_bytes(DATA)

    async def scenario() -> tuple[int, list[str]]:
        async with world(tmp_path, packages_folder=tmp_path / "wheels") as session:
            return (await get(session, path, method=method)).status, session.seen

    assert go(scenario()) == (status, [])


def test_index_wants_the_token(tmp_path: Path) -> None:
    """Without the session's token there is a challenge, as pip expects it, and nothing else."""
    (tmp_path / "wheels").mkdir()

    async def scenario() -> Answer:
        async with world(tmp_path, packages_folder=tmp_path / "wheels") as session:
            return await get(session, "/packages/simple/demo/", token="wrong")

    answer = go(scenario())
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="codegen-runner"')


def test_packages_that_cannot_be_recorded_are_not_served(tmp_path: Path) -> None:
    """Once a line could not be written, nothing further is served, and pip shows why."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "demo-1.0.tar.gz").write_bytes(DATA)
    (tmp_path / "connections.jsonl").symlink_to("/dev/full")

    async def scenario() -> list[Answer]:
        async with world(tmp_path, packages_folder=tmp_path / "wheels") as session:
            return [await get(session, "/packages/simple/demo/") for _ in range(2)]

    first, second = go(scenario())
    assert (first.status, second.status) == (200, 503)
    assert second.reason == "connections cannot be recorded in connections.jsonl: No space left on device"


def test_session_without_packages_offers_none(tmp_path: Path) -> None:
    """The paths of the index are ordinary ones if the session has none."""

    async def scenario() -> list[str]:
        async with world(tmp_path) as session:
            await get(session, "/packages/simple/demo/")
            return session.seen

    assert go(scenario()) == ["GET /packages/simple/demo/"]


def test_index_is_as_it_was_before_the_day(tmp_path: Path) -> None:
    """Only files published before the day are listed or served, with what the index says of them; it is asked once."""
    old = entry(
        "demo-1.0-py3-none-any.whl",
        "2026-01-30T12:00:00Z",
        size=len(DATA),
        **{"requires-python": ">=3.9", "core-metadata": {"sha256": "ab"}, "yanked": "broken"},
    )
    new = entry("demo-2.0-py3-none-any.whl", "2026-01-31T12:00:00Z")
    unknown = entry("demo-0.9-py3-none-any.whl", None)

    async def scenario() -> None:
        async with index({"demo": page_of(new, old, unknown)}) as upstream:
            settings = IndexSettings(urls=(upstream.url,))
            async with world(tmp_path, before=DAY, index=settings) as session:
                page = json.loads((await get(session, "/packages/simple/demo/", Accept=PIP_ACCEPT)).body)
                (file,) = page["files"]
                assert file == old | {"url": "../../files/demo/demo-1.0-py3-none-any.whl"}
                links = (await get(session, "/packages/simple/demo/")).body.decode()
                assert 'data-requires-python="&gt;=3.9"' in links
                assert 'data-yanked="broken"' in links
                served = await get(session, "/packages/files/demo/demo-1.0-py3-none-any.whl")
                beside = await get(session, "/packages/files/demo/demo-1.0-py3-none-any.whl.metadata")
                refused = await get(session, "/packages/files/demo/demo-2.0-py3-none-any.whl")
                assert (served.body, beside.status, refused.status) == (DATA, 200, 404)
            names = ["demo", "demo-1.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl.metadata"]
            assert upstream.asked == names
            assert set(upstream.credentials) == {f"Basic {base64.b64encode(b'me:pass').decode()}"}

    go(scenario())


@pytest.mark.parametrize(
    "page", [page_of(entry("demo-1.0.tar.gz", None)), '<a href="demo-1.0.tar.gz">demo-1.0.tar.gz</a>']
)
def test_index_without_upload_times_is_said(tmp_path: Path, page: object) -> None:
    """An index that does not say when files were published cannot be pinned by date; the reason shows in the status."""

    async def scenario() -> Answer:
        async with index({"demo": page}) as upstream:
            settings = IndexSettings(urls=(upstream.url,))
            async with world(tmp_path, before=DAY, index=settings) as session:
                return await get(session, "/packages/simple/demo/")

    answer = go(scenario())
    assert answer.status == 502
    assert "states no upload times (PEP 700)" in answer.reason
    assert answer.reason.endswith("use packages.folder")


def test_several_indexes_are_one(tmp_path: Path) -> None:
    """Files of all indexes are offered, the first one's if two have the same; one that lacks a project is passed over."""

    async def scenario() -> None:
        first = page_of(entry("demo-1.0.tar.gz", "2026-01-01T00:00:00Z", size=1))
        second = page_of(
            entry("demo-1.0.tar.gz", "2026-01-01T00:00:00Z", size=2), entry("demo-1.1.tar.gz", "2026-01-01T00:00:00Z")
        )
        async with index({"demo": first}) as one, index({"demo": second}) as two, index({}) as three:
            settings = IndexSettings(urls=(one.url, two.url, three.url))
            async with world(tmp_path, before=DAY, index=settings) as session:
                page = json.loads((await get(session, "/packages/simple/demo/", Accept=PIP_ACCEPT)).body)
                assert [(file["filename"], file.get("size")) for file in page["files"]] == [
                    ("demo-1.0.tar.gz", 1),
                    ("demo-1.1.tar.gz", None),
                ]
                assert (await get(session, "/packages/simple/absent/")).status == 404

    go(scenario())


@pytest.mark.parametrize("page", [{"no": "files"}, {"files": [{"filename": "x"}]}, {"files": 3}, []])
def test_index_that_makes_no_sense_is_502(tmp_path: Path, page: object) -> None:
    """A page that is not what the standard describes is an error in words, without the index's password."""

    async def scenario() -> Answer:
        async with index({"demo": page}) as upstream:
            settings = IndexSettings(urls=(upstream.url,))
            async with world(tmp_path, before=DAY, index=settings) as session:
                return await get(session, "/packages/simple/demo/")

    answer = go(scenario())
    assert (answer.status, "PEP 691" in answer.reason, "pass" in answer.reason) == (502, True, False)


def test_index_out_of_reach_is_502(tmp_path: Path) -> None:
    """An index that does not answer is an error in words, without its password."""

    async def scenario() -> Answer:
        settings = IndexSettings(urls=("http://me:pass@127.0.0.1:9/simple",))
        async with world(tmp_path, before=DAY, index=settings) as session:
            return await get(session, "/packages/simple/demo/")

    answer = go(scenario())
    assert (answer.status, answer.reason) == (502, "http://127.0.0.1:9/simple cannot be reached: ClientConnectorError")


def test_no_index_is_said(tmp_path: Path) -> None:
    """Without any index on the web there is an error that says so."""

    async def scenario() -> Answer:
        async with world(tmp_path, before=DAY) as session:
            return await get(session, "/packages/simple/demo/")

    assert "names no package index" in go(scenario()).reason
