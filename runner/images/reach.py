"""Find out quickly whether a source can be reached from this machine, and say what to set if not.

A host that does not answer keeps a client waiting for minutes, and each framework from there again. So a source is asked
something small first, by its own client where that has settings of its own, with a bound on the whole.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from runner.errors import ImageError

PATIENCE = 20.0
"""Seconds in which a source has to answer the first, small question."""
_PORTS = {"http": 80, "https": 443}
_SHOWN = 1500
"""Characters of a client's last words in a message."""


class Unreachable(ImageError):
    """A source does not answer from here: what is made of it cannot be built on this machine, whatever the recipe says."""


class Silent(Unreachable):
    """A host that kept us waiting until our patience was over; it is not asked a second time."""


def rewritten(address: str, rules: Mapping[str, str]) -> str:
    """Return an address with the longest beginning that a rule names replaced, as git's `insteadOf` does it.

    Args:
        address: of a source, as its recipe has it.
        rules: beginning of an address -> what stands in its place.
    """
    fitting = [prefix for prefix in rules if address.startswith(prefix)]
    if not fitting:
        return address
    longest = max(fitting, key=len)
    return rules[longest] + address[len(longest) :]


def host_of(address: str) -> str:
    """Return the host of an address: of a URL, or of scp's `user@host:path`; of a path the path itself."""
    if "://" in address:
        return urlsplit(address).hostname or address
    place, colon, _ = address.partition(":")
    return place.rpartition("@")[2] if colon and "/" not in place else address


def bounded(
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout: float,
    *,
    given: bytes = b"",
    folder: Path | None = None,
) -> tuple[int, bytes, bytes]:
    """Run a program to its end, and return exit code, stdout and stderr; after `timeout` seconds all of it is killed.

    A client starts others for the transfer. They are in one process group with it, so that none of them stays and none
    is waited for.

    Raises:
        FileNotFoundError: if there is no such program.
        subprocess.TimeoutExpired: if it did not end in time.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(given, timeout)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, stdout, stderr


def require_answer(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    host: str,
    where: str,
    hint: str,
    alien: Callable[[str], bool] | None = None,
    patience: float = PATIENCE,
) -> None:
    """Ask a source a small question with its own client.

    Args:
        command: the question.
        environment: the caller's.
        host: who is asked, for the message.
        where: file that names the source.
        hint: what to set if nobody answers.
        alien: tells from what the client said that its failure has another cause, and is left to who asks next.
        patience: seconds to wait.

    Raises:
        Unreachable: if the source cannot be asked.
        Silent: if there was no answer in time.
        FileNotFoundError: if there is no such client.
    """
    asked, started = " ".join(command), time.monotonic()
    try:
        code, _, stderr = bounded(command, environment, patience)
    except subprocess.TimeoutExpired as error:
        why = f"Tried: {asked}\nThere was no answer within {patience:g} s."
        raise Silent(f"{host} cannot be reached", where=where, why=why, hint=hint) from error
    said = stderr.decode("utf-8", "replace").strip()[-_SHOWN:]
    if code != 0 and not (alien is not None and alien(said)):
        why = f"Tried: {asked} ({time.monotonic() - started:.1f} s)\n{said}"
        raise Unreachable(f"{host} cannot be reached", where=where, why=why, hint=hint)


def require_connection(
    url: str, proxies: Mapping[str, str], *, where: str, hint: str, patience: float = PATIENCE
) -> None:
    """Open and close a connection to a web address, or to the proxy that leads there.

    Args:
        url: address; one that is not of the web is not asked.
        proxies: variables of the environment that name proxies.
        where: file that needs it.
        hint: what to set if nobody answers.
        patience: seconds to wait, looking up the name included.

    Raises:
        Unreachable: if there is no connection.
        Silent: if there was no answer in time.
    """
    aim = _aim(url, proxies)
    if aim is None:
        return
    failure = _connected(aim, patience)
    if failure is None:
        return
    host, port = aim
    what = f"{urlsplit(url).hostname} cannot be reached"
    raise (Silent if isinstance(failure, TimeoutError) else Unreachable)(
        what, where=where, why=f"Tried: a connection to {host}, port {port}\n{failure}", hint=hint
    )


def _aim(url: str, proxies: Mapping[str, str]) -> tuple[str, int] | None:
    """Return host and port that a client would connect to; None if that cannot be told, or is not the web."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    set_up = {name.lower(): value for name, value in proxies.items() if value}
    proxy = set_up.get(f"{parts.scheme}_proxy") or set_up.get("all_proxy")
    if not proxy or _direct(parts.hostname, set_up.get("no_proxy", "")):
        return parts.hostname, parts.port or _PORTS[parts.scheme]
    led = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return (led.hostname, led.port or _PORTS[led.scheme]) if led.hostname and led.scheme in _PORTS else None


def _direct(host: str, exceptions: str) -> bool:
    """Tell whether no proxy is used for a host, by the variable `no_proxy`: names, or ends of names."""
    names = [one.strip().removeprefix("*").removeprefix(".") for one in exceptions.split(",") if one.strip()]
    return "*" in exceptions.split(",") or any(host == name or host.endswith(f".{name}") for name in names if name)


def _connected(aim: tuple[str, int], patience: float) -> OSError | None:
    """Try to connect; return what kept us. Looking up a name has no bound of its own, so a thread does it."""
    outcome: list[OSError | None] = []

    def connect() -> None:
        try:
            socket.create_connection(aim, patience).close()
        except OSError as error:
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(patience)
    return outcome[0] if outcome else TimeoutError(f"There was no answer within {patience:g} s.")
