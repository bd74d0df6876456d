"""Where a round of chaos takes place: a project, an engine of its own behind a proxy, a small disk, a private runtime."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.elsewhen import write_times
from chaos.engine_eye import Eye
from support.fault_proxy import FaultProxy
from support.own_engine import OwnEngine
from support.project import ROOT, Project, copy_project
from support.upstream.starting import upstream

ELSEWHEN = Path(__file__).with_name("elsewhen.py")
KEY = "sk-chaos-5d0c4e"
DISK = 4 * 1024**3
"""Bytes of a round's disk: what a runner wants to be free and more. It is in memory and takes only what is written."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What all rounds share."""

    engine: OwnEngine
    proxy: FaultProxy
    project: Project
    image: str
    """Engine's id of the base image."""
    upstream: str

    @property
    def eye(self) -> Eye:
        return Eye(self.engine.socket)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one round leaves what it leaves."""

    root: Path
    world: World
    host: str
    """DOCKER_HOST of the runners."""

    @property
    def output(self) -> Path:
        return self.root / "out"

    @property
    def runtime(self) -> Path:
        return self.root / "run"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def times(self) -> Path:
        """Return what the round's runners have their time of day and their boot from."""
        return self.root / "times"

    @property
    def log(self) -> Path:
        """Return where all runners of the round say what they say."""
        return self.root / "runner.log"

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "DOCKER_HOST": self.host,
            "XDG_RUNTIME_DIR": str(self.runtime),
            "TMPDIR": str(self.temporary),
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{self.world.upstream}/v1",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
            "RUNNER_SITE": str(self.world.project.root / "site.yaml"),
        }

    def command(self, *arguments: str) -> list[str]:
        """Return a command line of the runner's for this place."""
        words = (*arguments, "--output", str(self.output))
        return [sys.executable, "-P", str(ELSEWHEN), str(self.times), "--", *words]

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a program in the project; what it says goes into the log."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.world.project.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def resize(self, *, full: bool) -> None:
        """Give the disk the size of what is on it, so that nothing more goes in, or its own again."""
        found = os.statvfs(self.output)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        # One without any size has no limit, and never gets one again (tmpfs(5)).
        size = max(used, found.f_frsize) if full else DISK
        subprocess.run(["mount", "-o", f"remount,size={size}", self.output], check=not full, capture_output=True)

    def run(self, *arguments: str, seconds: float = 240.0) -> int:
        """Run a command of the runner's to its end and return its exit code."""
        process = self.start(*self.command(*arguments))
        try:
            return process.wait(seconds)
        finally:
            process.kill()


@contextlib.contextmanager
def world(engine: OwnEngine) -> Iterator[World]:
    """Lend everything that rounds share, images built."""
    image = engine.take_base_image()
    project = copy_project("chaos", engine.folder / "p")
    with (
        FaultProxy(engine=engine.socket, listen=engine.folder / "x.sock") as proxy,
        upstream(KEY) as address,
    ):
        # What else goes on on this machine is not to decide how far a round gets.
        (project.root / "site.yaml").write_text("cpus: 64\nmemory: 1TiB\nkeep_memory: 0\nmost_load: 1000\n")
        made = World(engine=engine, proxy=proxy, project=project, image=image, upstream=address)
        with place(made, "images", engine.host) as first:
            process = first.start(sys.executable, "-m", "runner", "images", "build", "actor")
            if process.wait(300) != 0:
                raise AssertionError(first.log.read_text())
        yield made


@contextlib.contextmanager
def place(world: World, name: str, host: str) -> Iterator[Place]:
    """Lend a place with a small disk of its own; disk and processes are gone afterwards."""
    # Below the engine's folder, as paths of sockets have to be short.
    made = Place(root=world.engine.folder / name, world=world, host=host)
    for folder in (made.root, made.output, made.runtime, made.temporary):
        folder.mkdir(mode=0o700)
    write_times(made.times, 0.0, 0)
    # Root of a container has to pass through, whoever it is outside.
    made.root.chmod(0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "chaos", made.output], check=True)
    try:
        yield made
    finally:
        end_all(made.root)
        subprocess.run(["umount", "--lazy", made.output], check=True)


def processes(root: Path) -> Iterator[tuple[int, str]]:
    """Yield id and command line of each process that has something below a folder open, or names it."""
    mark = os.fsencode(root) + b"/"
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) == os.getpid() or (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            words = (folder / "cmdline").read_bytes()
            held = [os.fsencode(one.readlink()) for one in (folder / "fd").iterdir()]
            if mark in (folder / "environ").read_bytes() + words or any(one.startswith(mark) for one in held):
                yield int(folder.name), words.replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            # It ended while it was looked at.
            continue


def end_all(root: Path) -> None:
    """Kill each process that `processes` yields, and what it has started: a container's keeper and the container."""
    for pid, _ in list(processes(root)):
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for one in (*map(int, children), pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
