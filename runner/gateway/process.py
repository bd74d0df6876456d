"""The gateway process: serves sessions until its parent closes the pipe or is gone, then leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, SecretStr

from runner.gateway.admin import SOCKET, make_admin
from runner.gateway.sessions import Sessions

READY = b"ready\n"
_CONNECT_SECONDS = 30.0
_LAST_DRAIN_SECONDS = 1.0


class Boot(BaseModel):
    """First line of the process's standard input; the key comes this way so that no one can see it in a listing."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    folder: Path
    key: SecretStr | None
    base_url: str
    drain_seconds: float
    read_timeout: float


def main() -> None:
    """Read the boot line and serve."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        boot = Boot.model_validate_json(pipe.readline())
    try:
        asyncio.run(_serve(boot))
    finally:
        shutil.rmtree(boot.folder, ignore_errors=True)


async def _serve(boot: Boot) -> None:
    ended = asyncio.Event()
    _watch_parent(ended)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=boot.read_timeout)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=True) as http:
        sessions = Sessions(
            folder=boot.folder, http=http, key=boot.key, base_url=boot.base_url, drain_seconds=boot.drain_seconds
        )
        admin = web.AppRunner(make_admin(sessions), access_log=None, shutdown_timeout=_LAST_DRAIN_SECONDS)
        await admin.setup()
        await web.UnixSite(admin, os.fspath(boot.folder / SOCKET)).start()
        os.write(sys.stdout.fileno(), READY)
        await ended.wait()
        await asyncio.gather(*(sessions.close(one, _LAST_DRAIN_SECONDS) for one in list(sessions.by_id)))
        await admin.cleanup()


def _watch_parent(ended: asyncio.Event) -> None:
    """End when the pipe from the parent does, or on SIGTERM; Ctrl-C is the parent's to judge."""
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()

    def heard() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            ended.set()

    loop.add_reader(stdin, heard)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
