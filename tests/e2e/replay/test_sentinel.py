"""The provider's key is nowhere but in the gateway's memory: a planted one is looked for everywhere."""

from __future__ import annotations

import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import zstandard
from support.project import Project, copy_project

from runner.evidence.compress import decompressed

pytestmark = pytest.mark.e2e

KEY = "sk-sentinel-1f9e27d4c0b85a36"


class Echo(ThreadingHTTPServer):
    """Holds an endpoint that repeats in its answers what it was sent, and looks around while it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys: list[str] = []
        self.seen: list[str] = []
        """What the engine and the kernel showed of containers and gateways during a call."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Echo)
        self.rfile.read(int(self.headers["Content-Length"]))
        authorization = self.headers["Authorization"]
        self.server.keys.append(authorization)
        self.server.seen += _look_around()
        if len(self.server.keys) == 1:
            self._reply(401, {"error": {"message": f"bad {authorization}", "type": "x", "code": None}})
            return
        message = {"role": "assistant", "content": f"you sent {authorization}"}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._reply(200, {"id": "c", "object": "chat.completion", "model": KEY, "choices": [choice], "usage": usage})

    def _reply(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-request-id", self.headers["Authorization"])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  the library's name for it
        """Write nothing."""


def _look_around() -> list[str]:
    """Return the engine's description of every container, and the command lines and environments of gateways."""
    names = subprocess.run(["docker", "ps", "-aq"], capture_output=True, text=True, check=True).stdout.split()
    inspected = subprocess.run(["docker", "inspect", *names], capture_output=True, text=True, check=False).stdout
    return [inspected, *_processes()]


def _processes() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes() if b"runner.gateway" in command else b""
        except OSError:
            continue
        yield (command + b"\n" + environment).decode("utf-8", "replace")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Echo, str]]:
    """A project whose runs talked to an endpoint that repeats the key, that endpoint, and all that was printed."""
    echo = Echo()
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    project = copy_project("talk", tmp_path_factory.mktemp("planted") / "talk")
    environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"http://127.0.0.1:{echo.server_port}/v1"}
    arguments = ("go", "--model", "openai/gpt-4o-mini", "--verbose")
    printed = [project.run(*arguments, env=environment) for _ in range(2)]
    yield project, echo, "".join(one.stdout + one.stderr for one in printed)
    echo.shutdown()
    echo.server_close()


def _opened(path: Path) -> bytes:
    """Return what is in a file, unpacked if it is a body."""
    data = path.read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.parent.name == "bodies" else data


def test_the_key_reached_the_endpoint(planted: tuple[Project, Echo, str]) -> None:
    """The endpoint was given the key, by two runs, and repeated it: there was something to find."""
    project, echo, printed = planted
    assert set(echo.keys) == {f"Bearer {KEY}"}
    assert len(echo.keys) >= 4
    assert "you sent Bearer" in next(project.runs.glob("caller/*/generated_artifacts/answers.txt")).read_text(), printed


def test_no_output_shows_it(planted: tuple[Project, Echo, str]) -> None:
    """Neither results nor the verbose log nor errors print the key."""
    assert KEY not in planted[2]


def test_no_file_holds_it(planted: tuple[Project, Echo, str]) -> None:
    """No file of the project holds the key: run directories, bodies, workspaces, ledger, logs, superseded runs."""
    project = planted[0]
    files = [path for path in project.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.parent.name == "bodies" for path in files)
    assert [str(path) for path in files if KEY.encode() in _opened(path)] == []


def test_no_archive_holds_it(planted: tuple[Project, Echo, str]) -> None:
    """Archives hold the bodies, and no member of one holds the key."""
    project = planted[0]
    archives = list(project.runs.rglob("run.tar.zst"))
    assert archives
    for archive in archives:
        with decompressed(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            members = {one.name: content.read() for one in tar if one.isreg() and (content := tar.extractfile(one))}
        bodies = [name for name in members if name.startswith("llm/bodies/")]
        assert bodies
        unpacked = [zstandard.ZstdDecompressor().decompressobj().decompress(members[name]) for name in bodies]
        assert [name for name, content in members.items() if KEY.encode() in content] == []
        assert not any(KEY.encode() in content for content in unpacked)


def test_engine_and_kernel_do_not_show_it(planted: tuple[Project, Echo, str]) -> None:
    """While a call is under way no container's description, command line or gateway's environment has the key."""
    seen = planted[1].seen
    assert any("org.codegen-runner.run" in text for text in seen)
    assert any("runner.gateway" in text for text in seen)
    assert [text[:200] for text in seen if KEY in text] == []
