"""`make engine` uses an engine that answers, and otherwise says exactly what to do."""

from __future__ import annotations

import http.server
import importlib.util
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "engine.py"


@pytest.fixture(scope="module")
def engine() -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("engine_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/_ping" else 404)
        self.end_headers()

    def version_string(self) -> str:
        return "Docker/27.1.1 (linux)"

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def answering() -> Iterator[str]:
    """Address of a server that answers like an engine."""
    with socketserver.TCPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_engine_that_answers_is_used(engine: ModuleType, answering: str) -> None:
    """An engine that answers is named with its version, and nothing is started."""
    assert engine.ensure({"DOCKER_HOST": answering}, 1.0) == f"Docker 27.1.1 answers at {answering}"


@pytest.mark.processes
def test_a_named_engine_is_not_replaced(tmp_path: Path) -> None:
    """Where DOCKER_HOST leads nowhere the script ends with 4 and does not install another engine."""
    environment = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "PATH": "/nonexistent"}
    done = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr == (
        f"engine: nothing answers at DOCKER_HOST=unix://{tmp_path}/none.sock\nstart that engine, or unset DOCKER_HOST\n"
    )


def test_external_forbids_starting_one(engine: ModuleType, tmp_path: Path) -> None:
    """ENGINE=external is obeyed for root as well."""
    with pytest.raises(engine.Unusable, match="ENGINE=external forbids starting one"):
        engine.refuse(f"unix://{tmp_path}/none.sock", {"ENGINE": "external"})


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "apt-get install docker.io"),
        ("ID=debian\n", "apt-get install docker.io"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install docker-ce"),
        ("ID=alpine\n", "apk add docker"),
    ],
)
def test_advice_fits_the_distribution(engine: ModuleType, release: str, command: str) -> None:
    """The advice begins with what root types on that family of distributions."""
    assert engine.advice(engine.families(release)).startswith(f"as root: {command}")


def test_advice_for_an_unknown_distribution_lists_all(engine: ModuleType) -> None:
    """A distribution nobody knows gets the commands of all the known ones."""
    assert all(name in engine.advice(engine.families("ID=plan9\n")) for name in engine.INSTALL)


@pytest.mark.processes
def test_a_daemon_that_ends_shows_its_log(engine: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the daemon ends instead of answering, the end of its log is shown at once."""
    monkeypatch.setattr(engine, "SYSTEMD", tmp_path / "no-systemd")
    daemon = [sys.executable, "-c", "print('storage is on fire')"]
    with pytest.raises(engine.Unusable, match="storage is on fire"):
        engine.start(daemon, address=f"unix://{tmp_path}/none.sock", log=tmp_path / "log", deadline=30)


@pytest.mark.processes
def test_a_machine_without_firewall_gets_an_engine_without_a_bridge(
    engine: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that cannot make its bridge is started again without one."""
    monkeypatch.setattr(engine, "SYSTEMD", tmp_path / "no-systemd")
    daemon = [sys.executable, "-c", "import sys; print('iptables failed', sys.argv[1:])"]
    with pytest.raises(engine.Unusable, match="--bridge=none"):
        engine.start(daemon, address=f"unix://{tmp_path}/none.sock", log=tmp_path / "log", deadline=30)


def test_what_names_an_ended_daemon_goes(engine: ModuleType, tmp_path: Path) -> None:
    """A file whose process id is nobody's or another program's is removed; that of a running daemon stays."""
    comm = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    files = {tmp_path / name: program for name, program in (("runs", comm), ("reused", "other"), ("gone", comm))}
    for file in files:
        file.write_text("0\n" if file.name == "gone" else f"{os.getpid()}\n", encoding="utf-8")
    engine.forget_ended({**files, tmp_path / "never": comm})
    assert [file.name for file in tmp_path.iterdir()] == ["runs"]


@pytest.mark.processes
def test_starting_an_engine_forgets_ended_ones_first(
    engine: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of an engine that has ended is gone before the next one starts."""
    left = tmp_path / "docker.pid"
    left.write_text(f"{os.getpid()}", encoding="utf-8")
    monkeypatch.setattr(engine, "SYSTEMD", tmp_path / "no-systemd")
    monkeypatch.setattr(engine, "PID_FILES", {left: "dockerd"})
    daemon = [sys.executable, "-c", f"import os; print('there' if os.path.exists({str(left)!r}) else 'free')"]
    with pytest.raises(engine.Unusable, match="free"):
        engine.start(daemon, address=f"unix://{tmp_path}/none.sock", log=tmp_path / "log", deadline=30)
