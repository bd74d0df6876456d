"""A circuit breaker: after failed tries in a row nobody asks the provider, until one call has tried it again."""

from __future__ import annotations

import math


class Pause:
    """Holds how many tries have failed in a row, over all calls, and until when nobody tries.

    Args:
        after: failed tries in a row after which it begins.
        seconds: how long it lasts, until one call probes.
    """

    def __init__(self, *, after: int, seconds: float) -> None:
        self._after = after
        self._seconds = seconds
        self._failures = 0
        self._last_status = 0
        self._until: float | None = None
        """When one call may try; None: no pause."""
        self._probing = False

    @property
    def reason(self) -> str:
        """Why there is a pause, in words; empty if there is none."""
        if self._until is None:
            return ""
        last = f"with status {self._last_status}" if self._last_status else "with no answer"
        return f"the provider has failed {self._failures} tries in a row, the last one {last}"

    def wait(self, now: float) -> float:
        """Return how long a try has to wait: 0, seconds, or infinity while another one probes."""
        if self._until is None:
            return 0.0
        return math.inf if self._probing else max(0.0, self._until - now)

    def begin(self, now: float) -> bool:
        """Note that a try begins; tell whether it is the probe."""
        if self._until is None or now < self._until or self._probing:
            return False
        self._probing = True
        return True

    def answered(self) -> None:
        """Note that the provider has answered something: it is there."""
        self._failures, self._until, self._probing = 0, None, False

    def failed(self, now: float, status: int, *, probe: bool) -> None:
        """Note that a try has failed.

        Args:
            now: the time.
            status: HTTP status; 0 for no answer.
            probe: whether it was the probe.
        """
        self._failures += 1
        self._last_status = status
        if probe or (self._until is None and self._failures >= self._after):
            self._until, self._probing = now + self._seconds, False

    def give_up_probe(self) -> None:
        """Note that the probe ended without telling anything: another call may be it."""
        self._probing = False
