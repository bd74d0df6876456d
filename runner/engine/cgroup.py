"""Exact use of an attempt, from a cgroup of its own above the container's, which outlives the container.

The engine removes a container's cgroup, and its counters, when the container ends. A parent given by us stays with
everything its child used, until `remove_parents`.

Formats: Documentation/admin-guide/cgroup-v1 (memory, cpuacct, blkio) and cgroup-v2.rst of the Linux kernel.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from runner.engine.protocol import EngineInfo, Usage

CGROUP_ROOT = Path("/sys/fs/cgroup")
_FLAT_PREFIX = "/codegen-runner."
_SLICE = "codegenrunner"
"""Without a dash, as systemd reads `a-b.slice` as a slice within `a.slice`."""
_OURS = re.compile(rf"{re.escape(_FLAT_PREFIX)}[A-Za-z0-9._-]{{1,200}}|{_SLICE}-[0-9a-f]{{16}}\.slice")
_NOT_GONE = {errno.EBUSY, errno.ENOTEMPTY, errno.EACCES, errno.EPERM, errno.EROFS}
_SYSTEMD_PATIENCE = 30.0
_PAUSE = 0.05
_MICROSECONDS = 1e-6
_NANOSECONDS = 1e-9
_FIELDS = ("cpu_seconds", "peak_memory_bytes", "io_read_bytes", "io_write_bytes", "oom_kills")
_V2 = 2

_V1_REASONS = {
    "io_read_bytes": "cgroup v1 does not carry block I/O up to a parent",
    "io_write_bytes": "cgroup v1 does not carry block I/O up to a parent",
    "oom_kills": "cgroup v1 does not carry kills for memory up to a parent; the container's state tells",
}


def parent_name(info: EngineInfo, unique: str) -> str | None:
    """Return a name for the parent cgroup of one attempt, in the form the engine's cgroup driver wants.

    Each call gives another name, so that an attempt never inherits counters that a crashed one left behind.

    Args:
        info: the engine.
        unique: what the attempt is called; a person finds it again in the name with the `cgroupfs` driver.

    Returns:
        The name, or None where the counters could not be read afterwards: rootless, remote, or without cgroups.
    """
    if info.rootless or not info.local:
        return None
    nonce, mark = secrets.token_hex(4), _mark(info)
    match info.cgroup_driver:
        case "systemd":
            return f"{_SLICE}-{hashlib.sha256(f'{unique} {nonce}'.encode()).hexdigest()[:12]}{mark}.slice"
        case "cgroupfs":
            return f"{_FLAT_PREFIX}{re.sub('[^A-Za-z0-9._-]', '_', unique)[-180:]}-{nonce}{mark}"
        case _:
            return None


def is_of(info: EngineInfo, parent: str) -> bool:
    """Say whether a parent of ours was made for this engine: only that one knows whether a container still needs it."""
    return parent.removesuffix(".slice").endswith(_mark(info))


def _mark(info: EngineInfo) -> str:
    """Return what tells the engines of one machine apart in names, which is where each keeps its data."""
    return hashlib.sha256(info.root_dir.encode()).hexdigest()[:4]


def is_ours(parent: str) -> bool:
    """Say whether a parent's name was made by `parent_name`."""
    return _OURS.fullmatch(parent) is not None


def read_usage(root: Path, version: int, parent: str) -> Usage:
    """Read what everything that ever ran below a parent cgroup used.

    Args:
        root: where the cgroup file system is, with one folder per controller (v1) or one tree (v2).
        version: 1 or 2.
        parent: name as given to the engine.

    Returns:
        Exact numbers with `cgroup` as their source; None with a reason where the kernel keeps none.
    """
    if version == _V2:
        return _read_v2(root / _relative(parent))
    return _read_v1(root, _relative(parent))


def unmeasured(reason: str) -> Usage:
    """Return a usage that knows nothing, for one reason."""
    return Usage(reasons=dict.fromkeys(_FIELDS, reason))


def find_parents(root: Path) -> list[str]:
    """Return the names of all parent cgroups of ours that exist, of any user, sorted."""
    found = {f"/{path.name}" for path in _places(root, f"{_FLAT_PREFIX[1:]}*") if path.is_dir()}
    found |= {path.name for path in _places(root, f"{_SLICE}.slice/{_SLICE}-*.slice") if path.is_dir()}
    return sorted(name for name in found if is_ours(name))


def find_stale_parents(root: Path = CGROUP_ROOT, keep: Collection[str] = ()) -> list[str]:
    """Return the parents of ours in which no process runs.

    Args:
        root: where the cgroup file system is.
        keep: parents that existing containers name in their labels, which may be about to start.
    """
    return [name for name in find_parents(root) if name not in keep and not _has_processes(root, name)]


def processes(root: Path, parent: str) -> set[int]:
    """Return the ids of the processes below a parent cgroup, those aside that have none here; v1's controllers agree."""
    texts = [_read(folder / "cgroup.procs") for folder in folders(root, parent)]
    return {int(number) for text in texts if text for number in text.split()} - {0}


def end_processes(root: Path, parent: str, patience: float) -> set[int]:
    """Kill what runs below a parent cgroup, and wait until it is gone.

    Args:
        root: where the cgroup file system is.
        parent: name; in one that is not ours nothing is found.
        patience: seconds to wait.

    Returns:
        The ids of the processes that are still there, for want of rights or because the kernel does not let go of them.
    """
    end = time.monotonic() + patience
    while left := processes(root, parent):
        _kill(root, parent, left)
        if time.monotonic() >= end:
            break
        time.sleep(_PAUSE)
    return left


def _kill(root: Path, parent: str, found: Iterable[int]) -> None:
    """Kill processes that are below the parent once they are held: an id may be another's by then, what is held is not."""
    handles: dict[int, int] = {}
    try:
        for process in found:
            with contextlib.suppress(OSError):
                handles[process] = os.pidfd_open(process)
        for process in processes(root, parent) & handles.keys():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handles[process], signal.SIGKILL)
    finally:
        for handle in handles.values():
            os.close(handle)


def remove_parents(root: Path, parents: Iterable[str]) -> list[str]:
    """Remove parent cgroups in every controller, with the empty ones below.

    Args:
        root: where the cgroup file system is.
        parents: names; one that is not ours is never touched, one that is missing is done.

    Returns:
        The names that are still there, for want of rights or because something runs in them.
    """
    left = []
    for parent in parents:
        stay = False
        for folder in folders(root, parent):
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in _NOT_GONE:
                    raise
                stay = True
        if stay:
            left.append(parent)
    return left


def stop_slices(parents: Iterable[str], systemctl: str = "systemctl") -> None:
    """Have systemd forget slices, where the systemd driver made them and we may; it would keep one unit for each.

    What fails here only costs systemd a little memory: the folders are removed in any case.
    """
    slices = [parent for parent in parents if is_ours(parent) and parent.endswith(".slice")]
    if not slices or os.geteuid() != 0:
        return
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([systemctl, "stop", *slices], capture_output=True, check=False, timeout=_SYSTEMD_PATIENCE)


def folders(root: Path, parent: str) -> list[Path]:
    """Return a parent's existing folders, one per controller (v1) or one (v2), each after all that is below it.

    A name that is not ours gives none.
    """
    if not is_ours(parent):
        return []
    # A pattern would do, and take many times as long: this is done for every attempt.
    tops: list[Path] = []
    with contextlib.suppress(FileNotFoundError), os.scandir(root) as entries:
        controllers = [one.path for one in entries if one.is_dir(follow_symlinks=False)]
        named = (f"{place}/{_relative(parent)}" for place in (os.fspath(root), *controllers))
        tops = [Path(one) for one in named if os.path.isdir(one)]  # noqa: PTH112
    # os.walk passes over folders that vanish meanwhile, as those of other runners do at any time.
    below = [Path(folder, name) for top in tops for folder, names, _ in os.walk(top) for name in names]
    return sorted([*below, *tops], key=lambda path: (-len(path.parts), path))


def _relative(parent: str) -> str:
    """Return the parent's path within a hierarchy; systemd keeps `a-b.slice` inside `a.slice`."""
    return f"{_SLICE}.slice/{parent}" if parent.endswith(".slice") else parent.lstrip("/")


def _places(root: Path, pattern: str) -> list[Path]:
    """Return matches at the root itself (v2) and one level below, where v1 has its controllers."""
    return [*root.glob(pattern), *root.glob(f"*/{pattern}")]


def _has_processes(root: Path, parent: str) -> bool:
    """Tell whether anything runs below a parent, also what has no id here."""
    return any(_read(folder / "cgroup.procs") for folder in folders(root, parent))


def _read_v1(root: Path, parent: str) -> Usage:
    nanoseconds = _read(root / "cpuacct" / parent / "cpuacct.usage")
    peak = _read(root / "memory" / parent / "memory.max_usage_in_bytes")
    return _usage(
        {"cpu_seconds": int(nanoseconds) * _NANOSECONDS if nanoseconds else None},
        {"peak_memory_bytes": int(peak) if peak else None},
        {
            "cpu_seconds": f"there is no cpuacct cgroup {parent} here",
            "peak_memory_bytes": f"there is no memory cgroup {parent} here",
            **_V1_REASONS,
        },
    )


def _read_v2(folder: Path) -> Usage:
    if not folder.is_dir():
        return unmeasured(f"there is no cgroup {folder.name} here")
    cpu = _pairs(_read(folder / "cpu.stat")).get("usage_usec")
    peak = _read(folder / "memory.peak")
    devices = _read(folder / "io.stat")
    return _usage(
        {"cpu_seconds": cpu * _MICROSECONDS if cpu is not None else None},
        {
            "peak_memory_bytes": int(peak) if peak else None,
            "io_read_bytes": _sum(devices, "rbytes"),
            "io_write_bytes": _sum(devices, "wbytes"),
            "oom_kills": _pairs(_read(folder / "memory.events")).get("oom_kill"),
        },
        {
            "cpu_seconds": "the cgroup has no cpu.stat",
            "peak_memory_bytes": "the kernel keeps no memory.peak (Linux 5.19 and newer do)",
            "io_read_bytes": "the io controller is off",
            "io_write_bytes": "the io controller is off",
            "oom_kills": "the memory controller is off",
        },
    )


def _usage(seconds: dict[str, float | None], counts: dict[str, int | None], reasons: dict[str, str]) -> Usage:
    """Put readings together: what was read has a source, what was not has its reason."""
    read = {name for name, value in (*seconds.items(), *counts.items()) if value is not None}
    return Usage(
        cpu_seconds=seconds.get("cpu_seconds"),
        peak_memory_bytes=counts.get("peak_memory_bytes"),
        io_read_bytes=counts.get("io_read_bytes"),
        io_write_bytes=counts.get("io_write_bytes"),
        oom_kills=counts.get("oom_kills"),
        sources=dict.fromkeys(sorted(read), "cgroup"),
        reasons={name: reasons[name] for name in _FIELDS if name not in read},
    )


def _read(path: Path) -> str | None:
    """Return a cgroup file's text, or None where the kernel offers none or the cgroup is gone."""
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.EOPNOTSUPP, errno.EACCES}:
            raise
        return None


def _pairs(text: str | None) -> dict[str, int]:
    """Read lines of `name value`."""
    return {name: int(value) for name, value in (line.split() for line in (text or "").splitlines())}


def _sum(text: str | None, key: str) -> int | None:
    """Add one key over the devices of io.stat, whose lines are `major:minor key=value ...`; no device used is 0."""
    if text is None:
        return None
    return sum(
        int(part.removeprefix(f"{key}="))
        for line in text.splitlines()
        for part in line.split()
        if part.startswith(f"{key}=")
    )
