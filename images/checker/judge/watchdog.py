"""Cut exchanges that take too long, from a thread that is there before the application can use up all there may be."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Watchdog:
    """Watches one socket at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: socket.socket | None = None
        self._until = 0.0
        self._late = False
        threading.Thread(target=self._run, daemon=True).start()

    def watch(self, open_socket: socket.socket, seconds: float) -> None:
        """Cut a socket when its time is up; one that was watched before is so no more."""
        with self._changed:
            self._watched, self._until, self._late = open_socket, time.monotonic() + seconds, False
            self._changed.notify()

    def release(self) -> bool:
        """Watch no longer; tell whether it was cut."""
        with self._changed:
            self._watched = None
            return self._late

    def _run(self) -> None:
        with self._changed:
            while True:
                left = None if self._watched is None else self._until - time.monotonic()
                if self._watched is not None and left is not None and left <= 0:
                    # Whoever reads holds the socket, also when its connection has let go of it.
                    with contextlib.suppress(OSError):
                        self._watched.shutdown(socket.SHUT_RDWR)
                    self._watched, self._late = None, True
                    continue
                self._changed.wait(left)
