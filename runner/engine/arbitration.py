"""Who may start a container next, among all runners of a machine: pure, from what each of them has written down.

Shares are compared by the resource of which each user holds the largest part (dominant resource fairness, Ghodsi et
al., NSDI 2011): the user with the smallest goes first, then the experiment with the smallest, then who has waited
longest. Nobody overtakes in this queue, so that small containers do not keep a large one waiting for ever.
"""

from __future__ import annotations

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
class Ticket:
    """What one runner has reserved, and waits for."""

    uid: int
    user: str
    pid: int
    experiment: str
    demands: tuple[Demand, ...] = ()


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
    taken = _sum([*(one.room for ticket in scene.tickets for one in ticket.demands if one.granted), scene.others])
    found = admit(demand.room, taken, scene.host.room)
    if not found.admitted:
        return found.reason
    if reason := choose_gpus(demand, scene)[1]:
        return reason
    if not (taken.cpus or taken.memory):
        return ""  # An idle machine takes any one, whatever else it does.
    return _strained(scene.host, scene.site)


def choose_gpus(demand: Demand, scene: Scene) -> tuple[tuple[str, ...], str]:
    """Return the devices that a container would get now; or none, and why it has to wait.

    Args:
        demand: what it needs.
        scene: the machine and who shares it.
    """
    granted = {one for ticket in scene.tickets for held in ticket.demands if held.granted for one in held.devices}
    return choose(demand.gpus, scene.host.gpus, granted | scene.others.gpus)


def _beyond_share(demand: Demand, me: Ticket, scene: Scene) -> str:
    share = scene.site.share_of(me.user)
    mine = [one for ticket in scene.tickets if ticket.uid == me.uid for one in ticket.demands if one.granted]
    if share.containers is not None and len(mine) >= share.containers:
        return f"{me.user} may have {share.containers} containers at once, and has {len(mine)}"
    if not mine:
        return ""
    devices = sum(len(one.devices) for one in mine)
    if share.gpus is not None and devices + demand.gpus > share.gpus:
        return f"{me.user} may have {share.gpus} GPUs at once, and has {devices}"
    held = _sum(one.room for one in mine)
    if share.cpus is not None and held.cpus + demand.cpus > share.cpus + _SLACK:
        return f"{me.user} may reserve {share.cpus:g} cores, and has {held.cpus:g}"
    if share.memory is not None and held.memory + demand.memory > share.memory:
        return f"{me.user} may reserve {show_bytes(share.memory)} of memory, and has {show_bytes(held.memory)}"
    return ""


def _ahead(demand: Demand, me: Ticket, scene: Scene) -> int:
    """Count the waiting ones whose turn comes before; those that wait for their own user's share hold up nobody."""
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
        # Who waits for a device that is taken may wait for hours: only those who want one as well wait behind.
        if demand.gpus or not choose_gpus(one, scene)[1]
    )


def _part(ticket: Ticket, host: Host) -> float:
    """Return the part of the machine that a runner holds, of the resource of which that is largest."""
    held = _sum(one.room for one in ticket.demands if one.granted)
    devices = sum(len(one.devices) for one in ticket.demands if one.granted)
    return max(held.cpus / host.room.cpus, held.memory / host.room.memory, devices / max(len(host.gpus), 1))


def _strained(host: Host, site: Site) -> str:
    if host.available is not None and host.available < site.keep_memory:
        return f"{show_bytes(host.available)} of memory is available, {show_bytes(site.keep_memory)} is kept free"
    if host.load is not None and host.load > site.most_load:
        return f"the machine's load is {host.load:.1f} per core, above {site.most_load:g}"
    return ""


def _sum(rooms: Iterable[Room]) -> Room:
    held = list(rooms)
    return Room(cpus=sum(one.cpus for one in held), memory=sum(one.memory for one in held))
