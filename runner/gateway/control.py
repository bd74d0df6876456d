"""Who steers the gateway process: the runner that started it, and after that one's death whoever takes it over.

A process that may outlive its runner goes on serving the sessions that have not expired. With none left it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import sys

from pydantic import ValidationError

from runner.gateway.boot import CONTROL_SOCKET, END, PROTOCOL, Answer, Boot, Left
from runner.gateway.budgets import spent_by
from runner.gateway.sessions import Sessions

_log = logging.getLogger(__name__)
"""Its lines go to the process's standard error, which is its log."""
_UNHEARD = 1 << 20
"""Bytes told to a runner that does not listen; more are not kept for it."""
_LONGEST_LINE = 1 << 20
_BOOT_SECONDS = 10.0
LAST_DRAIN_SECONDS = 1.0
"""How long calls may still take whose session ends with nobody waiting for it."""
_CREDENTIALS = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""


class Control:
    """Holds the line to the runner there is.

    Args:
        sessions: what is served.
        boot: what the process was started with.
        ended: set when the process has to end.
    """

    def __init__(self, sessions: Sessions, boot: Boot, ended: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._sessions = sessions
        self._boot = boot
        self._ended = ended
        self._to: asyncio.WriteTransport | None = None
        """Where the runner listens; None: there is none."""
        self._taken = asyncio.Event()
        self._alone: asyncio.Task[None] | None = None

    async def start(self) -> asyncio.Server:
        """Listen to the runner that started us, and for others; Ctrl-C and SIGTERM are the runner's to judge."""
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)
        pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        own, _ = await self._loop.connect_write_pipe(asyncio.BaseProtocol, pipe)
        self._to = own
        stdin = sys.stdin.fileno()

        def heard() -> None:
            said = os.read(stdin, 4096)
            if END in said:
                self._ended.set()
            elif not said:
                self._loop.remove_reader(stdin)
                self._lost(own)

        self._loop.add_reader(stdin, heard)
        place = self._boot.folder / CONTROL_SOCKET
        place.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._called, os.fspath(place), limit=_LONGEST_LINE)
        place.chmod(0o600)
        return server

    def tell(self, line: bytes) -> None:
        """Tell the runner a line, from any thread; it is never waited for, and without one nobody hears it."""
        self._loop.call_soon_threadsafe(self._write, line)

    def _write(self, line: bytes) -> None:
        to = self._to
        if to is not None and not to.is_closing() and to.get_write_buffer_size() < _UNHEARD:
            to.write(line)

    def _lost(self, which: asyncio.WriteTransport) -> None:
        """Note that a runner has gone without a word; one that another has taken over from is missed by nobody."""
        if which is not self._to or self._ended.is_set():
            return
        self._to = None
        if not self._boot.lingers:
            self._ended.set()
            return
        self._taken.clear()
        self._alone = asyncio.create_task(self._linger())

    async def _linger(self) -> None:
        """Go on until somebody takes over or nothing is left to serve."""
        while not self._taken.is_set():
            expired = self._sessions.expired()
            closings = (close_quietly(self._sessions, one) for one in expired)
            for problem in await asyncio.gather(*closings, return_exceptions=True):
                if problem is not None:
                    # It is closed all the same, and the process must not live on for want of who ends it.
                    _log.error("a session could not be closed: %r", problem)
            if not self._sessions.by_id:
                self._ended.set()
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._taken.wait(), self._sessions.next_expiry())

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak with a runner that takes over, until it ends or says that we shall."""
        try:
            if _is_ours(writer.get_extra_info("socket")):
                await self._take(reader, writer)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            # It has gone, or talks nonsense: it is not our runner then, and if it was, `_lost` has been told.
            pass
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_BOOT_SECONDS):
            line = await reader.readline()
        try:
            boot = Boot.model_validate_json(line)
            refusal = self._refusal(boot)
        except ValidationError as error:
            writer.write(Answer(refusal=f"it does not understand: {error}").line())
            return
        if refusal:
            writer.write(Answer(refusal=refusal).line())
            return
        await self._change(boot)
        if self._ended.is_set():
            return
        self._to = writer.transport
        self._write(self._answer().line())
        try:
            while said := await reader.readline():
                if said == END:
                    self._ended.set()
        finally:
            self._lost(writer.transport)

    def _refusal(self, boot: Boot) -> str:
        """Tell why we cannot be what the runner wants; what its environment says was read when we started."""
        if boot.protocol != PROTOCOL:
            return f"it speaks version {PROTOCOL}, not {boot.protocol}"
        if boot.environment != self._boot.environment:
            return "its proxies or certificates are others"
        return "" if boot.lingers else "it may not outlive its runner"

    async def _change(self, boot: Boot) -> None:
        """Let go of the runner before, which is dead, and take on what this one wants of new sessions."""
        self._to = None
        self._taken.set()
        if self._alone is not None:
            await self._alone
            self._alone = None
        await self._sessions.settled()
        self._sessions.renew(boot)
        self._boot = boot

    def _answer(self) -> Answer:
        left = tuple(
            Left(spec=one.served.spec, session=one.session, spent=spent_by(one.served.calls))
            for one in self._sessions.by_id.values()
            if one.port is None and one.socket is None
        )
        return Answer(spent=self._sessions.spent_so_far(), sessions=left)


async def close_quietly(sessions: Sessions, identity: str) -> None:
    """Close a session that nobody waits for, if it is still open."""
    with contextlib.suppress(KeyError):
        await sessions.close(identity, LAST_DRAIN_SECONDS)


def _is_ours(connection: socket.socket) -> bool:
    """Tell whether who calls is this user, or root, should the folder's mode ever let another one in."""
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return uid in {os.getuid(), 0}
