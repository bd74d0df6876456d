"""Events that go up while runs are carried out; the console, the log file and a web page are listeners."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, at `time` (seconds since the epoch); `run` is a run id or empty."""

    time: float
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """A sentence for the user that belongs to no other event; level is info, warning or error."""

    text: str
    level: str = "info"


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    framework: str
    scenario: str
    repetition: int
    steps_total: int
    steps_done: int = 0
    """Of a run that goes on after a suspension: steps that have ended."""
    resumed: bool = False
    """Whether the run goes on after a suspension."""


@dataclass(frozen=True, kw_only=True)
class StepStarted(Event):
    step: str
    index: int
    """1-based position of the step in its run."""


@dataclass(frozen=True, kw_only=True)
class AttemptStarted(Event):
    step: str
    attempt: int
    container: str


@dataclass(frozen=True, kw_only=True)
class OutputLine(Event):
    """One line a step printed, as raw text: a listener that shows it escapes it."""

    step: str
    stream: str
    line: str


@dataclass(frozen=True, kw_only=True)
class ModelCalled(Event):
    """One model call has been metered; tokens are None where the provider did not state them."""

    step: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    waited_seconds: float = 0.0
    """How long the call waited for the provider: its limits, retries and pauses."""


@dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    step: str
    index: int
    outcome: str
    reason: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RunSuspended(Event):
    """A run waits for people, and holds nothing meanwhile."""

    steps: tuple[str, ...]
    """Approvals it waits for."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    outcome: str
    reason: str
    seconds: float
    metrics: dict[str, float | int | None] = field(default_factory=dict)


EventSink = Callable[[Event], None]
"""Takes one event; must not raise and must return quickly; may be called from any thread."""


def boottime() -> float:
    """Return the seconds since boot, suspended ones too: the same for all processes, and nobody can set it.

    What is to end at some time although its process may not see it ends by this clock (CLOCK_BOOTTIME, clock_gettime(2)):
    the time of day of an event may be set back or forth.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
