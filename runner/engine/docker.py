"""The Docker engine: finding it, and connecting to it. The only module that imports `docker`.

docker-py lends its transports (unix socket, TCP with TLS, ssh) and its reading of DOCKER_HOST; the calls are made by
`runner.engine.api`, one request each, where docker-py's own methods make two (`logs` inspects first) and share one
deadline for everything.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker.errors
import docker.utils
from docker import APIClient

from runner.engine.api import Api
from runner.engine.containers import DockerContainers
from runner.engine.gpus import find_gpus
from runner.engine.images import DockerImages, DockerVolumes
from runner.engine.observer import DockerObserver
from runner.engine.protocol import Containers, Engine, EngineInfo, Images, Observer, Unanswered, Volumes
from runner.errors import EngineError
from runner.names import LABEL_KIND

OLDEST_API = (1, 41)
"""API of Docker 20.10."""
_NEWEST_API = (1, 48)
"""API these modules are written for; a newer engine is asked to speak this one."""
_DEFAULT_SOCKET = Path("/var/run/docker.sock")
_POOL = 64
"""Connections kept for use again: runs in parallel, twice, as each may be waited for and followed at once."""
_INIT_ABSENT = "N/A"
_UNIX = "http+unix://"
"""How docker-py writes a unix socket, however the user did."""
_GREETING = 10.0
"""Seconds an engine may take to say which version it is."""


class DockerEngine:
    """A Docker engine that answers; see `runner.engine.protocol.Engine`."""

    def __init__(self, api: Api, version: Mapping[str, str], *, local: bool, helper_image: str | None) -> None:
        self._api = api
        self._version = version
        self._local = local
        self._helper = helper_image
        self._info: EngineInfo | None = None
        self.containers: Containers = DockerContainers(api)
        self.volumes: Volumes = DockerVolumes(api)
        self.images: Images = DockerImages(api, self.info)
        self.observer: Observer = DockerObserver(api, self.info, self._helper_image)

    def info(self) -> EngineInfo:
        if self._info is None:
            answer = self._api.call("GET", "/info", idempotent=True)
            about = _describe(answer, self._version, api_version=_speak(self._version), local=self._local)
            self._info = replace(about, socket=_socket(self._api.place) or "")
        return self._info

    def absence(self) -> str:
        try:
            _knock(self._api.place)
            self._api.call("HEAD", "/_ping", deadline=_GREETING)
        except EngineError as error:
            return f"{error.what} ({error.why})" if error.why else error.what
        return ""

    def incarnation(self) -> str:
        path = _socket(self._api.place)
        return "" if path is None else listener(path)

    def _helper_image(self) -> str | None:
        """Return the image for helper containers: the one given, else the smallest of ours."""
        if self._helper is not None:
            return self._helper
        ours = self.images.find({LABEL_KIND: "image"})
        return min(ours, key=lambda image: image.size).id if ours else None


@contextmanager
def connect(environment: Mapping[str, str], *, helper_image: str | None = None) -> Iterator[Engine]:
    """Connect to the Docker engine that the environment names, or that this machine has.

    DOCKER_HOST (with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH) decides if it is set. Else it is the socket of the
    machine's engine, or of the user's rootless one if only that can be used. The engine must answer and be new enough.

    Args:
        environment: variables to read, usually `os.environ`.
        helper_image: image id for helper containers; by default the smallest image of this project in the engine.

    Yields:
        The engine; connections are closed at the end.

    Raises:
        EngineError: if no engine answers, this user may not talk to it, or it is too old.
    """
    refusals = []
    for place in _places(environment):
        try:
            client = _client(place, environment)
        except EngineError as error:
            refusals.append(error)
            continue
        with closing(client):
            try:
                api, version = _greet(client, place)
            except EngineError as error:
                refusals.append(error)
                continue
            yield DockerEngine(api, version, local=_socket(place) is not None, helper_image=helper_image)
            return
    raise next((error for error in refusals if not isinstance(error, _Absent)), refusals[0])


class _Absent(EngineError):
    """Nothing answers at this place."""


def _places(environment: Mapping[str, str]) -> list[str]:
    """Return where an engine may be, in order of preference."""
    if host := environment.get("DOCKER_HOST"):
        return [host]
    places = [f"unix://{_DEFAULT_SOCKET}"]
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        places.append(f"unix://{runtime}/docker.sock")
    return places


def _client(place: str, environment: Mapping[str, str]) -> APIClient:
    """Open a session for a place; nothing is sent yet."""
    try:
        settings = docker.utils.kwargs_from_env({**environment, "DOCKER_HOST": place})
        client = APIClient(**settings, version=_dotted(OLDEST_API), max_pool_size=_POOL)
    except (docker.errors.DockerException, ValueError) as error:
        raise EngineError(
            f"{place} is no address of a Docker engine that can be used",
            why=str(error),
            hint="set DOCKER_HOST to unix:///path/to/docker.sock or tcp://host:port, or unset it",
        ) from error
    client.trust_env = _socket(place) is None  # a socket needs no proxy, and looking for one takes time
    return client


def _greet(client: APIClient, place: str) -> tuple[Api, dict[str, str]]:
    """Ask for the engine's version, and agree on one of the API."""
    _knock(place)
    api = Api(client, client.base_url, place)
    try:
        version = api.call("GET", "/version", deadline=_GREETING)
    except Unanswered as error:
        raise _absent(place, error.why or error.what) from error
    return api.at(_speak(version)), version


def _speak(version: Mapping[str, str]) -> str:
    """Return the API version to speak with an engine.

    Raises:
        EngineError: if there is none that both sides know.
    """
    newest, oldest = (_numbers(version.get(key, "")) for key in ("ApiVersion", "MinAPIVersion"))
    if newest < OLDEST_API:
        raise EngineError(
            f"Docker engine {version.get('Version')} speaks API {version.get('ApiVersion')}, "
            f"but at least {_dotted(OLDEST_API)} is needed",
            hint="update Docker to 20.10 or newer; where none is installed, `make engine` installs it",
        )
    if oldest > _NEWEST_API:
        raise EngineError(
            f"Docker engine {version.get('Version')} refuses every API older than {version.get('MinAPIVersion')}, "
            f"but this runner speaks {_dotted(_NEWEST_API)}",
            hint="update codegen-runner",
        )
    return _dotted(min(newest, _NEWEST_API))


def _numbers(dotted: str) -> tuple[int, ...]:
    return tuple(int(part) for part in dotted.split(".") if part.isdigit())


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in numbers)


def _socket(place: str) -> str | None:
    """Return the path of a local socket; None for any other kind of place."""
    address = str(docker.utils.parse_host(place))
    return "/" + address.removeprefix(_UNIX).lstrip("/") if address.startswith(_UNIX) else None


def _knock(place: str) -> None:
    """Connect to a local socket and hang up, for the system's own word on why that fails.

    Raises:
        EngineError: with what to do about it.
    """
    path = _socket(place)
    if path is None:
        return
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_GREETING)
            line.connect(path)
    except PermissionError as error:
        raise EngineError(
            f"this user may not talk to the Docker engine at {place}",
            why=str(error),
            hint="join the docker group: `sudo usermod -aG docker $USER`, then log in again (or `newgrp docker`)",
        ) from error
    except OSError as error:
        raise _absent(place, str(error)) from error


def listener(path: str) -> str:
    """Return which process listens at a socket, by its id and when it began; empty if nobody does or it cannot be told.

    What listens for an engine that is started on demand (systemd's sockets) is not the engine, and stays the same.
    """
    credentials = struct.Struct("3i")
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_GREETING)
            line.connect(path)
            data = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
        pid, _, _ = credentials.unpack(data)
        # The 22nd word of /proc/PID/stat is the start time (proc(5)); the second, a name, may hold blanks.
        began = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{pid} {began}"


def _absent(place: str, why: str) -> _Absent:
    return _Absent(
        f"no Docker engine answers at {place}",
        why=why,
        hint="`make engine` installs and starts one; if yours is elsewhere, set DOCKER_HOST",
    )


def _describe(answer: Mapping[str, Any], version: Mapping[str, str], *, api_version: str, local: bool) -> EngineInfo:
    """Put together what `/info` and `/version` tell."""
    init = answer.get("InitCommit") or {}
    return EngineInfo(
        version=version["Version"],
        api_version=api_version,
        platform=f"{version['Os']}/{version['Arch']}",
        cgroup_version=int(answer.get("CgroupVersion") or 1),
        cgroup_driver=answer["CgroupDriver"],
        cpus=answer["NCPU"],
        memory=answer["MemTotal"],
        rootless=any("name=rootless" in option for option in answer["SecurityOptions"] or ()),
        storage_driver=answer["Driver"],
        root_dir=answer["DockerRootDir"],
        kernel=answer["KernelVersion"],
        operating_system=answer["OperatingSystem"],
        has_init=bool(answer.get("InitBinary")) and init.get("ID") != _INIT_ABSENT,
        local=local,
        gpus=find_gpus(answer.get("Runtimes") or ()) if local else (),
        containerd_images=any("io.containerd.snapshotter" in str(entry) for entry in answer["DriverStatus"] or ()),
    )
