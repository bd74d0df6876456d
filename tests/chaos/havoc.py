"""What can happen to an experiment from outside, and a round of it: chosen by a seed, in an order and with pauses of its own."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from chaos.elsewhen import write_times
from chaos.engine_eye import Unhappy
from chaos.places import Place, processes
from support.fault_proxy import Fault, Kind

LONGEST_PAUSE = 3.5
"""Seconds between two blows: a few containers begin and end in them."""
_FILLED_SECONDS = 1.2
_STOPPED_SECONDS = 1.0
_FAULTS: Mapping[Kind, int] = {
    **dict.fromkeys(("delay", "close", "status", "lose", "status_after", "cut"), 6),
    "hang": 1,
    "hang_after": 1,
}
"""What happens to a call, and how often in proportion: one that hangs takes as long as a deadline of the runner's."""
_HANGING = frozenset({"hang", "hang_after"})
_JUMPS = (-3600.0, 3600.0, -86_400.0, 86_400.0, 0.5)
"""Seconds by which the time of day is set."""
_CALLS = (
    ("POST", r"/containers/create$"),
    ("POST", r"/containers/[^/]+/start$"),
    ("POST", r"/containers/[^/]+/wait$"),
    ("GET", r"/containers/[^/]+/(json|logs)$"),
    ("DELETE", r"/containers/"),
    ("GET", r"/containers/json$"),
    ("", r"/volumes"),
    ("", ""),
)
_QUICK = (
    ("GET", r"/containers/[^/]+/(json|logs)$"),
    ("POST", r"/containers/[^/]+/wait$"),
    ("GET", r"/containers/json$"),
)
"""Calls with a short deadline."""
_STATUSES = (500, 503, 404, 409)


@dataclass(kw_only=True)
class Round:
    """One experiment under fire."""

    place: Place
    experiment: str
    dice: random.Random
    begun: float = field(default_factory=time.monotonic)
    runner: subprocess.Popen[bytes] | None = None
    done: list[str] = field(default_factory=list)
    """What happened, when."""
    kills: Counter[str] = field(default_factory=Counter)
    offset: float = 0.0
    """Seconds by which the time of day is off."""
    harmed: int = 0
    """Containers that were killed, each of which may end a run otherwise than expected."""

    def note(self, what: str) -> None:
        self.done.append(f"{time.monotonic() - self.begun:7.2f} s  {what}")

    def launch(self) -> None:
        """Start the runner if none is at work."""
        if self.runner is None:
            self.runner = self.place.start(*self.place.command("go", self.experiment))
            self.note(f"runner {self.runner.pid} started")

    def ended(self, seconds: float) -> int | None:
        """Return the runner's exit code if it ends in time."""
        if self.runner is None:
            return None
        try:
            code = self.runner.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self.runner = None
        self.note(f"runner ended: {code}")
        return code


def kill_runner(one: Round) -> bool:
    """Kill the runner at once."""
    if one.runner is None:
        return False
    one.runner.kill()
    one.ended(30)
    return True


def kill_gateway(one: Round) -> bool:
    """Kill the gateway's process at once."""
    found = [pid for pid, words in processes(one.place.root) if "runner.gateway" in words]
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(found)


def kill_both(one: Round) -> bool:
    """Kill runner and gateway at the same moment."""
    found = kill_gateway(one)
    return kill_runner(one) or found


def interrupt(one: Round) -> bool:
    """Press Ctrl-C, and once in a while a second time."""
    if one.runner is None:
        return False
    one.runner.send_signal(signal.SIGINT)
    if one.dice.random() < 0.5:
        time.sleep(0.3)
        with contextlib.suppress(ProcessLookupError):
            one.runner.send_signal(signal.SIGINT)
    if one.ended(60) is None:
        raise AssertionError("interrupted, the runner does not end")
    return True


def stop_for_a_while(one: Round) -> bool:
    """Stop the runner and let it go on, as a machine that sleeps does."""
    if one.runner is None:
        return False
    one.runner.send_signal(signal.SIGSTOP)
    time.sleep(_STOPPED_SECONDS)
    one.runner.send_signal(signal.SIGCONT)
    return True


def kill_container(one: Round) -> bool:
    """Kill a container, or ask it to end, behind the runner's back."""
    eye = one.place.world.eye
    running = sorted(eye.ours(everything=False), key=lambda found: str(found["Names"]))
    if not running:
        return False
    how = one.dice.choice(("KILL", "TERM"))
    hit = eye.kill(one.dice.choice(running)["Id"], how)
    one.harmed += hit
    return hit


def kill_engine(one: Round) -> bool:
    """Kill the engine and start it again after a while."""
    return _restart(one, signal.SIGKILL)


def end_engine(one: Round) -> bool:
    """End the engine as an administrator does, and start it again."""
    return _restart(one, signal.SIGTERM)


def _restart(one: Round, how: signal.Signals) -> bool:
    engine = one.place.world.engine
    engine.end(how)
    time.sleep(one.dice.uniform(0, 2))
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            engine.start()
            return True
        engine.end(signal.SIGKILL)
    raise AssertionError("the engine of the suite does not start again")


def trouble_calls(one: Round) -> bool:
    """Have the next few calls to the engine go wrong."""
    proxy = one.place.world.proxy
    for _ in range(one.dice.randint(1, 3)):
        method, path = one.dice.choice(_CALLS)
        (kind,) = one.dice.choices(tuple(_FAULTS), tuple(_FAULTS.values()))
        if kind in _HANGING:
            # Its deadline is half a minute for these, and minutes for those that move data.
            method, path = one.dice.choice(_QUICK)
        fault = Fault(
            kind=kind,
            method=method,
            path=path,
            times=one.dice.randint(1, 2),
            skip=one.dice.randint(0, 3),
            seconds=one.dice.uniform(0.1, 1.5),
            after=one.dice.randint(0, 200),
            status=one.dice.choice(_STATUSES),
        )
        one.note(str(proxy.add(fault)))
    return True


def lose_engine(one: Round) -> bool:
    """Have the engine not be reachable for a while; its containers go on."""
    proxy = one.place.world.proxy
    proxy.down()
    time.sleep(one.dice.uniform(0.2, 2))
    proxy.up()
    return True


def set_clock(one: Round) -> bool:
    """Set the time of day forth or back, for the runner and its gateway."""
    one.offset += one.dice.choice(_JUMPS)
    write_times(one.place.times, one.offset, 0)
    one.note(f"the time of day is off by {one.offset:g} s")
    return True


def fill_disk(one: Round) -> bool:
    """Leave no byte on the disk for a while."""
    one.place.resize(full=True)
    time.sleep(_FILLED_SECONDS)
    one.place.resize(full=False)
    return True


BLOWS: Mapping[Callable[[Round], bool], int] = {
    kill_runner: 10,
    kill_both: 4,
    kill_gateway: 5,
    kill_container: 4,
    kill_engine: 3,
    end_engine: 1,
    interrupt: 2,
    stop_for_a_while: 2,
    trouble_calls: 4,
    lose_engine: 2,
    fill_disk: 2,
    set_clock: 3,
}
"""What happens, and how often in proportion."""


def torment(one: Round, blows: int) -> None:
    """Strike until the experiment has ended or the blows are dealt; whatever was done, everything works afterwards."""
    kinds = tuple(BLOWS)
    plan = one.dice.choices(kinds, tuple(BLOWS.values()), k=blows)
    pauses = [one.dice.uniform(0.1, LONGEST_PAUSE) for _ in plan]
    with _working_again(one):
        for blow, pause in zip(plan, pauses, strict=True):
            one.launch()
            if one.ended(pause) == 0 or one.ended(0) == 1:
                break
            with contextlib.suppress(OSError, Unhappy):
                # The engine itself may be out of reach for a moment.
                if blow(one):
                    one.kills[blow.__name__] += 1
                    one.note(blow.__name__)


@contextlib.contextmanager
def _working_again(one: Round) -> Iterator[None]:
    """Order no more trouble when the block ends."""
    try:
        yield
    finally:
        one.place.world.proxy.clear()
        one.done += [f"           {kind} met {call}" for call, kind in one.place.world.proxy.met]
        one.place.world.proxy.met.clear()
        one.place.resize(full=False)


def finish(one: Round, *, most: int = 4, seconds: float = 240.0) -> None:
    """Let the runner end in peace, and do again what the trouble broke.

    Raises:
        AssertionError: if it does not end, or runs still break with nobody around to break them.
    """
    for _ in range(most):
        one.launch()
        code = one.ended(seconds)
        if code is None:
            raise AssertionError("left in peace, the runner does not end")
        if code in {0, 1}:
            return
    raise AssertionError(f"left in peace, the runner still ends with exit code {code}")
