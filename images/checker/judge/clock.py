"""The time that is left for a check."""

from __future__ import annotations

import time


class OutOfTime(Exception):
    """The check's time is up: what has not been judged is not judged."""

    def __init__(self) -> None:
        super().__init__("the time of the check was up")


class Clock:
    """Counts down to the end of a check; what takes long asks it for its share."""

    def __init__(self, seconds: float) -> None:
        """Keep a twentieth, at least five seconds, for ending the application and writing the verdict."""
        self._end = time.monotonic() + max(seconds - max(5.0, seconds / 20), 1.0)

    def left(self) -> float:
        """Return seconds that are left, more than 0.

        Raises:
            OutOfTime: if none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left

    def share(self, wanted: float) -> float:
        """Return the seconds that something may take: what it wants, or what is left.

        Raises:
            OutOfTime: if nothing is left.
        """
        return min(wanted, self.left())
