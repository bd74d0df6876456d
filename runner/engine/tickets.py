"""Tickets: the files in which runners tell each other what they have reserved and what they wait for."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from runner.engine.arbitration import Demand, Rules, Ticket
from runner.engine.owner import Owner, from_labels, is_alive
from runner.engine.shared import remove_unfinished

ENDING = ".ticket"
_LARGEST = 1024**2
"""Bytes of a ticket that are read; a larger one is no ticket of ours."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A ticket as it is written."""

    owner: dict[str, str]
    experiment: str
    demands: tuple[Demand, ...] = ()
    rules: Rules | None = None


def write_ticket(path: Path, written: Written) -> None:
    """Write a ticket whole or not at all. Whoever reserves by it holds the folder's lock; to give back needs none.

    Raises:
        OSError: if it cannot be written.
    """
    unnamed = path.with_name(f".{path.name}")
    try:
        _fill(unnamed, json.dumps(asdict(written)).encode())
        unnamed.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            unnamed.unlink()
        raise


def _fill(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(handle, 0o644)
        while content:
            # On a full file system a part is written, and the next call fails.
            content = content[os.write(handle, content) :]
    finally:
        os.close(handle)


def read_tickets(folder: Path, *, alive: Callable[[Owner], bool] = is_alive) -> list[Ticket]:
    """Return the tickets of all runners that live, by user and process; what is no ticket is passed over."""
    found = []
    for path in sorted(folder.glob(f"[!.]*{ENDING}")):
        read = _read(path)
        if read is None:
            continue
        written, uid = read
        owner = from_labels(written.owner)
        if owner is None or owner.uid != uid or not alive(owner):
            continue
        found.append(
            Ticket(
                uid=uid,
                user=login(uid),
                pid=owner.pid,
                experiment=written.experiment,
                demands=written.demands,
                name=path.name,
                rules=written.rules,
            )
        )
    return found


@cache
def _adapter() -> TypeAdapter[Written]:
    """Return what reads a ticket; made once, since that takes milliseconds, and tickets are read several times a second."""
    return TypeAdapter(Written)


def _read(path: Path) -> tuple[Written, int] | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        written = _adapter().validate_json(os.read(handle, _LARGEST))
        return written, os.fstat(handle).st_uid
    except (OSError, ValidationError):
        return None
    finally:
        os.close(handle)


def remove_dead(folder: Path, owner: Owner) -> None:
    """Remove the tickets of this user's runners that have ended, and what was begun of one when its writer was killed."""
    for path in folder.glob(f"{owner.uid}-*{ENDING}"):
        read = _read(path)
        whose = from_labels(read[0].owner) if read is not None else _named(path, owner)
        if whose is not None and not is_alive(whose):
            with contextlib.suppress(OSError):
                path.unlink()
    remove_unfinished(folder, f".{owner.uid}-*{ENDING}")


def _named(path: Path, owner: Owner) -> Owner | None:
    """Return whose a ticket is by its name, for one that cannot be read; None if that does not tell."""
    words = path.name.removesuffix(ENDING).split("-")[1:3]
    numbers = [int(word) for word in words if word.isdecimal()]
    return replace(owner, pid=numbers[0], started=numbers[1]) if len(numbers) == len(words) == 2 else None  # noqa: PLR2004  process and start


def login(uid: int) -> str:
    """Return a user's name, or the number of one who has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
