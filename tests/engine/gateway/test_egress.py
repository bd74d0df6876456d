"""Ways out besides the model, from a container without network: allowed hosts, and packages for pip as it is."""

from __future__ import annotations

import dataclasses
import ensurepip
import hashlib
import http.server
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from support.egress import make_spec

from runner.gateway.client import start_gateway
from runner.gateway.egress.connections import NAME, read_connections
from runner.gateway.egress.index_settings import IndexSettings
from runner.gateway.session import Denied, Session
from runner.gateway.settings import gateway_settings
from runner.spec.egress import Packages

pytestmark = pytest.mark.engine

OPTIONS = ("--deadline=190", "--grace=1", "--log-limit=65536", "--gateway")
CLIENT = """
import http.client, os, sys, urllib.error, urllib.request
from base64 import b64encode
from urllib.parse import urlsplit
proxy = urlsplit(os.environ["HTTP_PROXY"])
def fetch(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/x", timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code) + " " + error.read().decode().strip()
def tunnel(port):
    way = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=60)
    basic = b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    way.set_tunnel("127.0.0.1", port, {"Proxy-Authorization": "Basic " + basic})
    try:
        way.request("GET", "/x")
        return way.getresponse().read().decode()
    except OSError as error:
        return str(error)
for port in map(int, sys.argv[1:]):
    print(fetch(port))
    print(tunnel(port))
"""


@contextmanager
def _web(answer: Callable[[http.server.BaseHTTPRequestHandler], bytes]) -> Iterator[int]:
    """Serve on a loopback port of the host."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer(self)
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _wheel(folder: Path, version: str) -> Path:
    """Make a wheel of one module that knows its version."""
    path = folder / f"demo_pkg-{version}-py3-none-any.whl"
    about = f"demo_pkg-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("demo_pkg.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: demo-pkg\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return path


def _environment(session: Session) -> str:
    """Return shell words that set what a step gets."""
    ways = dict(session.environment(None))
    # What the tests reach is on loopback, which a step asks directly.
    unset = {"NO_PROXY", "no_proxy"}
    return " ".join(f"{name}={value}" for name, value in ways.items() if name not in unset)


def test_only_allowed_hosts_are_reached(containers: Any, tmp_path: Path) -> None:
    """Over the proxy on the loopback port a step reaches the host that is allowed, plainly and by tunnel, and no other."""
    with (
        _web(lambda _: b"reached") as allowed,
        _web(lambda _: b"never") as other,
        start_gateway(gateway_settings(None, {})) as gateway,
    ):
        session = gateway.open(make_spec(tmp_path / "llm", allow=(f"127.0.0.1:{allowed}",)))
        (containers.out / "client.py").write_text(CLIENT)
        script = f"{_environment(session)} exec python3 /out/client.py {allowed} {other}"
        ended = containers.run("sh", "-c", script, options=OPTIONS, gateway=session.directory)
        totals = gateway.close(session)
    first, second, third, fourth = ended.stdout.splitlines()
    assert (first, second) == ("reached", "reached"), ended.stderr
    assert third.startswith(f"403 no pattern allows 127.0.0.1 port {other}: to allow it write `allow: [127.0.0.1:")
    assert "403" in fourth
    assert totals.denied == (Denied(host="127.0.0.1", port=other, times=2),)
    assert (totals.api_calls, totals.last_error) == (0, "")
    lines = read_connections(tmp_path / "llm" / NAME)
    assert [(line.kind, line.port, line.allowed) for line in lines] == [
        ("http", allowed, True),
        ("tunnel", allowed, True),
        ("http", other, False),
        ("tunnel", other, False),
    ]
    assert lines[0].bytes_down == len("reached")


def _pip_installs(containers: Any, session: Session) -> str:
    """Let pip install the package in a step, with its index from the environment only; return the version it took."""
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(pip, containers.out / "pip.whl")
    script = (
        f"export {_environment(session)} HOME=/out TMPDIR=/out PYTHONPATH=/out/site; "
        "python3 /out/pip.whl/pip install --no-cache-dir --disable-pip-version-check --target /out/site demo_pkg >&2 "
        "&& python3 -c 'import demo_pkg; print(demo_pkg.VERSION)'"
    )
    ended = containers.run("sh", "-c", script, options=OPTIONS, gateway=session.directory)
    assert ended.state.exit_code == 0, ended.stderr
    return str(ended.stdout.strip())


def test_pip_installs_from_a_folder(containers: Any, tmp_path: Path) -> None:
    """A plain `pip install` in a step takes the newest wheel of the project's folder, and each file is recorded."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    _wheel(wheels, "1.0")
    newest = _wheel(wheels, "1.5")
    with start_gateway(gateway_settings(None, {})) as gateway:
        spec = make_spec(tmp_path / "llm", packages=Packages(folder="wheels"), packages_folder=wheels)
        session = gateway.open(spec)
        assert _pip_installs(containers, session) == "1.5"
        gateway.close(session)
    served = {line.package: line.sha256 for line in read_connections(tmp_path / "llm" / NAME) if line.sha256}
    assert served == {f"demo-pkg/{newest.name}": hashlib.sha256(newest.read_bytes()).hexdigest()}


def test_pip_installs_what_the_index_had_on_a_day(containers: Any, tmp_path: Path) -> None:
    """With a day given, pip in a step takes what the machine's index had before it, although there is newer."""
    wheels = {"2026-01-30T10:00:00Z": _wheel(tmp_path, "1.0"), "2026-01-31T10:00:00Z": _wheel(tmp_path, "2.0")}
    files = [
        {
            "filename": path.name,
            "url": f"/files/{path.name}",
            "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
            "upload-time": uploaded,
        }
        for uploaded, path in wheels.items()
    ]
    page = json.dumps({"meta": {"api-version": "1.1"}, "name": "demo-pkg", "files": files}).encode()

    def answer(request: http.server.BaseHTTPRequestHandler) -> bytes:
        if request.path == "/simple/demo-pkg/":
            return page
        found = tmp_path / request.path.rpartition("/")[2]
        return found.read_bytes() if found.is_file() else b""

    with _web(answer) as port:
        index = IndexSettings(urls=(f"http://127.0.0.1:{port}/simple",))
        settings = dataclasses.replace(gateway_settings(None, {}), index=index)
        with start_gateway(settings) as gateway:
            session = gateway.open(make_spec(tmp_path / "llm", packages=Packages(before=date(2026, 1, 31))))
            assert _pip_installs(containers, session) == "1.0"
            gateway.close(session)
