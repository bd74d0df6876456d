"""The gateway process: serves sessions until its parent closes the pipe or is gone, then leaves nothing behind.

If it ends in another way, its folder stays: the parent starts another process in it, and a container that has mounted a
session's folder finds its socket there again.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import getproxies_environment

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter

from runner.gateway.admin import make_admin
from runner.gateway.child import ADMIN_SOCKET, READY
from runner.gateway.egress.index_settings import IndexSettings
from runner.gateway.session import Metered
from runner.gateway.sessions import Sessions
from runner.gateway.settings import Spent
from runner.spec.model import Budget, Traffic

CONNECT_SECONDS = 30.0
_LAST_DRAIN_SECONDS = 1.0
_UNHEARD = 1 << 20
"""Bytes told to a parent that does not listen; more are not kept for it."""
_METERED = TypeAdapter(Metered)


class Boot(BaseModel):
    """First line of the process's standard input; the key comes this way so that no one can see it in a listing."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    folder: Path
    key: SecretStr | None
    base_url: str
    traffic: Traffic
    prices: Path | None
    budget: Budget
    spent: Spent
    index: IndexSettings | None
    drain_seconds: float
    read_timeout: float


def main() -> None:
    """Read the boot line and serve."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        boot = Boot.model_validate_json(pipe.readline())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # All runs' connections are this process's; the usual soft limit is meant for programs that use select.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(boot))
    shutil.rmtree(boot.folder, ignore_errors=True)


async def _serve(boot: Boot) -> None:
    ended = asyncio.Event()
    _watch_parent(ended)
    tell = await _teller()
    async with client_session(boot.read_timeout) as http:
        sessions = Sessions(
            folder=boot.folder,
            http=http,
            key=boot.key,
            base_url=boot.base_url,
            traffic=boot.traffic,
            prices=boot.prices,
            budget=boot.budget,
            spent=boot.spent,
            index=boot.index,
            drain_seconds=boot.drain_seconds,
            on_call=lambda call: tell(_METERED.dump_json(call) + b"\n"),
        )
        admin = web.AppRunner(make_admin(sessions, tell), access_log=None, shutdown_timeout=_LAST_DRAIN_SECONDS)
        await admin.setup()
        (boot.folder / ADMIN_SOCKET).unlink(missing_ok=True)
        await web.UnixSite(admin, os.fspath(boot.folder / ADMIN_SOCKET)).start()
        tell(READY)
        await ended.wait()
        await asyncio.gather(*(sessions.close(one, _LAST_DRAIN_SECONDS) for one in list(sessions.by_id)))
        await admin.cleanup()


def client_session(read_timeout: float) -> aiohttp.ClientSession:
    """Return what asks providers: no limit on connections, none on an answer's length, one on silence.

    The environment is asked only if it names proxies: each request waits for two threads then.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=read_timeout)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout, trust_env=bool(getproxies_environment())
    )


async def _teller() -> Callable[[bytes], None]:
    """Return what tells the parent a line, from any thread; it never waits for a parent that does not read."""
    loop = asyncio.get_running_loop()
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, pipe)

    def write(line: bytes) -> None:
        if transport.get_write_buffer_size() < _UNHEARD and not transport.is_closing():
            transport.write(line)

    def tell(line: bytes) -> None:
        loop.call_soon_threadsafe(write, line)

    return tell


def _watch_parent(ended: asyncio.Event) -> None:
    """End when the pipe from the parent does; Ctrl-C and SIGTERM are the parent's to judge."""
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()

    def heard() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            ended.set()

    loop.add_reader(stdin, heard)
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
