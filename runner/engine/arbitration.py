"""Who may start a container next, among all runners of a machine: pure, from what each of them has written down.

Shares are compared by the resource of which each user holds the largest part (dominant resource fairness, Ghodsi et
al., NSDI 2011): the user with the smallest goes first, then the experiment with the smallest, then who has waited
longest. Nobody overtakes in this queue, so that small containers do not keep a large one waiting for ever. The turn is
held only by one who could start if it came: runners may follow different rules, and whoever waits for rules of his own
waits beside the queue.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.engine.admission import Room, admit
from runner.engine.gpus import choose
from runner.spec.site import Site
from runner.spec.units import show_bytes

_PATIENCE = 10.0
"""Seconds after which one that waits and has not asked again holds up nobody any more."""
_SLACK = 1e-9


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one container reserves, or is to."""

    key: str
    """Name of the container: unique on the machine."""
    run: str
    step: str
    cpus: float
    memory: int
    """Bytes."""
    since: float
    """When it was first asked for, seconds since boot."""
    asked: float
    """When it was last asked for, seconds since boot."""
    gpus: int = 0
    """Devices that it wants for itself."""
    devices: tuple[str, ...] = ()
    """Ids of those that it has."""
    granted: bool = False
    reason: str = ""
    """Why it waits."""

    @property
    def room(self) -> Room:
        return Room(cpus=self.cpus, memory=self.memory)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one runner goes by, as its site file says it: others judge by these whether it could start."""

    cpus: float
    """Cores that all runners may reserve together."""
    memory: int
    """Bytes that all runners may reserve together."""
    gpus: tuple[str, ...]
    """Ids of the devices that are handed out."""
    keep_memory: int
    """Bytes of available memory below which nothing further begins."""
    most_load: float
    """Load per core above which nothing further begins."""
    user_cpus: float | None = None
    """What this user's containers may have together, as the following; None: no limit."""
    user_memory: int | None = None
    user_containers: int | None = None
    user_gpus: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What one runner has reserved, and waits for."""

    uid: int
    user: str
    pid: int
    experiment: str
    demands: tuple[Demand, ...] = ()
    name: str = ""
    """Name of its file: one process may have several."""
    rules: Rules | None = None
    """What it goes by; None of one who does not say: what the one that asks goes by."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """The machine, now."""

    room: Room
    """What may be reserved in all."""
    gpus: tuple[str, ...] = ()
    """Ids of the devices that there are."""
    available: int | None = None
    """Bytes of memory that can be had without swapping; None if the kernel does not say."""
    load: float | None = None
    """Processes that run or want to, over the last minute, per core."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that decides who may start a container."""

    tickets: Sequence[Ticket]
    """Of all runners, the one that asks among them."""
    others: Room
    """What containers reserve that are on no ticket, like those of runners that died."""
    host: Host
    site: Site
    now: float
    """Seconds since boot."""


def rules_of(site: Site, host: Host, user: str) -> Rules:
    """Return what a user's runner goes by on a machine with these rules."""
    share = site.share_of(user)
    return Rules(
        cpus=host.room.cpus,
        memory=host.room.memory,
        gpus=host.gpus,
        keep_memory=site.keep_memory,
        most_load=site.most_load,
        user_cpus=share.cpus,
        user_memory=share.memory,
        user_containers=share.containers,
        user_gpus=share.gpus,
    )


def judge(demand: Demand, me: Ticket, scene: Scene) -> str:
    """Say why a container has to wait; empty if it may start.

    Args:
        demand: what it needs.
        me: ticket of the runner that asks.
        scene: the machine and who shares it.
    """
    if reason := _beyond_share(demand, me, scene):
        return reason
    ahead = _ahead(demand, me, scene)
    if ahead:
        return f"{ahead} others come first" if ahead > 1 else "another comes first"
    taken = _taken(scene)
    found = admit(demand.room, taken, scene.host.room)
    if not found.admitted:
        return found.reason
    if reason := choose_gpus(demand, scene)[1]:
        return reason
    if not (taken.cpus or taken.memory):
        return ""  # An idle machine takes any one, whatever else it does.
    return _strained(scene.host, _rules(me, scene))


def choose_gpus(demand: Demand, scene: Scene) -> tuple[tuple[str, ...], str]:
    """Return the devices that a container would get now; or none, and why it has to wait.

    Args:
        demand: what it needs.
        scene: the machine and who shares it.
    """
    return _choose_gpus(demand, scene.host.gpus, scene)


def _choose_gpus(demand: Demand, devices: tuple[str, ...], scene: Scene) -> tuple[tuple[str, ...], str]:
    granted = {one for ticket in scene.tickets for held in ticket.demands if held.granted for one in held.devices}
    return choose(demand.gpus, devices, granted | scene.others.gpus)


def _rules(ticket: Ticket, scene: Scene) -> Rules:
    return ticket.rules or rules_of(scene.site, scene.host, ticket.user)


def _taken(scene: Scene) -> Room:
    return _sum([*(one.room for ticket in scene.tickets for one in ticket.demands if one.granted), scene.others])


def _beyond_share(demand: Demand, me: Ticket, scene: Scene) -> str:
    rules = _rules(me, scene)
    mine = [one for ticket in scene.tickets if ticket.uid == me.uid for one in ticket.demands if one.granted]
    if rules.user_containers is not None and len(mine) >= rules.user_containers:
        return f"{me.user} may have {rules.user_containers} containers at once, and has {len(mine)}"
    if not mine:
        return ""
    devices = sum(len(one.devices) for one in mine)
    if rules.user_gpus is not None and devices + demand.gpus > rules.user_gpus:
        return f"{me.user} may have {rules.user_gpus} GPUs at once, and has {devices}"
    held = _sum(one.room for one in mine)
    if rules.user_cpus is not None and held.cpus + demand.cpus > rules.user_cpus + _SLACK:
        return f"{me.user} may reserve {rules.user_cpus:g} cores, and has {held.cpus:g}"
    if rules.user_memory is not None and held.memory + demand.memory > rules.user_memory:
        return f"{me.user} may reserve {show_bytes(rules.user_memory)} of memory, and has {show_bytes(held.memory)}"
    return ""


def _ahead(demand: Demand, me: Ticket, scene: Scene) -> int:
    """Count the waiting ones whose turn comes before."""
    taken, mine_by = _taken(scene), _rules(me, scene)
    shares: dict[int, float] = {}
    for ticket in scene.tickets:
        shares[ticket.uid] = shares.get(ticket.uid, 0.0) + _part(ticket, scene.host)

    def rank(ticket: Ticket, one: Demand) -> tuple[float, float, float, str]:
        return (round(shares[ticket.uid], 9), round(_part(ticket, scene.host), 9), one.since, one.key)

    mine = rank(me, demand)
    return sum(
        rank(ticket, one) < mine
        for ticket in scene.tickets
        for one in ticket.demands
        if not one.granted and one.key != demand.key and scene.now - one.asked < _PATIENCE
        if not _beyond_share(one, ticket, scene)
        if not _barred(one, _rules(ticket, scene), mine_by, taken, scene)
        # Who waits for a device that is taken may wait for hours: only those who want one as well wait behind.
        if demand.gpus or not choose_gpus(one, scene)[1]
    )


def _barred(one: Demand, own: Rules, other: Rules, taken: Room, scene: Scene) -> bool:
    """Say whether a waiting one is kept from starting by rules of its own that are narrower than another's.

    What it waits for then is not what the other waits for, and need not come while that one takes turn after turn. A
    large one that waits for room by rules no narrower than the other's holds its turn: nobody overtakes it.

    Args:
        one: the waiting one.
        own: what its runner goes by.
        other: what the one goes by who would wait behind it.
        taken: what is reserved.
        scene: the machine and who shares it.
    """
    if not (taken.cpus or taken.memory):
        return False  # An idle machine takes any one.
    narrower = Room(
        cpus=own.cpus if own.cpus < other.cpus else math.inf,
        memory=own.memory if own.memory < other.memory else sys.maxsize,
    )
    if not admit(one.room, taken, narrower).admitted:
        return True
    if _choose_gpus(one, own.gpus, scene)[1] and not _choose_gpus(one, other.gpus, scene)[1]:
        return True
    return bool(_strained(scene.host, own)) and not _strained(scene.host, other)


def _part(ticket: Ticket, host: Host) -> float:
    """Return the part of the machine that a runner holds, of the resource of which that is largest."""
    held = _sum(one.room for one in ticket.demands if one.granted)
    devices = sum(len(one.devices) for one in ticket.demands if one.granted)
    return max(held.cpus / host.room.cpus, held.memory / host.room.memory, devices / max(len(host.gpus), 1))


def _strained(host: Host, rules: Rules) -> str:
    if host.available is not None and host.available < rules.keep_memory:
        return f"{show_bytes(host.available)} of memory is available, {show_bytes(rules.keep_memory)} is kept free"
    if host.load is not None and host.load > rules.most_load:
        return f"the machine's load is {host.load:.1f} per core, above {rules.most_load:g}"
    return ""


def _sum(rooms: Iterable[Room]) -> Room:
    held = list(rooms)
    return Room(cpus=sum(one.cpus for one in held), memory=sum(one.memory for one in held))
