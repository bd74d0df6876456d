"""Connect to a host: directly, at an address that has been looked at, or through this machine's own proxy."""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from runner.gateway.egress.head import END, LONGEST
from runner.gateway.egress.policy import Reach, as_address, is_reachable

CONNECT_SECONDS = 30.0
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OK = range(200, 300)
_RESOLVING = 4
"""Names that are looked up at once."""


class Unreachable(Exception):
    """There is no connection.

    Args:
        message: why, in a sentence.
        status: HTTP status that says so.
        barred: address that the name led to and that may not be reached; empty otherwise.
    """

    def __init__(self, message: str, *, status: int = 502, barred: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.barred = barred


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Both directions of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """This machine's own way to the web."""

    host: str
    port: int
    secure: bool
    """Whether the proxy itself is spoken to over TLS."""
    credentials: str
    """Value of Proxy-Authorization; empty if it wants none."""


def machine_proxies() -> Mapping[str, str]:
    """Return the proxies that the process's environment names, by scheme, and under `no` who is asked without."""
    return getproxies_environment()


def choose_proxy(proxies: Mapping[str, str], scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy that leads to a host, or None if it is asked directly, as this machine always is.

    Raises:
        Unreachable: if the proxy is of a kind that is not spoken here.
    """
    address = as_address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return None
    named = proxies.get(scheme) or proxies.get("all")
    if not named or proxy_bypass(f"{host}:{port}", dict(proxies)):
        return None
    url = urlsplit(named if "://" in named else f"http://{named}")
    if url.scheme not in _DEFAULT_PORTS or not url.hostname:
        raise Unreachable(f"this machine's proxy is one for {url.scheme}, and only http and https are spoken")
    secret = f"{unquote(url.username or '')}:{unquote(url.password or '')}" if url.username else ""
    return Proxy(
        host=url.hostname,
        port=url.port or _DEFAULT_PORTS[url.scheme],
        secure=url.scheme == "https",
        credentials=f"Basic {base64.b64encode(secret.encode()).decode()}" if secret else "",
    )


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host. Raises OSError."""


class Resolver:
    """Asks the system for addresses, in threads of its own: a name that takes long holds up nobody else's work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVING, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        ask = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await loop.run_in_executor(self._threads, ask)
        return list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))

    def close(self) -> None:
        """Ask no more; questions under way are left to themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def connect_direct(host: str, port: int, reach: Reach, resolve: Resolve) -> Ends:
    """Connect to a host at one of its addresses, none of which may be nearer than `reach`.

    What is looked at is what is connected to, so that a name cannot mean another address a moment later.

    Raises:
        Unreachable: if its name leads nowhere, or only where it may not, or nobody answers.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            addresses = await resolve(host, port)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise Unreachable(f"the name {host} leads to no address: {_reason(error)}") from None
    fine = [text for text in addresses if (one := as_address(text)) is not None and is_reachable(one, reach)]
    if not fine:
        raise Unreachable(
            f"{host} leads to {addresses[0]}, an address of this machine or of a private network, which its pattern "
            "does not reach",
            status=403,
            barred=addresses[0],
        )
    why = ""
    for address in fine:
        try:
            return await _open(address, port)
        except Unreachable as error:
            why = error.message
    raise Unreachable(why)


async def connect_proxy(proxy: Proxy) -> Ends:
    """Connect to this machine's proxy, which is trusted wherever it is.

    Raises:
        Unreachable: if it does not answer.
    """
    context = ssl.create_default_context() if proxy.secure else None
    return await _open(proxy.host, proxy.port, context)


async def connect_through(proxy: Proxy, host: str, port: int) -> Ends:
    """Have this machine's proxy make a tunnel to a host.

    Raises:
        Unreachable: if it does not answer or refuses.
    """
    ends = await connect_proxy(proxy)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    credentials = f"Proxy-Authorization: {proxy.credentials}\r\n" if proxy.credentials else ""
    ends.writer.write(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{credentials}\r\n".encode("latin-1"))
    code = 0
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            head = await ends.reader.readuntil(END)
        words = head.split(b" ", 2)
        code = int(words[1][:3]) if len(words) > 1 and words[1][:3].isdigit() else 0
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError) as error:
        raise Unreachable(f"this machine's proxy gave no way to {where}: {_reason(error)}") from None
    finally:
        if code not in _OK:
            ends.writer.close()
    if code not in _OK:
        raise Unreachable(f"this machine's proxy answered {code} when asked for {where}")
    return ends


async def _open(host: str, port: int, context: ssl.SSLContext | None = None) -> Ends:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=LONGEST)
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"no connection to {host} port {port}: {_reason(error)}") from None
    return Ends(reader=reader, writer=writer)


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, TimeoutError):
        return "it took too long"
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
