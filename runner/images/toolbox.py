"""Run a package manager in a container: the host's network and the host's settings, nothing of them kept in an image."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.engine import owner
from runner.engine.protocol import ContainerSpec, Mount, Resources
from runner.errors import ImageError
from runner.gateway.egress.index_settings import pip_config
from runner.images.models import ImageContext
from runner.names import LABEL_KIND, PROJECT

_PIP_SETTINGS = (
    "CERT",
    "CLIENT_CERT",
    "DEFAULT_TIMEOUT",
    "EXTRA_INDEX_URL",
    "FIND_LINKS",
    "INDEX_URL",
    "NO_INDEX",
    "PROXY",
    "RETRIES",
    "TIMEOUT",
    "TRUSTED_HOST",
)
_CERTIFICATES = ("CURL_CA_BUNDLE", "PIP_CERT", "PIP_CLIENT_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
_MEMORY = 4 << 30
"""Bytes a package manager may use, page cache included."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Environment and read-only mounts that hand a host's settings to a container."""

    env: Mapping[str, str]
    mounts: tuple[Mount, ...]


def pip_settings(environment: Mapping[str, str]) -> Settings:
    """Collect what this machine's pip knows: its configuration files, its environment, its certificates.

    `pip config list` is asked, so that every place pip looks at counts. Folders that stand in for an index are mounted
    at the place they have here.
    """
    env = {f"PIP_{name}": value for name, value in pip_config(environment).items() if name in _PIP_SETTINGS}
    for name in (*_CERTIFICATES, *(f"PIP_{setting}" for setting in _PIP_SETTINGS)):
        if value := environment.get(name):
            env[name] = value
    for name in (*_PROXIES, *(name.upper() for name in _PROXIES)):
        if value := environment.get(name):
            env[name] = value
    paths = [Path(env[name]) for name in _CERTIFICATES if name in env]
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        paths += _local_folders(env.get(name, ""), parents=name != "PIP_FIND_LINKS")
    return Settings(env=env, mounts=_read_only(paths))


def _local_folders(value: str, *, parents: bool) -> list[Path]:
    """Find folders among index addresses; the files of an index may lie beside it, so its parent is taken."""
    found = []
    for part in value.split():
        path = Path(unquote(urlsplit(part).path)) if part.startswith("file:") else Path(part)
        if path.is_absolute() and path.is_dir():
            found.append(path.parent if parents and path.parent != path.parent.parent else path)
    return found


def _read_only(paths: Iterable[Path]) -> tuple[Mount, ...]:
    existing = dict.fromkeys(path for path in paths if path.exists())
    outermost = [path for path in existing if not any(other in path.parents for other in existing)]
    return tuple(Mount(source=str(path.resolve()), target=str(path), read_only=True) for path in outermost)


def run(
    ctx: ImageContext,
    *,
    image: str,
    argv: Sequence[str],
    settings: Settings,
    folders: Mapping[str, Path],
    purpose: str,
    timeout: float = 3600.0,
) -> tuple[int, str, str]:
    """Run a program in a container with the host's network, and return exit code, stdout and stderr.

    Args:
        ctx: engine and user.
        image: the engine's id of the image.
        argv: program and arguments.
        settings: what the host hands over.
        folders: container path to host folder; only `/out`, which also holds HOME and temporary files, is writable.
        purpose: a word for the container's name.
        timeout: seconds after which it is stopped.

    Raises:
        ImageError: if it does not end in time.
    """
    scratch = folders["/out"]
    for name in ("home", "tmp"):
        (scratch / name).mkdir(exist_ok=True)
    lent = (Mount(source=str(path), target=target, read_only=target != "/out") for target, path in folders.items())
    mounts = (*lent, *settings.mounts)
    env = {
        "HOME": "/out/home",
        "LC_ALL": "C.UTF-8",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "TMPDIR": "/out/tmp",
        **settings.env,
    }
    me = owner.current()
    spec = ContainerSpec(
        name=f"{PROJECT}-{purpose}-{me.pid}-{time.monotonic_ns()}",
        image=image,
        argv=tuple(argv),
        env=env,
        user=ctx.user,
        workdir="/out",
        mounts=mounts,
        resources=_resources(ctx),
        labels={LABEL_KIND: "helper", **me.labels()},
        network="host",
    )
    return run_container(ctx, spec, timeout)


def _resources(ctx: ImageContext) -> Resources:
    info = ctx.engine.info()
    memory = min(_MEMORY, info.memory)
    return Resources(cpus=float(info.cpus), memory=memory, swap=0, pids=1024, tmp=1 << 30, shm=64 << 20, log=16 << 20)


def run_container(ctx: ImageContext, spec: ContainerSpec, timeout: float) -> tuple[int, str, str]:
    """Run a container to its end, and return exit code, stdout and stderr; it is removed whatever happens.

    Raises:
        ImageError: if it does not end within `timeout` seconds, or never starts.
    """
    containers = ctx.engine.containers
    identifier = containers.create(spec)
    try:
        containers.start(identifier)
        state = containers.wait(identifier, timeout)
        output = {"stdout": bytearray(), "stderr": bytearray()}
        if state is None:
            containers.stop(identifier, 1.0)
        for stream, chunk in ctx.engine.observer.logs(identifier):
            output[stream] += chunk
    finally:
        containers.remove(identifier)
    stdout, stderr = (bytes(output[name]).decode("utf-8", "replace") for name in ("stdout", "stderr"))
    if state is None or state.exit_code is None:
        raise ImageError(
            f"{spec.argv[0]} did not end within {timeout:g} s" if state is None else f"{spec.argv[0]} did not start",
            why=(stdout + stderr + (state.error if state else ""))[-2000:],
        )
    return state.exit_code, stdout, stderr
