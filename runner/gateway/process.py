"""The gateway process: serves sessions until its runner says so or nobody is left to serve, then leaves nothing behind.

If it ends in another way, its folder stays: the runner starts another process in it, and a container that has mounted a
session's folder finds its socket there again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
from urllib.request import getproxies_environment

import aiohttp
from aiohttp import web

from runner.gateway.admin import make_admin
from runner.gateway.asking import ADMIN_SOCKET
from runner.gateway.boot import Boot
from runner.gateway.child import READY
from runner.gateway.control import LAST_DRAIN_SECONDS, Control, close_quietly
from runner.gateway.leftovers import lasting, remove_folder
from runner.gateway.pending import recover_folder
from runner.gateway.session import Metered, adapter
from runner.gateway.sessions import Sessions

CONNECT_SECONDS = 30.0


def main() -> None:
    """Read the boot line and serve."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        boot = Boot.model_validate_json(pipe.readline())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # All runs' connections are this process's; the usual soft limit is meant for programs that use select.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(boot))
    # What was ended in the middle has no line yet if even the drain was not enough for it.
    with contextlib.suppress(OSError):
        recover_folder(boot.folder)
    # A runner that died before it had told us of them all has left sessions here that another one opens again.
    if not lasting(boot.folder):
        remove_folder(boot.folder)


async def _serve(boot: Boot) -> None:
    ended = asyncio.Event()
    async with client_session(boot.read_timeout) as http:
        sessions = Sessions(
            folder=boot.folder,
            http=http,
            key=boot.key,
            base_url=boot.base_url,
            traffic=boot.traffic,
            prices=boot.prices,
            budget=boot.budget,
            experiment=boot.experiment,
            spent=boot.spent,
            index=boot.index,
            drain_seconds=boot.drain_seconds,
        )
        control = Control(sessions, boot, ended)
        sessions.on_call = lambda call: control.tell(adapter(Metered).dump_json(call) + b"\n")
        taking_over = await control.start()
        admin = web.AppRunner(make_admin(sessions, control.tell), access_log=None, shutdown_timeout=LAST_DRAIN_SECONDS)
        await admin.setup()
        (boot.folder / ADMIN_SOCKET).unlink(missing_ok=True)
        await web.UnixSite(admin, os.fspath(boot.folder / ADMIN_SOCKET)).start()
        control.tell(READY)
        await ended.wait()
        taking_over.close()
        await asyncio.gather(*(close_quietly(sessions, one) for one in list(sessions.by_id)), return_exceptions=True)
        await admin.cleanup()


def client_session(read_timeout: float) -> aiohttp.ClientSession:
    """Return what asks providers: no limit on connections, none on an answer's length, one on silence.

    The environment is asked only if it names proxies: each request waits for two threads then.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=read_timeout)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout, trust_env=bool(getproxies_environment())
    )
