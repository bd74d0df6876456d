#!/usr/bin/env python3
"""Make sure that a container engine answers; `make engine` runs this, with nothing but Python's standard library.

An engine that answers is used as it is. Where none does, root on a Debian or Ubuntu machine gets one: the
distribution's `docker.io` is installed if it is missing, and started. Everybody else is told what to type.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

NO_ENGINE = 4
"""Exit code of `runner` as well when no engine is usable."""
DEFAULT_SOCKET = "/var/run/docker.sock"
OS_RELEASE = Path("/etc/os-release")
SYSTEMD = Path("/run/systemd/system")
LOCK = Path("/run/codegen-runner-engine.lock")
"""In a folder only root can write: only root installs and starts."""
PID_FILES = {
    Path("/var/run/docker.pid"): "dockerd",
    Path("/var/run/docker/containerd/containerd.pid"): "containerd",
}
"""Where an engine writes that it runs -> the program that does."""

INSTALL = {
    "debian": "apt-get install docker.io && systemctl start docker",
    "ubuntu": "apt-get install docker.io && systemctl start docker",
    "fedora": "dnf install moby-engine && systemctl start docker",
    "rhel": "dnf install docker-ce   (repository: https://docs.docker.com/engine/install/) && systemctl start docker",
    "suse": "zypper install docker && systemctl start docker",
    "arch": "pacman -S docker && systemctl start docker",
    "alpine": "apk add docker && rc-service docker start",
}
"""Family of a distribution -> what root types there."""


class Unusable(Exception):
    """No engine answers and none may or can be started; the text says what to do."""


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Print one line about the engine that answers, after starting one if need be.

    Returns:
        0, or NO_ENGINE after saying on stderr why and what to type.
    """
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--deadline", type=float, default=90.0, help="seconds to wait for an engine that was started")
    options = parser.parse_args(arguments)
    try:
        say(f"engine: {ensure(environment, options.deadline)}")
    except Unusable as error:
        sys.stderr.write(f"engine: {error}\n")
        return NO_ENGINE
    return 0


def ensure(environment: Mapping[str, str], deadline: float) -> str:
    """Return a line about an engine that answers, having installed and started one where that is allowed.

    Raises:
        Unusable: if there is none, with what to type.
    """
    for address in addresses(environment):
        version = ping(address)
        if version:
            return f"Docker {version} answers at {address}"
    address = addresses(environment)[0]
    refuse(address, environment)
    with exclusive(LOCK):
        # Whoever held the lock before us may have started one.
        version = ping(address)
        if not version:
            if not shutil.which("dockerd"):
                install()
            start(["dockerd"], address=address, log=Path("/var/log/codegen-runner-dockerd.log"), deadline=deadline)
            version = ping(address)
    return f"Docker {version} answers at {address}, started now"


def addresses(environment: Mapping[str, str]) -> list[str]:
    """Return where an engine may answer: DOCKER_HOST alone if set, else the system's socket, then the user's own."""
    if environment.get("DOCKER_HOST"):
        return [environment["DOCKER_HOST"]]
    found = [f"unix://{DEFAULT_SOCKET}"]
    if environment.get("XDG_RUNTIME_DIR"):
        found.append(f"unix://{environment['XDG_RUNTIME_DIR']}/docker.sock")
    return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ping(address: str) -> str:
    """Return the version of the engine that answers at `address`, or an empty text.

    An address that only a client with keys can talk to (TLS, ssh) is taken at its word: `runner doctor` checks it.
    """
    scheme, _, rest = address.partition("://")
    if scheme not in {"unix", "tcp", "http"} or ":2376" in rest:
        return "(unchecked)"
    connection = _UnixConnection(rest) if scheme == "unix" else http.client.HTTPConnection(rest, timeout=10)
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            return ""
        server = answer.getheader("Server", "")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    return server.removeprefix("Docker/").split(" ")[0] or "of unknown version"


def refuse(address: str, environment: Mapping[str, str]) -> None:
    """Raise Unusable unless this user may install and start an engine on this machine."""
    path = Path(address.removeprefix("unix://"))
    if environment.get("DOCKER_HOST"):
        raise Unusable(f"nothing answers at DOCKER_HOST={address}\nstart that engine, or unset DOCKER_HOST")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise Unusable(
            f"{path} exists, but this user may not use it\n"
            "an administrator types: usermod -aG docker $USER, then log in again (membership is as good as root)"
        )
    if environment.get("ENGINE") == "external":
        raise Unusable(f"nothing answers at {address}, and ENGINE=external forbids starting one\nstart it yourself")
    names = families(OS_RELEASE.read_text(encoding="utf-8") if OS_RELEASE.exists() else "")
    can_install = bool({"debian", "ubuntu"} & set(names)) or shutil.which("dockerd") is not None
    if os.geteuid() != 0 or not can_install:
        raise Unusable(f"nothing answers at {address}\n{advice(names)}")


def families(os_release: str) -> list[str]:
    """Return the distribution and those it is like, nearest first, from the text of os-release(5)."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    return [word for key in ("ID", "ID_LIKE") for word in fields.get(key, "").strip("\"'").split()]


def advice(names: Sequence[str]) -> str:
    """Return what to type to get an engine on a distribution of these families."""
    command = next((INSTALL[name] for name in names if name in INSTALL), "")
    if not command:
        known = "\n".join(f"  {name:<8} {text}" for name, text in INSTALL.items())
        return f"as root, install and start a Docker engine, 20.10 or newer:\n{known}"
    return f"as root: {command}\nthen, so that you may use it: usermod -aG docker $USER, and log in again"


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock that other processes wait for; the kernel drops it when this one ends."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install() -> None:
    """Install Debian's or Ubuntu's engine, with the machine's own package sources and proxy settings."""
    say("engine: no Docker engine here; installing the distribution's docker.io (ENGINE=external forbids this)")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-y", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
    apt = ["apt-get", *options]
    for command in ([*apt, "update"], [*apt, "--no-install-recommends", "install", "docker.io"]):
        code = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
        # An update that fails for one source of several is no reason to stop: the install decides.
        if code != 0 and command[-1] != "update":
            raise Unusable(f"`{' '.join(command)}` ended with {code}; its output is above\n{advice(['debian'])}")


def start(daemon: list[str], *, address: str, log: Path, deadline: float) -> None:
    """Start an engine and wait until it answers.

    Args:
        daemon: program and arguments, where no systemd runs the machine.
        address: where it will answer.
        log: what it says goes here, where no systemd keeps it.
        deadline: seconds until waiting is given up.

    Raises:
        Unusable: with the end of the log, if it ends or does not answer in time.
    """
    if SYSTEMD.is_dir():
        say("engine: starting it: systemctl start docker")
        subprocess.run(["systemctl", "start", "docker"], stdin=subprocess.DEVNULL, check=False)
        if not _answers(address, None, deadline):
            raise Unusable("docker.service does not answer\nsee: journalctl -u docker -n 50")
        return
    forget_ended(PID_FILES)
    # A machine without firewall modules cannot have the engine's bridge; runs need none.
    for arguments in ([], ["--iptables=false", "--ip6tables=false", "--bridge=none"]):
        command = [*daemon, *arguments]
        say(f"engine: starting it in the background: {' '.join(command)}   (log: {log})")
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
            )
        if _answers(address, process, deadline):
            return
        if process.poll() is None:
            process.terminate()
            process.wait()
        last = tail(log, 20)
        if not any(word in last for word in ("iptables", "nftables", "bridge", "network controller")):
            break
    raise Unusable(f"dockerd did not start; the end of {log}:\n{last}")


def forget_ended(files: Mapping[Path, str]) -> None:
    """Remove what says that a daemon runs when it does not: an engine would wait for it, or refuse to start.

    After a crash the process id in such a file may be another program's.

    Args:
        files: file with a process id -> name of the program that it should be the id of.
    """
    for file, program in files.items():
        try:
            name = Path("/proc", file.read_text(encoding="utf-8").strip(), "comm").read_text(encoding="utf-8").strip()
        except (FileNotFoundError, ProcessLookupError):
            name = ""
        if name != program and file.exists():
            say(f"engine: {file} is left from a {program} that has ended; removing it")
            file.unlink()


def _answers(address: str, process: subprocess.Popen[bytes] | None, deadline: float) -> bool:
    """Wait until the engine answers; give up when its process has ended or `deadline` seconds have passed."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if ping(address):
            return True
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.2)
    return False


def tail(log: Path, lines: int) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def say(text: str) -> None:
    """Print a line at once, so that it stands before the output of what is started next."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
