"""Reservations of cores and memory among all runners of a machine, whoever's they are.

Each runner has a file, its ticket, in a folder that all users share, and changes it only while it holds the folder's
lock. A ticket counts as long as the process lives that it names and the file belongs to that process's user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from runner.engine.admission import Room, capacity
from runner.engine.arbitration import Demand, Host, Rules, Scene, Ticket, choose_gpus, judge, rules_of
from runner.engine.owner import Owner
from runner.engine.protocol import EngineInfo
from runner.engine.shared import open_shared, shared_folder, shared_subfolder
from runner.engine.tickets import ENDING, Written, login, read_tickets, remove_dead, write_ticket
from runner.events import boottime
from runner.spec.site import Site

FOLDER = "codegen-runner"
"""Name of the shared folder."""
_LOCK = "lock"
_LOCK_SECONDS = 2.0
_LOOK_AGAIN = 0.002


@dataclass(kw_only=True)
class Reservations:
    """This runner's ticket, and the lock of all; safe in several threads. Get one from `open_reservations`."""

    folder: Path
    owner: Owner
    experiment: str
    site: Site
    host: Callable[[], Host]
    """Measures the machine."""
    others: Callable[[tuple[str, ...]], Room]
    """Measures what running containers reserve that are not among these keys, for the engine alone knows of them."""
    refresh: Callable[[], None] = lambda: None
    """Has them be measured anew at the next look."""
    demands: dict[str, Demand] = field(default_factory=dict)
    mutex: threading.Lock = field(default_factory=threading.Lock)
    waiting: set[threading.Event] = field(default_factory=set)
    """Of those in this process who wait; set whenever it gives something back."""
    number: str = field(default_factory=lambda: secrets.token_hex(4))
    """Tells the tickets of one process apart."""

    def ask(
        self,
        key: str,
        room: Room,
        *,
        run: str,
        step: str,
        running: bool = False,
        gpus: int = 0,
        devices: tuple[str, ...] = (),
    ) -> str:
        """Reserve room for a container, or say why it has to wait; then ask again, several times a second.

        Args:
            key: the container's name.
            room: its limits.
            run: id of its run.
            step: id of its step.
            running: whether it runs already, so that there is nothing to wait for.
            gpus: devices that it wants for itself; which it gets `devices` tells.
            devices: those that it has, if it runs already.

        Returns:
            Why it waits; empty once it is reserved, until `drop`.
        """
        now = boottime()
        with self.mutex:
            known = self.demands.get(key)
            demand = Demand(
                key=key,
                run=run,
                step=step,
                cpus=room.cpus,
                memory=room.memory,
                gpus=gpus,
                since=known.since if known is not None else now,
                asked=now,
            )
            try:
                with _locked(self.folder):
                    reason, given = ("", devices) if running else self._judge(demand, now)
                    self.demands[key] = replace(demand, granted=not reason, reason=reason, devices=given)
                    self._write()
            except TimeoutError:
                reason = "the register of reservations is busy"
                self.demands[key] = replace(demand, reason=reason)
            except OSError as error:
                # Waiting for a register that cannot be used would hold up everything for a matter of courtesy; that a
                # device is nobody else's is more than that.
                reason = (
                    f"the register of reservations cannot be used: {error.strerror}" if gpus and not running else ""
                )
                self.demands[key] = replace(demand, granted=not reason, reason=reason, devices=devices)
        return reason

    def devices(self, key: str) -> tuple[str, ...]:
        """Return the ids of the devices that a container has."""
        with self.mutex:
            return self.demands[key].devices if key in self.demands else ()

    def drop(self, key: str) -> None:
        """Give back what was reserved, or stop waiting for it."""
        with self.mutex:
            if self.demands.pop(key, None) is not None:
                with contextlib.suppress(OSError), _locked(self.folder):
                    self._write()
            for event in self.waiting:
                event.set()

    @contextlib.contextmanager
    def heard(self, event: threading.Event) -> Iterator[None]:
        """Have an event set whenever this runner gives something back inside the block; others' are seen by asking."""
        with self.mutex:
            self.waiting.add(event)
        try:
            yield
        finally:
            with self.mutex:
                self.waiting.discard(event)

    def close(self) -> None:
        """Take the ticket back."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    @cached_property
    def _rules(self) -> Rules:
        """Return what this runner goes by, which stays the same as long as it has a ticket."""
        return rules_of(self.site, self.host(), login(self.owner.uid))

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.owner.uid}-{self.owner.pid}-{self.owner.started}-{self.number}{ENDING}"

    def _judge(self, demand: Demand, now: float) -> tuple[str, tuple[str, ...]]:
        """Return why a container has to wait, or which devices it gets."""
        mine, scene = self._look(now)
        if demand.gpus and not judge(demand, mine, scene):
            # Of a runner that has just died the engine alone knows which devices its containers have.
            self.refresh()
            mine, scene = self._look(now)
        reason = judge(demand, mine, scene)
        return reason, () if reason else choose_gpus(demand, scene)[0]

    def _look(self, now: float) -> tuple[Ticket, Scene]:
        """Return this runner's ticket, and everything there is."""
        tickets = read_tickets(self.folder)
        mine = Ticket(
            uid=self.owner.uid,
            user=login(self.owner.uid),
            pid=self.owner.pid,
            experiment=self.experiment,
            demands=tuple(self.demands.values()),
            name=self._path.name,
            rules=self._rules,
        )
        rest = [one for one in tickets if one.name != mine.name]
        keys = tuple(one.key for ticket in [mine, *rest] for one in ticket.demands)
        return mine, Scene(tickets=[mine, *rest], others=self.others(keys), host=self.host(), site=self.site, now=now)

    def _write(self) -> None:
        written = Written(
            owner=self.owner.labels(),
            experiment=self.experiment,
            demands=tuple(self.demands.values()),
            rules=self._rules,
        )
        write_ticket(self._path, written)


@contextlib.contextmanager
def open_reservations(
    owner: Owner,
    info: EngineInfo,
    site: Site,
    experiment: str,
    others: Callable[[tuple[str, ...]], Room],
    *,
    refresh: Callable[[], None] = lambda: None,
    parent: Path | None = None,
) -> Iterator[Reservations]:
    """Take part in the sharing of this machine for as long as the block lasts.

    Args:
        owner: this process.
        info: the engine, whose machine is shared.
        site: the machine's rules.
        experiment: what is carried out, for who looks at the queue.
        others: measures what containers reserve that are on no ticket.
        refresh: has them be measured anew at the next look.
        parent: where the shared folder is; by default where all users have one.

    Raises:
        StorageError: if there is no place for the shared folder.
    """
    folder = shared_subfolder(FOLDER, parent or shared_folder())
    room = capacity(info)
    whole = Room(cpus=site.cpus or room.cpus, memory=site.memory or room.memory)
    gpus = known_gpus(info, site)
    mine = Reservations(
        folder=folder,
        owner=owner,
        experiment=experiment,
        site=site,
        host=lambda: Host(room=whole, gpus=gpus, available=_available(), load=_load(info.cpus)),
        others=others,
        refresh=refresh,
    )
    remove_dead(folder, owner)
    try:
        yield mine
    finally:
        mine.close()


def known_gpus(info: EngineInfo, site: Site) -> tuple[str, ...]:
    """Return the ids of the devices that are handed out: what the site says, else what was found."""
    return info.gpus if site.gpus is None else site.gpus


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of all runners.

    Raises:
        TimeoutError: if somebody else holds it for long.
        OSError: if it cannot be used.
    """
    handle = open_shared(folder / _LOCK)
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError from None
                time.sleep(_LOOK_AGAIN)
        yield
    finally:
        os.close(handle)


def _available() -> int | None:
    """Return MemAvailable of proc_meminfo(5), bytes."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    except (OSError, ValueError, IndexError):
        return None


def _load(cpus: int) -> float | None:
    try:
        return os.getloadavg()[0] / max(cpus, 1)
    except OSError:
        return None
