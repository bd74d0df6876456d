"""A circuit breaker: nothing more begins when runs break one after another for the same reason."""

from __future__ import annotations

import re
import threading

from runner.evidence.records import RunRecord

_STEP = re.compile(r"^step [^:\s]+: ")
_PATH = re.compile(r"(?<![\w.])/[^\s:,;'\"()]+")
_NUMBERED = re.compile(r"[\w.:-]*\d[\w.:-]*\w|\d")
"""A word with a digit in it: a number, a time, an id, a version, the name of a container or a run."""


class Breaker:
    """Counts runs that broke for the same reason in a row; safe in several threads.

    Args:
        most: how many of them stop the experiment; 0: no number does.
    """

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._like = ""
        self._row = 0
        self._why = ""

    @property
    def why(self) -> str:
        """Why nothing more begins; empty as long as it may."""
        return self._why

    def count(self, record: RunRecord) -> bool:
        """Take down a run that has ended; say whether it is the one that stops the experiment.

        A run that was cancelled, or that waits for people, tells nothing.
        """
        if record.outcome in {None, "cancelled"}:
            return False
        like = fold(record.reason) if record.outcome == "broken" else ""
        with self._lock:
            self._row = self._row + 1 if like and like == self._like else int(bool(like))
            self._like = like
            if self._why or not self._most or self._row < self._most:
                return False
            first = record.reason.partition("\n")[0]
            self._why = f"{_runs(self._row)} broke for the same reason: {first}"
            return True


def fold(reason: str) -> str:
    """Return what two reasons have in common that differ in step, paths, numbers and ids only."""
    return _NUMBERED.sub("#", _PATH.sub("/", _STEP.sub("", reason))).lower()


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs in a row"
