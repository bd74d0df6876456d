"""Life of a container on a Docker engine."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from runner.engine.api import SLOW_DEADLINE, Api, Fault, quote
from runner.engine.cgroup import CGROUP_ROOT, end_processes
from runner.engine.protocol import ContainerSpec, ContainerState, Mount, NotFound, Resources, Unanswered
from runner.errors import EngineError
from runner.names import LABEL_KIND

_NOT_MODIFIED = 304
_NOT_FOUND = 404
_NEVER = "0001-01-01T00:00:00Z"
"""How the engine writes a time that has not come."""
_GOING = frozenset({"running", "paused", "restarting", "removing"})
"""States in which there is still something to wait for."""
_GLANCE = 30.0
"""Seconds after which a wait is made again: one whose answer was lost on the way would wait for ever."""
_UNSEEN_PATIENCE = 10.0
"""Seconds that killed processes may take to be gone."""
_SHOWN = 3
_REMOVING_PAUSES = (0.1, 0.5)
"""Seconds between tries to remove a container that is there although the engine refuses, or says that there is none."""
_LOG_FRAMING = 32
"""Bytes the `local` log driver may need for one byte of output: an empty line takes 26."""
_OOM_SCORE = 500
"""On a host short of memory the kernel picks a step before the runner or the engine."""


class DockerContainers:
    """Containers through the engine's API.

    Create and start are never repeated: when their answer gets lost, a look at the container tells whether they were
    done. The rest does no harm when repeated.
    """

    def __init__(self, api: Api, root: Path = CGROUP_ROOT) -> None:
        self._api = api
        self._root = root

    def create(self, spec: ContainerSpec) -> str:
        try:
            answer = self._api.call(
                "POST",
                "/containers/create",
                query={"name": spec.name},
                body=container_config(spec),
                deadline=SLOW_DEADLINE,
            )
        except (Unanswered, Fault) as error:
            return self._made(spec, error)
        except EngineError as error:
            if "is already in use by container" not in error.what:
                raise
            raise EngineError(
                f"a container named {spec.name} exists already",
                why=error.what,
                hint="`runner clean` shows what earlier runs left, and removes what is nobody's",
            ) from error
        return str(answer["Id"])

    def start(self, container: str) -> None:
        try:
            self._api.call("POST", _path(container, "start"), deadline=SLOW_DEADLINE, fine=(_NOT_MODIFIED,))
        except (Unanswered, Fault):
            state = inspect(self._api, container)
            if state.started_at is None or state.error:
                raise

    def wait(self, container: str, timeout: float | None = None) -> ContainerState | None:
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                self._api.call("POST", _path(container, "wait"), deadline=min(max(left, 0.001), _GLANCE))
                return inspect(self._api, container)
            except (Unanswered, Fault):
                # Late or lost, or the engine restarts: inspect is patient, and tells whether there is something to wait for.
                state = inspect(self._api, container)
            if state.status not in _GOING:
                return state
            if end <= time.monotonic():
                return None

    def _made(self, spec: ContainerSpec, error: EngineError) -> str:
        """Return the container that was created although the answer got lost; raise the error if there is none of ours."""
        try:
            state = inspect(self._api, spec.name)
        except NotFound:
            raise error from None
        if state.status != "created" or not spec.labels.items() <= state.labels.items():
            raise error
        return state.id

    def stop(self, container: str, grace: float) -> None:
        self._api.call(
            "POST",
            _path(container, "stop"),
            query={"t": max(0, math.ceil(grace))},
            deadline=grace + SLOW_DEADLINE,
            idempotent=True,
            fine=(_NOT_MODIFIED, _NOT_FOUND),
        )
        self._end_unseen(container)

    def _end_unseen(self, container: str) -> None:
        """Kill what runs in the cgroup of a container that has ended for the engine.

        One that is killed while it starts a container may have started it and know nothing of it afterwards: it neither
        stops nor kills what it takes for never begun.

        Raises:
            EngineError: if that cannot be ended.
        """
        try:
            answer = self._api.call("GET", _path(container, "json"), idempotent=True)
        except NotFound:
            return
        parent = answer["HostConfig"].get("CgroupParent") or ""
        left = end_processes(self._root, parent, _UNSEEN_PATIENCE) if parent else set()
        if left:
            raise EngineError(
                f"container {answer['Name'].removeprefix('/')} has ended for the engine, and still runs",
                why=f"processes {', '.join(map(str, sorted(left)[:_SHOWN]))} in the control group {parent} do not end",
                hint="have root end them",
            )

    def remove(self, container: str) -> None:
        for pause in (*_REMOVING_PAUSES, None):
            try:
                self._api.call(
                    "DELETE",
                    f"/containers/{quote(container)}",
                    query={"force": True, "v": True},
                    deadline=SLOW_DEADLINE,
                    idempotent=True,
                )
            except Unanswered:
                raise
            except EngineError:
                # An earlier call, whose answer got lost, may have removed it or be about to; or it is there after all.
                if not self._is_there(container):
                    return
                if pause is None:
                    raise
                time.sleep(pause)
            else:
                return

    def _is_there(self, container: str) -> bool:
        try:
            inspect(self._api, container)
        except NotFound:
            return False
        return True


def inspect(api: Api, container: str) -> ContainerState:
    """Return a container's state.

    Raises:
        NotFound: if it is gone.
    """
    answer = api.call("GET", _path(container, "json"), idempotent=True)
    state = answer["State"]
    over = state["Status"] in {"exited", "dead"}
    started, finished = _moment(state["StartedAt"]), _moment(state["FinishedAt"]) if over else None
    if started is not None and finished is not None:
        # A busy engine notes the start of a short container late, even after its end; it had begun by then.
        started = min(started, finished)
    return ContainerState(
        id=answer["Id"],
        name=answer["Name"].removeprefix("/"),
        status=state["Status"],
        exit_code=int(state["ExitCode"]) if over and started is not None else None,
        oom_killed=bool(state["OOMKilled"]),
        error=state["Error"],
        started_at=started,
        finished_at=finished,
        labels=dict(answer["Config"]["Labels"] or {}),
        image=str(answer.get("Image", "")),
    )


def find(api: Api, filters: dict[str, list[str]]) -> list[ContainerState]:
    """Return the state of every container that passes the engine's filter, sorted by name; those that go are left out."""
    states = []
    for row in api.call("GET", "/containers/json", query={"all": True, "filters": filters}, idempotent=True):
        try:
            states.append(inspect(api, row["Id"]))
        except NotFound:
            continue
    return sorted(states, key=lambda state: state.name)


def container_config(spec: ContainerSpec) -> dict[str, Any]:
    """Return the body of a create call, with nothing left to the image's defaults.

    The command stands as entry point, so that neither the image's entry point nor its command joins it. The number of
    open files stays the engine's own: an engine that runs with a low hard limit cannot grant more.
    """
    return {
        "Image": spec.image,
        "Entrypoint": list(spec.argv),
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "User": spec.user,
        "WorkingDir": spec.workdir,
        "Hostname": spec.hostname,
        "Labels": dict(spec.labels),
        "Tty": spec.terminal,
        "OpenStdin": spec.interactive,
        "StdinOnce": spec.interactive,
        "AttachStdin": spec.interactive,
        "AttachStdout": spec.interactive,
        "AttachStderr": spec.interactive,
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM",
        "HostConfig": _host_config(spec),
    }


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    limits = spec.resources
    return {
        "Init": True,
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": spec.network,
        "ReadonlyRootfs": spec.read_only,
        "Tmpfs": {"/tmp": _tmp_options(limits)} if spec.read_only else {},  # noqa: S108  the container's own sized tmpfs
        "Mounts": [_mount(mount, spec.labels) for mount in spec.mounts],
        "CapDrop": ["ALL"],
        "CapAdd": list(spec.capabilities),
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "PidsLimit": limits.pids,
        "Memory": limits.memory,
        "MemorySwap": limits.memory + limits.swap,
        "NanoCpus": round(limits.cpus * 1e9),
        "ShmSize": limits.shm,
        "OomScoreAdj": _OOM_SCORE,
        "IpcMode": "private",
        "Ulimits": _ulimits(limits),
        "LogConfig": {"Type": "local", "Config": _log_options(limits)},
        **({"DeviceRequests": [_gpus(spec.gpus)]} if spec.gpus else {}),
        **({"CgroupParent": spec.cgroup_parent} if spec.cgroup_parent else {}),
    }


def _gpus(devices: Sequence[str]) -> dict[str, Any]:
    """Return the request for devices; of whichever driver the engine has for what is capable of `gpu`."""
    return {"Driver": "", "Count": 0, "DeviceIDs": list(devices), "Capabilities": [["gpu"]], "Options": {}}


def _ulimits(limits: Resources) -> list[dict[str, Any]]:
    """Return the limits of each process: no core dumps, and no file larger than allowed, holes included."""
    files = [{"Name": "fsize", "Soft": limits.file, "Hard": limits.file}] if limits.file else []
    return [{"Name": "core", "Soft": 0, "Hard": 0}, *files]


def _tmp_options(limits: Resources) -> str:
    """Return the options of /tmp: programs may be run from it, as build tools and package managers do."""
    return f"rw,exec,nosuid,nodev,size={limits.tmp},mode=1777"


def _log_options(limits: Resources) -> dict[str, str]:
    """Cap the engine's log so that what the shim lets through always fits, however short the lines.

    The driver is `local`, as `json-file` replaces every byte that is not UTF-8. Two files of one stream's worst case
    each: only a step that writes past the shim can make the engine drop the older half.
    """
    return {"max-size": str(limits.log * _LOG_FRAMING), "max-file": "2", "compress": "false"}


def _mount(mount: Mount, labels: Mapping[str, str]) -> dict[str, Any]:
    common = {"Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.volume:
        options: dict[str, Any] = {"NoCopy": True}
        if mount.device:
            options["Labels"] = {**labels, LABEL_KIND: "workspace"}
            options["DriverConfig"] = {"Name": "local", "Options": volume_options(mount.device)}
        return {"Type": "volume", "VolumeOptions": options, **common}
    return {"Type": "bind", "BindOptions": {"Propagation": "rprivate"}, **common}


def volume_options(device: str) -> dict[str, str]:
    """Return the local driver's options for a volume that is a host folder."""
    return {"type": "none", "o": "bind", "device": device}


def _moment(text: str) -> float | None:
    """Read the engine's time, RFC 3339 with nanoseconds, of which microseconds are kept."""
    if not text or text == _NEVER:
        return None
    return datetime.fromisoformat(text).timestamp()


def _path(container: str, action: str) -> str:
    return f"/containers/{quote(container)}/{action}"
