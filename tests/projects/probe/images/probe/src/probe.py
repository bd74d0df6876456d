"""A framework that behaves as its prompt says: each way a step can go wrong, on demand."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

WORKSPACE = pathlib.Path("/workspace")
BEGUN, GATE = pathlib.Path("/out/begun"), pathlib.Path("/in/go-on")


def write() -> None:
    with (WORKSPACE / "notes.txt").open("a") as notes:
        notes.write("one more line\n")


def nothing() -> None:
    print("nothing to do")


def fail() -> None:
    write()
    print("going to fail", file=sys.stderr)
    sys.exit(3)


def hang() -> None:
    write()
    time.sleep(3600)


def slow() -> None:
    write()
    time.sleep(1.5)


def hold() -> None:
    """Say that it is under way, and end when somebody outside says so."""
    write()
    BEGUN.touch()
    while not GATE.exists():
        time.sleep(0.05)


def deaf() -> None:
    """Hold, whoever asks to stop."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hold()


def stubborn() -> None:
    """Fork children that ignore SIGTERM and leave the session, then ignore it too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            while True:
                time.sleep(60)
    write()
    while True:
        time.sleep(60)


def daemon() -> None:
    """Leave a child behind that would keep writing, and exit 0."""
    write()
    loop = "import time,pathlib\nwhile True: time.sleep(.1); pathlib.Path('/workspace/late').touch()"
    subprocess.Popen([sys.executable, "-c", loop], start_new_session=True)


def eat() -> None:
    write()
    hoard = []
    while True:
        hoard.append(b"x" * (8 << 20))


def suicide() -> None:
    write()
    os.kill(os.getpid(), signal.SIGKILL)


def burn() -> None:
    """Use half a second of CPU and 150 MiB for a moment."""
    write()
    hoard = b"x" * (150 << 20)
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    del hoard


def noise() -> None:
    """Write bytes that are no UTF-8, and one line of 8 MiB."""
    write()
    out = sys.stdout.buffer
    out.write(b"\xff\xfe broken \x1b[31m\n")
    for _ in range(8):
        out.write(b"y" * (1 << 20))
    out.write(b"\nlast line\n")
    out.flush()


def links() -> None:
    """Leave links out of the workspace, a FIFO, odd names and a folder without permissions."""
    (WORKSPACE / "shadow").symlink_to("/etc/shadow")
    (WORKSPACE / "root").symlink_to("/")
    os.mkfifo(WORKSPACE / "pipe")
    (WORKSPACE / "two\nlines").write_text("x")
    (WORKSPACE / "closed").mkdir()
    (WORKSPACE / "closed" / "inner").write_text("x")
    (WORKSPACE / "closed").chmod(0)


def lie() -> None:
    """Report nonsense about itself, through a link and beyond any size."""
    write()
    out = pathlib.Path("/out")
    (out / "result.json").symlink_to("/etc/passwd")
    (out / ".shim.json").write_text('{"version": 1, "cpu_seconds": -1e308, "exit_code": "x"}')


def escape() -> None:
    """Try every way out; say what worked."""
    write()
    worked = []
    for path in ("/opt/framework/x", "/etc/x", "/in/x", "/usr/x", "/run/gateway/x"):
        try:
            pathlib.Path(path).write_text("x")
        except OSError:
            continue
        worked.append(path)
    interfaces = sorted(os.listdir("/sys/class/net"))
    (WORKSPACE / "found.txt").write_text(
        f"uid={os.getuid()} writable={worked} interfaces={interfaces} docker={os.path.exists('/var/run/docker.sock')}\n"
    )
    status = pathlib.Path("/proc/self/status").read_text()
    wanted = ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp:")
    (WORKSPACE / "status.txt").write_text("".join(x for x in status.splitlines(True) if x.startswith(wanted)))
    (WORKSPACE / "environment.txt").write_text("\n".join(sorted(os.environ)))


if __name__ == "__main__":
    globals()[pathlib.Path("/in/prompt.txt").read_text().strip()]()
