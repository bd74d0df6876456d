"""What the rest of the program knows of a container engine. `docker.py` and `runner.testing` implement it.

Every call has a deadline: seconds until an answer, of a stream until its next piece; only a log that is followed may be
silent for as long as its container runs. Errors are `NotFound`, `Unanswered` (retries used up, where they do no harm) and
`EngineError` (final); a container's non-zero exit is a value. Implementations are safe to call from several threads.
The engine's stream of events is not used: whoever waits for a container asks for just that, and asks again if the
answer gets lost, so that there is no stream to fall behind or to break.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Protocol

from runner.errors import EngineError


class NotFound(EngineError):
    """The container, image or volume does not exist (any more)."""


class Unanswered(EngineError):
    """The engine gave no answer, or one that says to try again: it may be away, and it may have done what it was told."""


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What `doctor`, the records and the planner want to know of an engine."""

    version: str
    api_version: str
    """Negotiated API version, like `1.41`."""
    platform: str
    """`linux/amd64`, as in OCI."""
    cgroup_version: int
    cgroup_driver: str
    """`cgroupfs`, `systemd` or `none`."""
    cpus: int
    memory: int
    """Bytes."""
    rootless: bool
    storage_driver: str
    root_dir: str
    kernel: str
    operating_system: str
    has_init: bool
    """Whether the engine can put an init process at PID 1."""
    local: bool = True
    """Whether the engine runs on this machine, so that its cgroups and folders are the ones seen here."""
    socket: str = ""
    """Path of its socket, if it has one on this machine."""
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs that it can give to containers."""
    containerd_images: bool = False
    """Whether images are kept in containerd's store, whose ids are manifest digests."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A host folder (absolute path) or a named volume at `target`."""

    source: str
    target: str
    read_only: bool = False
    volume: bool = False
    """True if `source` names a volume."""
    device: str = ""
    """Host folder below a volume: should somebody have removed the volume meanwhile, the engine makes it anew over
    this folder instead of over an empty one of its own."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Limits that the engine enforces; sizes in bytes."""

    cpus: float
    memory: int
    swap: int
    pids: int
    tmp: int
    shm: int
    log: int
    """Bytes per stream the shim lets through; the engine caps its own log file at a multiple that loses none of them."""
    file: int = 0
    """Bytes that one file may have, which the kernel sees to (RLIMIT_FSIZE); 0: any."""


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """One container: the contract of the container's inside, with nothing left to an engine's default."""

    name: str
    image: str
    """Image id (`sha256:...`), never a tag."""
    argv: tuple[str, ...]
    """Main process, below the engine's init."""
    env: Mapping[str, str]
    user: str
    """`uid:gid`, numeric."""
    workdir: str
    mounts: tuple[Mount, ...]
    resources: Resources
    labels: Mapping[str, str]
    cgroup_parent: str | None = None
    network: str = "none"
    """`none`; `bridge`, the engine's own network, for a step that is open to anything; or `host`, for the fetch stage."""
    read_only: bool = True
    """Read-only root file system, with a sized tmpfs at /tmp."""
    capabilities: tuple[str, ...] = ()
    """Capabilities kept; build and bootstrap containers need a few, steps none."""
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs that it sees; no others."""
    hostname: str = "run"
    interactive: bool = False
    """Whether its standard input stays open for who attaches to it."""
    terminal: bool = False
    """Whether its standard streams are a terminal."""


@dataclass(frozen=True, kw_only=True)
class ContainerState:
    """What the engine knows of a container's process."""

    id: str
    name: str
    status: str
    """`created`, `running`, `exited`, `dead`, ..."""
    exit_code: int | None
    oom_killed: bool
    error: str
    started_at: float | None
    """Seconds since the epoch."""
    finished_at: float | None
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    """The engine's id of the image it was made from; empty if unknown."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Resources an attempt used; None where the source cannot tell. `sources` maps field name to where it came from."""

    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    oom_kills: int | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    """`cgroup` (exact), `shim` (reaped children only) or `stats` (sampled; never a peak)."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a field is None."""


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """One image in the engine."""

    id: str
    """The engine's id."""
    config_digest: str
    """sha256 of the image's config, equal to `id` except with the containerd image store."""
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size: int
    created: str


class Containers(Protocol):
    """Life of a container."""

    def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its id; a container of that name that was there before is an error.

        An answer that gets lost is made up for by a look at what is there.
        """

    def start(self, container: str) -> None:
        """Start it; starting a running container does nothing. A lost answer is made up for as with `create`."""

    def wait(self, container: str, timeout: float | None = None) -> ContainerState | None:
        """Wait until it has exited; None if `timeout` seconds pass first.

        Raises:
            NotFound: if it is gone.
            Unanswered: if the engine is away for more than a moment; asking again later does no harm.
        """

    def stop(self, container: str, grace: float) -> None:
        """Signal, wait `grace` seconds, kill; stopping an exited or missing container does nothing.

        Afterwards nothing of it runs, also if the engine knows nothing of that: one that was killed while it started a
        container may take it for never begun.

        Raises:
            EngineError: if something of it still runs.
        """

    def remove(self, container: str) -> None:
        """Kill if needed and remove, with anonymous volumes; removing a missing container does nothing."""


class Observer(Protocol):
    """What can be read of containers at any time, from any process."""

    def inspect(self, container: str) -> ContainerState:
        """Return its state. Raises NotFound."""

    def find(self, labels: Mapping[str, str | None]) -> list[ContainerState]:
        """All containers, in any state, that carry these labels (None: any value), sorted by name."""

    def logs(self, container: str, *, follow: bool = False) -> Iterator[tuple[str, bytes]]:
        """Yield `(stream, chunk)`, stream being `stdout` or `stderr`, in the order written per stream."""

    def usage(self, container: str, cgroup_parent: str | None) -> Usage:
        """Read what an exited attempt used, from its parent cgroup where possible."""

    def release(self, cgroup_parents: Iterable[str]) -> None:
        """Remove the parent cgroups of attempts that are over (by a helper container where we may not ourselves)."""


class Volumes(Protocol):
    """Named volumes: one writable workspace per run."""

    def create(self, name: str, *, device: str, labels: Mapping[str, str]) -> None:
        """Create a volume over the host folder `device`; the same volume existing already is fine."""

    def remove(self, name: str) -> None:
        """Remove it; the host folder stays. Removing a missing volume does nothing."""

    def find(self, labels: Mapping[str, str | None]) -> list[tuple[str, Mapping[str, str]]]:
        """Names and labels of volumes that carry these labels."""


class Images(Protocol):
    """Images by id or tag."""

    def inspect(self, reference: str) -> ImageInfo | None:
        """Return the image, or None if the engine has no such image."""

    def find(self, labels: Mapping[str, str | None]) -> list[ImageInfo]:
        """Images that carry these labels."""

    def build(
        self, context: IO[bytes], *, args: Mapping[str, str], labels: Mapping[str, str], tag: str
    ) -> Iterator[str]:
        """Build a tar context without network; yield log text. Raises ImageError with the last lines on failure."""

    def transfer(self, archive: IO[bytes] | None = None, *, save: str | None = None) -> Iterator[bytes]:
        """Load an image archive, or stream one image out (`docker save` format)."""

    def remove(self, reference: str) -> None:
        """Remove a tag, and the image if it was the last; a missing one, or one in use, is left alone."""


class Engine(Protocol):
    """Where containers run."""

    containers: Containers
    observer: Observer
    volumes: Volumes
    images: Images

    def info(self) -> EngineInfo:
        """Describe the engine (cached after the first call). Raises EngineError if it does not answer or is too old."""

    def absence(self) -> str:
        """Say why the engine does not answer at this moment; empty if it does. Asked anew each time."""

    def incarnation(self) -> str:
        """Return what differs after a restart of the engine; empty where that cannot be told or nobody answers."""
