"""What a dead runner of the same output folder left of its gateway, as the runner after it finds it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.gateway.child import Child
from runner.gateway.known import Known, spent_in
from runner.gateway.leftovers import (
    forget_session,
    heirless,
    hold_again,
    lasting,
    new_folder,
    remove_folder,
    remove_leftovers,
)
from runner.gateway.pending import recover_folder, remembered
from runner.gateway.session import ignore
from runner.gateway.settings import GatewaySettings, Spent
from runner.gateway.taken import Taken, take_over


@dataclass(frozen=True, kw_only=True)
class Estate:
    """A gateway's folder that is ours, and what goes on in it."""

    folder: Path
    held: int | None
    """Descriptor of the folder's lock; None while a process holds it that we did not start."""
    owned: int
    """Descriptor that tells, as long as it is open, that its runner lives."""
    process: Child | Taken
    spent: Spent
    """What the experiment had used up before."""
    open: Sequence[Known] = ()
    """Sessions that a dead runner had open."""
    closed: Sequence[Known] = ()
    """Those of them that the process does not have open, and has to be told of."""


def enter(settings: GatewaySettings) -> Estate:
    """Take over what a dead runner of the same output folder left, else begin in a new folder.

    Raises:
        OSError: if no process can be started.
    """
    remove_leftovers(settings.runtime)
    found: Estate | None = None
    for folder, owned in heirless(settings.runtime, settings.home) if settings.home is not None else ():
        one = _inherit(settings, folder, owned) if found is None else None
        if one is None:
            _bury(settings, folder, owned)
        found = found or one
    return found or _begin(settings)


def _begin(settings: GatewaySettings) -> Estate:
    folder, held, owned = new_folder(settings.runtime, settings.home)
    process = Child(settings, folder, held, settings.spent)
    return Estate(folder=folder, held=held, owned=owned, process=process, spent=settings.spent)


def _inherit(settings: GatewaySettings, folder: Path, owned: int) -> Estate | None:
    """Take over the gateway of a folder, or start another one in it; None if there is nothing to go on with."""
    taken = take_over(folder, settings)
    if taken is not None:
        known = [
            Known(spec=one.spec, session=one.session, on_call=ignore, before=one.spent) for one in taken.answer.sessions
        ]
        there = {one.session.id for one in known}
        missing = [one for one in _known(settings, folder) if one.session.id not in there]
        spent = taken.answer.spent
        return Estate(
            folder=folder, held=None, owned=owned, process=taken, spent=spent, open=[*known, *missing], closed=missing
        )
    held = hold_again(folder)
    if held is None:
        return None
    with contextlib.suppress(OSError):
        recover_folder(folder)
    known = _known(settings, folder)
    if not known:
        os.close(held)
        return None
    kept = {one.session.id for one in known}
    for one in list(remembered(folder)):
        if one.session.id not in kept:
            forget_session(folder, one)
    process = Child(settings, folder, held, settings.spent)
    return Estate(
        folder=folder, held=held, owned=owned, process=process, spent=settings.spent, open=known, closed=known
    )


def _known(settings: GatewaySettings, folder: Path) -> list[Known]:
    """Return the sessions that are remembered in a folder and may be gone on with."""
    return [
        Known(spec=one.spec, session=one.session, on_call=ignore, before=spent_in(one.spec, settings.budget))
        for one in lasting(folder)
    ]


def _bury(settings: GatewaySettings, folder: Path, owned: int) -> None:
    """Remove a folder of ours that nobody goes on with; calls under way get their lines."""
    if (taken := take_over(folder, settings)) is not None:
        taken.end()
        taken.hang_up()
    held = hold_again(folder)
    if held is not None:
        with contextlib.suppress(OSError):
            recover_folder(folder)
        remove_folder(folder)
        os.close(held)
    os.close(owned)


def leave(folder: Path, *descriptors: int | None) -> None:
    """Remove the folder of a gateway that has ended, and let go of its locks."""
    remove_folder(folder)
    for one in descriptors:
        if one is not None:
            os.close(one)
    shutil.rmtree(folder, ignore_errors=True)
