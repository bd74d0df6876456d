"""Wait for one's turn among all runners of a machine, before a container starts."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runner.engine.admission import Room
from runner.engine.reservations import Reservations
from runner.errors import EngineError
from runner.events import Notice
from runner.execution.cancellation import Cancellation
from runner.execution.context import Context, now
from runner.plan.models import PlannedStep, Run

_LOOK_AGAIN = 0.2
_TELL_AFTER = 5.0
"""Seconds of waiting of which nothing is said."""
_TELL_AGAIN = 300.0
"""Seconds after which one who still waits says so again."""


@contextlib.contextmanager
def reserved(
    context: Context, run: Run, step: PlannedStep, key: str, *, running: tuple[str, ...] | None = None
) -> Iterator[tuple[str, ...]]:
    """Hold what a container needs inside the block, waiting for it as long as that takes; yield its devices.

    Once the run is stopped nobody waits any more: the block is entered without, to end at once by its own look.

    Args:
        context: shared hands; without reservations nothing is waited for.
        run: its run.
        step: its step, with the limits that are reserved.
        key: the container's name.
        running: ids of the devices that it has, if it runs already; None for a new one.
    """
    wanted = Room(cpus=step.limits.cpus, memory=step.limits.memory)
    if context.reservations is None:
        # Nobody else is looked at: there is one container at a time, or none that wants a device.
        yield context.info.gpus[: step.limits.gpus] if running is None else running
        return
    wish = Wish(
        room=wanted,
        key=key,
        run=run.id,
        step=step.id,
        running=running is not None,
        gpus=step.limits.gpus,
        devices=running or (),
    )
    with reserved_room(context, wish):
        yield context.reservations.devices(key)


@contextlib.contextmanager
def reserved_room(context: Context, wish: Wish) -> Iterator[None]:
    """Hold what a container needs inside the block, without reservations nothing; see `reserved`."""
    if context.reservations is None:
        yield
        return

    def tell(reason: str) -> None:
        context.events(Notice(time=now(), run=wish.run, text=f"step {wish.step} waits for its turn: {reason}"))

    with held(context.reservations, wish, context.cancellation, tell):
        yield


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a container needs, and for what."""

    room: Room
    key: str
    """Its name."""
    run: str
    """Id of its run, or what stands for it in the queue."""
    step: str
    running: bool = False
    """Whether it runs already."""
    gpus: int = 0
    """Devices that it wants for itself."""
    devices: tuple[str, ...] = ()
    """Ids of those that it has, if it runs already."""


class NoTurn(EngineError):
    """A container's turn did not come for as long as somebody was willing to wait."""


@contextlib.contextmanager
def held(
    reservations: Reservations,
    wish: Wish,
    cancellation: Cancellation,
    tell: Callable[[str], None],
    longest: float | None = None,
) -> Iterator[None]:
    """Hold what a container needs inside the block, waiting for it; who is stopped enters without.

    Args:
        reservations: of this runner.
        wish: what is needed.
        cancellation: ends the waiting.
        tell: told after a while why it waits, and again now and then.
        longest: seconds to wait at most; None: as long as it takes.

    Raises:
        NoTurn: if it was not to be had for so long.
    """
    begun = time.monotonic()
    told, woken = begun + _TELL_AFTER - _TELL_AGAIN, threading.Event()
    try:
        with reservations.heard(woken), cancellation.told(woken.set):
            while not cancellation.cancelled and (reason := _asked(reservations, wish)):
                waited = time.monotonic() - begun
                if longest is not None and waited >= longest:
                    raise NoTurn(f"its turn did not come in {waited:.1f} s: {reason}", hint="runner queue")
                if time.monotonic() - told >= _TELL_AGAIN:
                    told = time.monotonic()
                    tell(reason)
                # What is given back between asking and waiting is not missed: it was set then.
                woken.wait(_LOOK_AGAIN if longest is None else min(_LOOK_AGAIN, longest - waited))
                woken.clear()
        yield
    finally:
        reservations.drop(wish.key)


def _asked(reservations: Reservations, wish: Wish) -> str:
    return reservations.ask(
        wish.key,
        wish.room,
        run=wish.run,
        step=wish.step,
        running=wish.running,
        gpus=wish.gpus,
        devices=wish.devices,
    )
