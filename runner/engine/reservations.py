"""Reservations of cores and memory among all runners of a machine, whoever's they are.

Each runner has a file, its ticket, in a folder that all users share, and reserves by it only while it holds the folder's
lock; no engine is asked meanwhile, and to give back needs no lock. A ticket counts as long as the process lives that it
names and the file belongs to that process's user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from runner.engine.admission import Room, available_memory, capacity, load_per_core
from runner.engine.arbitration import Demand, Host, Rules, Scene, Ticket, choose_gpus, judge, rules_of
from runner.engine.owner import Owner
from runner.engine.protocol import EngineInfo
from runner.engine.shared import open_shared, remove_unfinished, shared_folder, shared_subfolder, unfinished
from runner.engine.tickets import ENDING, Written, login, read_tickets, remove_dead, write_ticket
from runner.events import boottime
from runner.spec.site import Site

FOLDER = "codegen-runner"
"""Name of the shared folder."""
_LOCK = "lock"
_LOCK_SECONDS = 2.0
_LOOK_AGAIN = 0.002
_WRITE_AGAIN = 1.0
"""Seconds after which a ticket that could not be written is written again."""
_UNSURE = "it is looked up which devices are free"


class Refresh(Protocol):
    """Asks an engine for the containers that run and are on no ticket."""

    def __call__(self, listed: Callable[[], Collection[str]], /, *, anew: bool = False) -> None:
        """Ask, unless the last answer is fresh and `anew` is not set; `listed` tells which containers are on tickets."""


def _nothing_to_ask(_: Callable[[], Collection[str]], *, anew: bool = False) -> None:
    """Stand for an engine of which nothing has to be known."""


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
    refresh: Refresh = _nothing_to_ask
    """Has the engine be asked for them, which may take long."""
    demands: dict[str, Demand] = field(default_factory=dict)
    mutex: threading.Lock = field(default_factory=threading.Lock)
    waiting: set[threading.Event] = field(default_factory=set)
    """Of those in this process who wait; set whenever it gives something back."""
    number: str = field(default_factory=lambda: secrets.token_hex(4))
    """Tells the tickets of one process apart."""
    closed: bool = False

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
        wish = Demand(
            key=key,
            run=run,
            step=step,
            cpus=room.cpus,
            memory=room.memory,
            gpus=gpus,
            since=now,
            asked=now,
            devices=devices,
        )
        if running:
            return self._enter(wish, running=True)
        # Here, where no lock is held: nobody else is to wait for this runner's engine.
        self.refresh(self._listed)
        reason = self._enter(wish)
        if reason == _UNSURE:
            # Of a runner that has just died the engine alone knows which devices its containers have.
            seen = {ticket.name for ticket in self._rest()}
            self.refresh(self._listed, anew=True)
            reason = self._enter(wish, seen=seen)
        return reason

    def _enter(self, wish: Demand, *, running: bool = False, seen: AbstractSet[str] | None = None) -> str:
        """Reserve room, or put what is wanted into the queue; return why it waits.

        Args:
            wish: what is wanted.
            running: whether it runs already.
            seen: names of the others' tickets before the engine was asked for this; None if it was not.
        """
        with self.mutex:
            known = self.demands.get(wish.key)
            since = wish.since if known is None else known.since
            demand = replace(wish, since=since, asked=boottime())
            try:
                with _locked(self.folder):
                    reason, given = ("", wish.devices) if running else self._judge(demand, seen)
                    self.demands[wish.key] = replace(demand, granted=not reason, reason=reason, devices=given)
                    self._write()
            except TimeoutError:
                reason = "the register of reservations is busy"
                self.demands[wish.key] = replace(demand, reason=reason, devices=())
            except OSError as error:
                # Waiting for a register that cannot be used would hold up everything for a matter of courtesy; that a
                # device is nobody else's is more than that.
                needed = demand.gpus and not running
                reason = f"the register of reservations cannot be used: {error.strerror}" if needed else ""
                self.demands[wish.key] = replace(demand, granted=not reason, reason=reason)
        return reason

    def devices(self, key: str) -> tuple[str, ...]:
        """Return the ids of the devices that a container has."""
        with self.mutex:
            return self.demands[key].devices if key in self.demands else ()

    def drop(self, key: str) -> None:
        """Give back what was reserved, or stop waiting for it."""
        with self.mutex:
            if self.demands.pop(key, None) is not None:
                self._give_back()
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
        with self.mutex:
            self.demands.clear()
            self.closed = True
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _give_back(self) -> None:
        """Take off the ticket what is no longer wanted; if that fails, try again until it is done.

        Without the lock of all, which somebody may hold for long: whoever looks meanwhile finds the ticket as it was or
        as it is, and what is free has not become less.
        """
        with contextlib.suppress(OSError):
            self._write()
            return
        with contextlib.suppress(OSError):
            if not self.demands:
                # Where there is no room to write something can still be removed.
                self._path.unlink(missing_ok=True)
                return
        again = threading.Timer(_WRITE_AGAIN, self._give_back_again)
        again.daemon = True
        again.start()

    def _give_back_again(self) -> None:
        with self.mutex:
            if not self.closed:
                self._give_back()

    @cached_property
    def _rules(self) -> Rules:
        """Return what this runner goes by, which stays the same as long as it has a ticket."""
        return rules_of(self.site, self.host(), login(self.owner.uid))

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.owner.uid}-{self.owner.pid}-{self.owner.started}-{self.number}{ENDING}"

    def _judge(self, demand: Demand, seen: AbstractSet[str] | None) -> tuple[str, tuple[str, ...]]:
        """Return why a container has to wait, or which devices it gets."""
        mine, scene = self._look(demand.asked)
        reason = judge(demand, mine, scene)
        if demand.gpus and not reason and (seen is None or not seen <= {ticket.name for ticket in scene.tickets}):
            # The containers of a runner that has gone since were on its ticket when the engine was asked.
            reason = _UNSURE
        return reason, () if reason else choose_gpus(demand, scene)[0]

    def _rest(self) -> list[Ticket]:
        """Return the tickets of all others; none if they cannot be read."""
        with contextlib.suppress(OSError):
            return [one for one in read_tickets(self.folder) if one.name != self._path.name]
        return []

    def _listed(self) -> set[str]:
        """Return the names of the containers that are on tickets."""
        with self.mutex:
            mine = set(self.demands)
        return mine.union(one.key for ticket in self._rest() for one in ticket.demands)

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
    refresh: Refresh = _nothing_to_ask,
    parent: Path | None = None,
) -> Iterator[Reservations]:
    """Take part in the sharing of this machine for as long as the block lasts.

    Args:
        owner: this process.
        info: the engine, whose machine is shared.
        site: the machine's rules.
        experiment: what is carried out, for who looks at the queue.
        others: measures what containers reserve that are on no ticket.
        refresh: has the engine be asked for them, which may take long.
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
        host=lambda: Host(room=whole, gpus=gpus, available=available_memory(), load=load_per_core(info.cpus)),
        others=others,
        refresh=refresh,
    )
    remove_dead(folder, owner)
    remove_unfinished(folder, unfinished(folder / _LOCK))
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
