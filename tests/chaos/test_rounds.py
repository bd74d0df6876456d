"""Rounds of chaos until the time is up: each begins with a seed of its own, and ends with nothing lost and nothing left.

`CHAOS_SECONDS` says how long, `CHAOS_SEED` with which seed it begins; round N has the N-th seed from there.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from chaos.bounds import ROUNDS_SHARE, SECONDS, SEED, UNREADABLE, keep, listed
from chaos.engine_eye import Witness
from chaos.havoc import Round, finish, torment
from chaos.invariants import Facts, violations
from chaos.places import Place, World, place
from support.own_engine import can_run
from support.upstream.starting import stated

from runner.engine.owner import current

BLOWS = 8
"""Of each round, at most: it is over when the experiment is."""
RUNS = 10
"""Runs of either experiment: its scenarios, each twice."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(SECONDS + 900),
    pytest.mark.skipif(bool(can_run()), reason=can_run() or "can run"),
    # docker-py's transport leaves a socket to the garbage collector when nobody listens any more.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture
def decoys(arena: World) -> Iterator[dict[str, str]]:
    """Put containers into the engine that no runner may touch; return their ids and states."""
    me = {**current().labels(), "org.codegen-runner.kind": "attempt"}
    stranger = {**me, "org.codegen-runner.owner-uid": "4242"}
    eye = arena.eye
    try:
        yield {
            eye.add_decoy(arena.image, "decoy-plain", {}, runs=True): "running",
            eye.add_decoy(arena.image, "decoy-stranger", stranger, runs=True): "running",
            eye.add_decoy(
                arena.image, "decoy-dead", {**stranger, "org.codegen-runner.owner-pid": "3999999"}, runs=False
            ): "created",
            eye.add_decoy(
                arena.image, "decoy-neighbour", {**me, "org.codegen-runner.run-dir": "/nowhere/near"}, runs=False
            ): "created",
        }
    finally:
        eye.remove_decoys()


def test_nothing_is_lost_and_nothing_is_left(arena: World, decoys: dict[str, str]) -> None:
    """Whatever is killed whenever, the next `go` brings every planned run to its end, once, and leaves nothing behind."""
    end = time.monotonic() + SECONDS * ROUNDS_SHARE
    seed, blows, failures = SEED, Counter[str](), list[str]()
    while seed == SEED or time.monotonic() < end:
        stood, failure = _round(arena, decoys, seed)
        blows += stood
        failures += failure
        word = "NOT fine" if failure else "fine"
        print(*failure, f"seed {seed}: {word}; blows so far: {blows.total()} {dict(blows)}", sep="\n", flush=True)  # noqa: T201  the result
        seed += 1
    assert not failures, "\n\n".join(failures)


def _round(arena: World, decoys: dict[str, str], seed: int) -> tuple[Counter[str], list[str]]:
    """Play one round and check what it left; return the blows that it took, and a report if something does not hold."""
    dice = random.Random(seed)
    with place(arena, f"r{seed}", arena.proxy.host) as here:
        one = Round(place=here, experiment=dice.choice(("scripted", "asked")), dice=dice)
        witness = Witness(arena.eye)
        facts = Facts(
            place=here,
            witness=witness,
            planned=RUNS,
            decoys=decoys,
            answered_before=len(stated(arena.upstream)),
        )
        try:
            with witness.watching():
                torment(one, BLOWS)
                finish(one)
            facts.harmed = one.harmed
            wrong = [*violations(facts), *_unverified(here, dice)]
        except UNREADABLE as error:
            wrong = [repr(error)]
        return one.kills, [_report(seed, one, wrong)] if wrong else []


def _unverified(here: Place, dice: random.Random) -> list[str]:
    """Have the runner itself verify one of the runs; return what is wrong with it."""
    run = dice.choice(sorted(path.parent.name for path in here.output.glob("[!.]*/*/metadata.json")))
    code = here.run("verify", run)
    return [f"`runner verify {run}` ends with exit code {code}"] if code else []


def _report(seed: int, one: Round, wrong: list[str]) -> str:
    """Say what does not hold, what happened before, and how to see it again."""
    said = one.place.log.read_text("utf-8", "replace").splitlines()[-40:]
    parts = listed("what does not hold", wrong), listed("what happened", one.done), listed("said last", said)
    kept = keep(one.place.root, str(seed))
    return "\n".join((*parts, f"kept in {kept}", f"again: CHAOS_SEED={seed} CHAOS_SECONDS=1 make chaos"))
