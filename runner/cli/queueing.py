"""Who runs what on this machine, and who waits for what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.engine.arbitration import Demand, Ticket
from runner.engine.reservations import FOLDER
from runner.engine.shared import shared_folder
from runner.engine.tickets import read_tickets
from runner.report.format import duration, size
from runner.report.tables import Cell, Column, Table, Tone

_COLUMNS = (
    Column(title="user"),
    Column(title="experiment", rank=4),
    Column(title="run"),
    Column(title="step", rank=2),
    Column(title="state"),
    Column(title="for", right=True, rank=1),
    Column(title="cores", right=True, rank=3),
    Column(title="memory", right=True, rank=3),
    Column(title="why"),
)


def queue(parent: Path | None = None) -> list[Ticket]:
    """Return the tickets of all runners of this machine.

    Raises:
        StorageError: if there is no folder that runners could share.
    """
    return read_tickets((parent or shared_folder()) / FOLDER)


def queue_table(tickets: Sequence[Ticket], now: float) -> Table:
    """Return a line for each container: those that run first, then those that wait, each in the order of asking.

    Args:
        tickets: of all runners.
        now: seconds since boot.
    """
    lines = sorted(
        ((one, ticket) for ticket in tickets for one in ticket.demands),
        key=lambda pair: (not pair[0].granted, pair[0].since),
    )
    held = [one for one, _ in lines if one.granted]
    waiting = len(lines) - len(held)
    note = (
        f"{sum(one.cpus for one in held):g} cores and {size(sum(one.memory for one in held))} of memory are reserved; "
        f"{waiting:,} waiting"
    )
    return Table(
        columns=_COLUMNS,
        rows=tuple(_row(one, ticket, now) for one, ticket in lines),
        notes=(note,),
    )


def _row(one: Demand, ticket: Ticket, now: float) -> tuple[Cell, ...]:
    state = Cell("runs", Tone.GOOD) if one.granted else Cell("waits", Tone.WARN)
    return (
        Cell(ticket.user),
        Cell(ticket.experiment),
        Cell(one.run),
        Cell(one.step),
        state,
        Cell(duration(max(now - one.since, 0.0))),
        Cell(f"{one.cpus:g}"),
        Cell(size(one.memory)),
        Cell(one.reason),
    )


def queue_values(tickets: Sequence[Ticket], now: float) -> list[dict[str, object]]:
    """Return the same as plain values, for `--json`; `seconds` since it was first asked for."""
    return [
        {
            "user": ticket.user,
            "uid": ticket.uid,
            "pid": ticket.pid,
            "experiment": ticket.experiment,
            "run": one.run,
            "step": one.step,
            "container": one.key,
            "state": "runs" if one.granted else "waits",
            "reason": one.reason,
            "cpus": one.cpus,
            "memory": one.memory,
            "gpus": list(one.devices) or one.gpus,
            "seconds": round(max(now - one.since, 0.0), 1),
        }
        for ticket in tickets
        for one in ticket.demands
    ]
