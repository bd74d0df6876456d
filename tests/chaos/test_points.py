"""Crash points: the runner dies at each of them, once, and the next `go` must bring its run to the one end it has.

A dry run numbers them. `CHAOS_POINTS=all` takes every one however long that lasts; otherwise they are drawn by the seed
until the time is up. `CHAOS_POINT='POINT'` takes this one alone.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from chaos.bounds import ROUNDS_SHARE, SECONDS, SEED, UNREADABLE, keep, listed
from chaos.engine_eye import Witness
from chaos.invariants import Facts, violations
from chaos.places import Place, World, place
from support.own_engine import can_run
from support.upstream.starting import stated

DYING = Path(__file__).with_name("dying.py")
HALFWAY = "answered POST /v1.41/containers/*/start #1"
"""Where the runner has died before, for the points of the recovery: a container runs that nobody waits for."""
_PATIENCE = 180.0

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(SECONDS + 7200),
    pytest.mark.skipif(bool(can_run()), reason=can_run() or "can run"),
    # docker-py's transport leaves a socket to the garbage collector when nobody listens any more.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@dataclass(frozen=True)
class Family:
    """Points of one kind."""

    name: str
    who: str = ""
    """`gateway-` if it is the gateway that dies and not the runner."""
    before: str = ""
    """Where a runner has died already."""


FAMILIES = (Family("runner"), Family("heir", before=HALFWAY), Family("gateway", who="gateway-"))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_point_is_survived(arena: World, family: Family) -> None:
    """A runner that dies at a point, be it a new one or one that takes up what a dead one left, or a gateway, loses nothing."""
    points = _points(arena, family)
    assert points, "there are points"
    end = time.monotonic() + SECONDS * (1 - ROUNDS_SHARE) / len(FAMILIES)
    survived = 0
    failures = []
    for number, point in enumerate(_chosen(points)):
        if time.monotonic() > end and os.environ.get("CHAOS_POINTS") != "all" and number:
            break
        found = _die(arena, family, point, number)
        failures += found
        survived += not found
    print(  # noqa: T201  the suite's result
        f"{family.name}: {survived} of {len(points)} points survived, {len(failures)} not; seed {SEED}", flush=True
    )
    assert not failures, "\n\n".join(failures)


def _chosen(points: list[str]) -> list[str]:
    """Return the points in the order in which they are taken."""
    if wanted := os.environ.get("CHAOS_POINT"):
        return [wanted] if wanted in points else []
    return random.Random(SEED).sample(points, len(points))


def _points(arena: World, family: Family) -> list[str]:
    """Number the points: let one run come to its end."""
    with place(arena, f"n-{family.name}", arena.engine.host) as here:
        if family.before:
            assert _go(here, "at", family.before) == -signal.SIGKILL, f"{family.before} is not reached"
        listing = here.root / "points"
        assert _go(here, f"{family.who}list", str(listing)) == 0, here.log.read_text()
        return list(dict.fromkeys(listing.read_text().splitlines()))


def _die(arena: World, family: Family, point: str, number: int) -> list[str]:
    """Die at a point, go on undisturbed, and return a report if something does not hold then."""
    with place(arena, f"c-{family.name}-{number}", arena.engine.host) as here:
        witness = Witness(arena.eye)
        facts = Facts(place=here, witness=witness, planned=1, answered_before=len(stated(arena.upstream)))
        codes = []
        try:
            with witness.watching():
                if family.before:
                    codes.append(_go(here, "at", family.before))
                codes.append(_go(here, f"{family.who}at", point))
                last = here.run("go", "single")
            wrong = violations(facts) if last == 0 else [f"exit code {last}"]
        except UNREADABLE as error:
            wrong = [repr(error)]
        if not wrong:
            return []
        log = here.log.read_text("utf-8", "replace").splitlines()[-15:]
        again = f"again: CHAOS_POINT={point!r} CHAOS_SECONDS=1 make chaos"
        titles = listed(f"{family.name} killed at {point}, exit codes {codes}", wrong), listed("said last", log)
        return ["\n".join((*titles, f"kept in {keep(here.root, family.name)}", again))]


def _go(here: Place, how: str, which: str) -> int:
    """Carry the experiment out in a runner that counts its points; return its exit code."""
    words = ("go", "single", "--output", str(here.output))
    process = here.start(sys.executable, str(DYING), how, which, "--", f"{here.root}/", *words)
    return process.wait(_PATIENCE)
