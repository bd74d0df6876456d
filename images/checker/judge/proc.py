"""Read /proc: who belongs to a program, and on which ports they listen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_INODE = 9
"""Column of /proc/net/tcp that holds a socket's inode, see proc(5)."""
_LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp, from the kernel's include/net/tcp_states.h."""


@dataclass(frozen=True, order=True)
class Listener:
    """A port, and the loopback address at which it can be reached."""

    port: int
    host: str


def family(root: int, token: bytes) -> set[int]:
    """Return a process, its descendants, and whatever else carries a token in its first environment.

    The token finds those that were made to have another parent. Zombies are no processes any more.
    """
    parents: dict[int, int] = {}
    members = set()
    for pid in _pids():
        try:
            state, parent = _stat(pid)
            if state == "Z":
                continue
            parents[pid] = parent
            if token in (PROC / str(pid) / "environ").read_bytes():
                members.add(pid)
        except OSError:
            continue
    if root in parents:
        members.add(root)
    while grown := {pid for pid, parent in parents.items() if parent in members and pid not in members}:
        members |= grown
    return members


def listeners(pids: Iterable[int]) -> list[Listener]:
    """List the ports on which processes listen, lowest first; IPv4 before IPv6 where both are."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    found: dict[int, Listener] = {}
    for name, host in (("tcp6", "::1"), ("tcp", "127.0.0.1")):
        for line in _lines(PROC / "net" / name):
            parts = line.split()
            if len(parts) > _INODE and parts[3] == _LISTEN and parts[_INODE] in inodes:
                address, _, port = parts[1].rpartition(":")
                # A socket on all IPv6 addresses answers on IPv4 too, unless it was told otherwise.
                reached = "127.0.0.1" if name == "tcp6" and not int(address, 16) else host
                found[int(port, 16)] = Listener(int(port, 16), reached)
    return sorted(found.values())


def _pids() -> Iterator[int]:
    return (int(path.name) for path in PROC.iterdir() if path.name.isdigit())


def _stat(pid: int) -> tuple[str, int]:
    """Return state and parent; the name before them stands in parentheses and may hold any of the separators."""
    fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return fields[0], int(fields[1])


def _sockets(pid: int) -> Iterator[str]:
    try:
        for link in (PROC / str(pid) / "fd").iterdir():
            target = str(link.readlink())
            if target.startswith("socket:["):
                yield target[8:-1]
    except OSError:
        return


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()[1:]
    except OSError:
        return []
