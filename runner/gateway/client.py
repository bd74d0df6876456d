"""Start the gateway process, steer it, and start it again when it dies. Imports no web server: that loads over there."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from runner.errors import RunnerError
from runner.gateway.child import START_SECONDS, Child
from runner.gateway.estate import enter, leave
from runner.gateway.known import Key, Known, absolute, added, key_of, opening, recorded, spent_in, spent_since
from runner.gateway.leftovers import hold_again
from runner.gateway.session import (
    Gateway,
    GatewayError,
    Listen,
    Metered,
    MeteredSink,
    Session,
    SessionSpec,
    Totals,
    adapter,
    ignore,
)
from runner.gateway.settings import GatewaySettings, Spent
from runner.gateway.taken import Foreign, Taken

_ANSWER_SECONDS = 30.0
_TRIES = 3
"""How often something is asked of the process, if it dies meanwhile and is started again."""
_HEARD_SECONDS = 2.0
_MINUTE = 60.0
_REMEDY = "type: runner go   again; it continues where this ended"


@contextlib.contextmanager
def start_gateway(settings: GatewaySettings, on_restart: Callable[[str], None] | None = None) -> Iterator[Gateway]:
    """Start a gateway process for as long as the block lasts.

    It starts in the background: the first `open` waits until it is ready, and raises GatewayError if it never is.

    Args:
        settings: what it is started with.
        on_restart: hears, in another thread, why the process had to be started again.
    """
    gateway = GatewayProcess(settings, on_restart=on_restart)
    try:
        yield gateway
    finally:
        gateway.shutdown()


class GatewayProcess:
    """Holds a gateway process, its private folder, and the thread that listens to it and starts it again.

    Args:
        settings: what it is started with.
        restarts: how often it may be started again within a minute before it is given up.
        on_restart: hears, in another thread, why it had to be.
    """

    def __init__(
        self, settings: GatewaySettings, *, restarts: int = 5, on_restart: Callable[[str], None] | None = None
    ) -> None:
        self._on_restart = on_restart
        self.settings = settings
        estate = enter(settings)
        self.folder, self._held, self._owned = estate.folder, estate.held, estate.owned
        self.deaths: deque[float] = deque(maxlen=restarts + 1)
        """When it died, of late; from time.monotonic()."""
        self._open = {one.session.id: one for one in estate.open}
        self._left = {key_of(one.spec): one for one in estate.open}
        """Those of them that a dead runner had open and nobody has taken up again."""
        self._before = estate.spent
        self._closed = Spent()
        self._changed = threading.Condition()
        self._generation = 0
        """Counts the processes; one that is not ready has none of our sessions."""
        self._ready = self._over = False
        self._failure: GatewayError | None = None
        self._child = estate.process
        self._thread = threading.Thread(target=self._supervise, args=(estate.closed,), name="gateway", daemon=True)
        self._thread.start()

    @property
    def process(self) -> subprocess.Popen[bytes] | Foreign:
        """Return the process there is now."""
        return self._child.process

    @property
    def pid(self) -> int:
        """Return the process's id; another one after it died."""
        return self.process.pid

    def open(self, spec: SessionSpec, on_call: MeteredSink = ignore, *, listen: Listen | None = None) -> Session:
        """Open a session and listen on its socket, or where `listen` says, before returning.

        Raises:
            GatewayError: if the process does not start, has died for good or refuses.
            ConfigError: if the session's scripted answers cannot be used.
        """
        spec = absolute(spec)
        if (again := self._take_up(spec, on_call)) is not None:
            return again
        # A new attempt at a step: what its earlier one still has under way must not go on beside it.
        self._close_left(lambda key: key[:3] == key_of(spec)[:3])
        body = opening(spec, listen)
        before = spent_in(spec, self.settings.budget)
        for _ in range(_TRIES):
            generation = self._await_ready()
            with self._dying(generation):
                answer = self._child.request("POST", "/sessions", body, _ANSWER_SECONDS)
                session = adapter(Session).validate_json(answer)
                with self._changed:
                    if generation == self._generation:
                        self._open[session.id] = Known(
                            spec=spec, session=session, on_call=on_call, listen=listen, before=before
                        )
                        return session
        raise GatewayError("the gateway dies whenever a session is opened", why=self._child.log_tail(), hint=_REMEDY)

    def _take_up(self, spec: SessionSpec, on_call: MeteredSink) -> Session | None:
        """Return the session that a dead runner had open for an attempt; None if there is none."""
        if key_of(spec) not in self._left:
            return None
        self._await_ready()
        with self._changed:
            left = self._left.pop(key_of(spec), None)
            if left is None:
                return None
            self._open[left.session.id] = dataclasses.replace(left, on_call=on_call)
        return left.session

    def forget(self, calls_file: Path) -> None:
        """Close what dead runners left open for a run and nobody has taken up; see `Gateway.forget`."""
        self._close_left(lambda key: key[0] == calls_file.resolve())

    def _close_left(self, wanted: Callable[[Key], bool]) -> None:
        """Close sessions that a dead runner had open and nobody has taken up, those that are wanted."""
        with self._changed:
            left = [self._left.pop(key) for key in list(self._left) if wanted(key)]
        for one in left:
            self.close(one.session, drain_seconds=0.0)

    def close(self, session: Session, *, drain_seconds: float | None = None) -> Totals:
        """Stop listening, let calls in flight be metered, and return the session's totals.

        If the process has died for good, the totals are what it had recorded, with that as the last error.

        Args:
            session: an open one.
            drain_seconds: how long calls under way may still take; by default as the settings say.

        Raises:
            GatewayError: if the session is not open.
        """
        one = self._open.get(session.id)
        if one is None:
            raise GatewayError(f"the session {session.id} is not open")
        try:
            return self._close(one, drain_seconds)
        except GatewayError as error:
            return recorded(one.spec, error)
        finally:
            one.told.wait(_HEARD_SECONDS if self._ready else 0)
            with self._changed:
                self._open.pop(session.id, None)
                self._closed = added([self._closed, spent_since(one, self.settings.budget)])

    def wait(self) -> None:
        """Wait until the process has died for good.

        Raises:
            GatewayError: when it has.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._failure)
            if self._failure is not None:
                raise _copy(self._failure)

    def shutdown(self) -> None:
        """End the gateway and every session; doing it again does nothing."""
        with self._changed:
            if self._over:
                return
            self._over, self._ready = True, False
            self._changed.notify_all()
        self._child.end()
        self._thread.join()
        for one in self._open.values():
            with contextlib.suppress(OSError):
                one.recover(self.folder)
        self._open.clear()
        leave(self.folder, self._held, self._owned)

    def _close(self, one: Known, drain_seconds: float | None) -> Totals:
        path = f"/sessions/{one.session.id}" + (f"?drain={drain_seconds}" if drain_seconds is not None else "")
        seconds = 2 * self.settings.drain_seconds + _ANSWER_SECONDS
        for _ in range(_TRIES):
            generation = self._await_ready()
            with self._dying(generation):
                return adapter(Totals).validate_json(self._child.request("DELETE", path, b"", seconds))
        raise GatewayError("the gateway dies whenever a session is closed", why=self._child.log_tail(), hint=_REMEDY)

    def _await_ready(self) -> int:
        """Wait until a process serves our sessions, and return its generation."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._ready or self._over or self._failure, 2 * START_SECONDS)
            if self._over:
                raise GatewayError("the gateway has been shut down")
            if self._failure is not None:
                raise _copy(self._failure)
            if not done:
                raise GatewayError("the gateway does not start again", why=self._child.log_tail(), hint=_REMEDY)
            return self._generation

    @contextlib.contextmanager
    def _dying(self, generation: int) -> Iterator[None]:
        """Pass over that the process died within the block; anything else that fails is an error."""
        try:
            yield
        except OSError as error:
            if not self._has_died(generation):
                why = self._child.log_tail()
                raise GatewayError(f"the gateway does not answer: {error}", why=why, hint=_REMEDY) from error

    def _has_died(self, generation: int) -> bool:
        """Say whether a process has died: that is known only when all it said before has been handed on."""

        def known() -> bool:
            return self._generation != generation or self._over

        with self._changed:
            child = self._child
            if self._changed.wait_for(known, _HEARD_SECONDS):
                return True
            return child.has_ended() and self._changed.wait_for(known, START_SECONDS)

    def _supervise(self, closed: Sequence[Known]) -> None:
        """Listen to the process until it dies, then start another, until we are shut down; the first reopens `closed`."""
        while True:
            child = self._child
            started = child.await_ready()
            if started and self._reopen(child, closed):
                with self._changed:
                    self._ready = True
                    self._changed.notify_all()
                for line in child.lines():
                    self._hear(line)
            child.hang_up()
            with self._changed:
                self._ready = False
                self._generation += 1
                self._changed.notify_all()
                if self._over:
                    return
            last_words = self._bury(child)
            closed = list(self._open.values())
            if not self._again(child, started=started):
                return
            if self._on_restart is not None:
                self._on_restart(f"the model gateway ended and was started again: {last_words}")

    def _bury(self, child: Child | Taken) -> str:
        """Give calls that were under way their line, before another process counts calls; return the last words."""
        child.process.kill()
        child.end()
        last_words = child.log_tail()
        self.deaths.append(time.monotonic())
        for one in list(self._open.values()):
            with contextlib.suppress(OSError):
                one.recover(self.folder)
        return last_words

    def _again(self, child: Child | Taken, *, started: bool) -> bool:
        """Start another process, unless too many have died or none ever started; tell whether it was."""
        with self._changed:
            if self._over:
                return False
            what = ""
            if not started and self._generation == 1:
                what = "the gateway did not start"
            elif len(self.deaths) == self.deaths.maxlen and self.deaths[-1] - self.deaths[0] < _MINUTE:
                what = f"the gateway died {len(self.deaths)} times within a minute"
            try:
                self._child = child if what else self._another()
            except OSError as error:
                what = f"the gateway cannot be started again: {error}"
            if what:
                self._failure = GatewayError(what, why=child.log_tail(), hint=_REMEDY)
                self._changed.notify_all()
            return not what

    def _another(self) -> Child:
        """Start another process. Raises OSError if it cannot be started."""
        if self._held is None:
            self._held = hold_again(self.folder)
        if self._held is None:
            raise OSError(f"the lock of {self.folder} is held by someone else")
        return Child(self.settings, self.folder, self._held, self._spent())

    def _reopen(self, child: Child | Taken, closed: Sequence[Known]) -> bool:
        """Open sessions again in a process that does not have them; False if it died meanwhile."""
        for one in closed:
            body = opening(one.spec, one.listen, one.session)
            try:
                child.request("POST", "/sessions", body, _ANSWER_SECONDS)
            except OSError:
                return False
            except RunnerError:
                # Whoever closes it hears that there is no such session; its calls are in the calls file.
                continue
        return True

    def _hear(self, line: bytes) -> None:
        """Hand on a call that has been recorded, or note that a session's last one was."""
        word, _, identity = line.strip().partition(b" ")
        if word == b"closed":
            one = self._open.get(identity.decode("ascii", "replace"))
            if one is not None:
                one.told.set()
            return
        try:
            call = adapter(Metered).validate_json(line)
        except ValidationError:
            # A line that was cut short by the process's death; the calls file has the call.
            return
        one = self._open.get(call.session)
        if one is not None:
            one.on_call(call)

    def _spent(self) -> Spent:
        """Return what the experiment has used up: before us, in closed sessions, and in open ones."""
        still_open = (spent_since(one, self.settings.budget) for one in list(self._open.values()))
        return added([self._before, self._closed, *still_open])


def _copy(error: GatewayError) -> GatewayError:
    """Return the same error for another thread to raise: each gets a traceback of its own."""
    return GatewayError(error.what, why=error.why, hint=error.hint)
