"""A Docker engine of the tests' own, to be ended and started again at will: nobody else's containers are touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.fault_proxy import wait_for
from support.images import base_image

from runner.engine.docker import connect
from runner.execution.recovery import stale_cgroups
from runner.names import LABEL_KIND

_DAEMON = "dockerd"
_PATIENCE = 180.0
_HOLDER_PATIENCE = 60.0


@dataclass
class OwnEngine:
    """An engine below a folder; it has no network of its own."""

    folder: Path
    flags: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        return self.folder / "engine.sock"

    @property
    def host(self) -> str:
        """DOCKER_HOST for who uses it."""
        return f"unix://{self.socket}"

    @property
    def log(self) -> Path:
        return self.folder / "engine.log"

    def start(self, *flags: str) -> None:
        """Start it, and return when it answers.

        Args:
            flags: of `dockerd`, besides its own.
        """
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        options = [f"--{name}={self.folder / place}" for name, place in places.items()]
        # In a network namespace of its own: an engine without a bridge removes the one that the machine's engine has.
        network = ("--bridge=none", "--iptables=false", "--ip-masq=false")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--net", _DAEMON, *options, f"--host={self.host}", *network, *self.flags, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.socket, _PATIENCE)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and return when it has ended, with the process that holds its containers."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.wait(_PATIENCE)
        # The kernel ends that one a moment later, and the next engine would wait for what it takes to be alive.
        written, end = self.folder / "exec/containerd/containerd.pid", time.monotonic() + _HOLDER_PATIENCE
        with contextlib.suppress(OSError, ValueError):
            # One that is not collected by its parent yet still counts as alive there.
            holder = Path("/proc", str(int(written.read_text("ascii"))))
            while holder.exists() and time.monotonic() < end:
                time.sleep(0.05)
        written.unlink(missing_ok=True)

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and start it again."""
        self.end(how)
        self.start()

    def take_base_image(self) -> str:
        """Give it the base image, out of this machine's engine; return the image's id."""
        with (
            connect(os.environ) as shared,
            connect({"DOCKER_HOST": self.host}) as own,
            tempfile.TemporaryFile(dir=self.folder) as archive,
        ):
            image = base_image(shared)
            for piece in shared.images.transfer(save=image):
                archive.write(piece)
            archive.seek(0)
            list(own.images.transfer(archive))
        return image

    def clear(self) -> None:
        """Remove every container of ours in it, and its control groups: no other engine looks after those."""
        with connect({"DOCKER_HOST": self.host}) as own:
            for state in own.observer.find({LABEL_KIND: None}):
                own.containers.remove(state.id)
            own.observer.release(stale_cgroups(own))


@contextmanager
def own_engine(*flags: str) -> Iterator[OwnEngine]:
    """Lend a running engine of its own; it, its containers and its folder are gone afterwards.

    Args:
        flags: of `dockerd`, at every start.
    """
    # Not below a test's folder: paths of sockets have to be short.
    engine = OwnEngine(Path(tempfile.mkdtemp(prefix="own-engine-")), flags)
    try:
        engine.start()
        yield engine
    finally:
        try:
            if engine._process is None:
                # Its containers outlive an engine that was killed, and only an engine can end them.
                engine.start()
            engine.clear()
        finally:
            engine.end()
            _unmount(engine.folder)
            shutil.rmtree(engine.folder)


def can_run() -> str:
    """Say why this machine cannot have an engine of the tests' own; empty if it can."""
    if os.geteuid():
        return "only root can start an engine"
    missing = [one for one in (_DAEMON, "unshare") if not shutil.which(one)]
    return f"there is no {missing[0]}" if missing else ""


def _unmount(folder: Path) -> None:
    """Unmount what an engine that was killed left mounted, innermost first."""
    for place in _mounted(folder):
        done = subprocess.run(["umount", "--lazy", place], capture_output=True, text=True, check=False)
        # The keeper of a container that has just ended may have been faster.
        assert done.returncode == 0 or place not in _mounted(folder), done.stderr


def _mounted(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted({line.split()[4] for line in lines if line.split()[4].startswith(f"{folder}/")}, reverse=True)
