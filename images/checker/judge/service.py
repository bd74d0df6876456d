"""The application as a service: started, found on its port, asked, started again when it ended, and ended."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from judge.asked import Start
from judge.client import Client, Exchange
from judge.clock import Clock
from judge.detect import HOST, Launch
from judge.environment import of_application, of_programs
from judge.proc import Listener
from judge.program import Program, complete
from judge.report import Report

_POLL = 0.1
_PREPARING = 60.0
"""Seconds that one command before the start may take."""
_GRACE = 5.0
"""Seconds that an application has to end when it is asked to."""
_COMING_UP = 5.0
"""Seconds that an application has to get well once it answers anything at all."""
_SETTLING = 0.5
"""Seconds that an application that broke a connection has to end, if that is what it does."""
_WRITING = 0.05
"""Seconds that are waited after a change: frameworks let applications commit when the answer is already out."""
_MOST_CRASHES = 5


class NotStarted(Exception):
    """The application cannot be started; the text says what happened."""


class Gone(Exception):
    """The application ended so often that it is not started again."""


class Service:
    """One application under its check; leaving the context ends it."""

    def __init__(
        self,
        *,
        launch: Launch,
        workspace: Path,
        start: Start,
        environment: Mapping[str, str],
        report: Report,
        clock: Clock,
        seconds: float,
    ) -> None:
        self.launch = launch
        self.generation = 0
        """How often it was started; what it keeps in memory is lost in between."""
        self.crashes = 0
        self.port = 0
        self.client = Client(Listener(0, HOST), clock, seconds)
        self._folder = workspace / launch.folder
        self._start = start
        self._environment = environment
        self._report = report
        self._clock = clock
        self._program: Program | None = None
        self._health = "/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._program is not None:
            self._program.kill()

    def start(self) -> float:
        """Prepare and start it, and wait until it listens.

        Returns:
            seconds that took, what comes before the start not among them.

        Raises:
            NotStarted: if it ends, or listens nowhere in time.
            OutOfTime: if the check's time is up.
        """
        if not self.generation:
            for argv in self.launch.prepare:
                seconds = self._clock.share(_PREPARING)
                code, said = complete(argv, self._folder, of_programs(self._environment), seconds)
                if code != 0:
                    what = f"ended with exit code {code}" if code is not None else f"did not end in {seconds:.0f} s"
                    raise NotStarted(f"`{' '.join(argv)}`, which comes before the start, {what}: {said[-500:].strip()}")
        self.generation += 1
        self.port = self._start.port or _free_port()
        begun = time.monotonic()
        try:
            argv = self.launch.command(self.port)
            self._program = Program(argv, self._folder, of_application(self._environment, self.port))
        except OSError as error:
            raise NotStarted(f"`{argv[0]}` cannot be started: {error.strerror}") from error
        self._await(self._program, begun + self._start.timeout)
        return time.monotonic() - begun

    def answers(self, paths: tuple[str, ...]) -> Exchange:
        """Wait until one of some paths answers well, or anything answers where there are none; return the last answer.

        Raises:
            OutOfTime: if the check's time is up.
        """
        until, spoken = time.monotonic() + self._start.timeout, False
        while True:
            for path in paths or ("/",):
                answer = self.client.ask("GET", path)
                if answer.ok or (not paths and answer.status is not None):
                    self._health = path
                    return answer
                if answer.status is not None and not spoken:
                    spoken, until = True, min(until, time.monotonic() + _COMING_UP)
            if time.monotonic() > until or answer.error.startswith("not sent") or not self.running():
                return answer
            time.sleep(_POLL)

    def ask(self, method: str, path: str, body: Any = None) -> Exchange:
        """Send a request; an application that ended or hangs over it is started again.

        Raises:
            Gone: if that has happened too often.
            OutOfTime: if the check's time is up.
        """
        answer = self.client.ask(method, path, body)
        if answer.ok and method != "GET":
            time.sleep(_WRITING)
        if answer.status is not None or answer.error.startswith("not sent"):
            return answer
        if self._program is not None:
            self._program.wait(_SETTLING)
        if not self.running():
            why = f"the application ended with exit code {self.exit_code()}"
        elif self.client.beside(self.client.at).ask("GET", self._health).status is None:
            why = "the application answered nothing any more"
        else:
            return answer
        self._report.find("judge", "crash", f"{answer.said}; {why}: {self.tail()[-300:].strip()}")
        answer = replace(answer, error=f"{answer.error}; {why}")
        self.crashes += 1
        self.client.avoid(answer)
        if self.crashes > _MOST_CRASHES:
            raise Gone(f"the application ended or hung {self.crashes} times")
        self.again(polite=False)
        return answer

    def again(self, *, polite: bool = True) -> float:
        """End it and start it again.

        Returns:
            seconds that the start took.

        Raises:
            Gone: if it cannot be started again.
        """
        self.stop(polite=polite)
        try:
            seconds = self.start()
        except NotStarted as error:
            raise Gone(f"it did not start again: {error}") from error
        answer = self.answers((self._health,) if self._health != "/" else ())
        if answer.status is None:
            raise Gone(f"it did not answer after it was started again: {answer.error}")
        return seconds

    def stop(self, *, polite: bool = True) -> None:
        """End it; one that has to be killed is remarked on."""
        if self._program is None:
            return
        if polite and not self._program.stop(_GRACE):
            self._report.find("judge", "kill", f"the application did not end within {_GRACE:.0f} s of SIGTERM")
        self._program.kill()

    def running(self) -> bool:
        """Tell whether it, or something that it started, runs."""
        return self._program is not None and self._program.alive()

    def exit_code(self) -> int | None:
        return None if self._program is None else self._program.exit_code

    def tail(self) -> str:
        """Return the last of what it printed."""
        return "" if self._program is None else self._program.tail()

    def _await(self, program: Program, until: float) -> None:
        """Wait until it listens: where it was told to, else anywhere."""
        quiet_since: float | None = None
        while time.monotonic() < until:
            self._clock.left()
            found = program.listeners()
            if chosen := next((one for one in found if one.port == self.port), None) or self._speaking(found):
                self.client.at = chosen
                return
            quiet_since = None if program.alive() else quiet_since or time.monotonic()
            if quiet_since is not None and time.monotonic() - quiet_since >= _POLL:
                program.kill()
                raise NotStarted(f"it ended with exit code {program.exit_code} before it listened on a port")
            time.sleep(_POLL)
        raise NotStarted(f"it listened on no port within {self._start.timeout:.3g} s")

    def _speaking(self, found: list[Listener]) -> Listener | None:
        """Choose among ports that nobody asked for: the first that answers HTTP; the only one in any case."""
        if len(found) <= 1:
            return found[0] if found else None
        asked = (one for one in found if self.client.beside(one).ask("GET", "/").status is not None)
        return next(asked, found[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
