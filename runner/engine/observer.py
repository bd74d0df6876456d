"""What can be read of containers on a Docker engine: state, logs, exact use."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from runner.engine import containers, owner
from runner.engine.api import IDLE, Api, label_filter, quote
from runner.engine.cgroup import CGROUP_ROOT, folders, read_usage, remove_parents, stop_slices, unmeasured
from runner.engine.containers import DockerContainers
from runner.engine.frames import demultiplex
from runner.engine.protocol import ContainerSpec, ContainerState, EngineInfo, Mount, Resources, Usage
from runner.errors import EngineError
from runner.names import LABEL_KIND, PROJECT

_INSIDE = "/cgroups"
"""Where a helper container sees the host's cgroups."""
_BATCH = 100
"""Parents removed by one helper: their paths, one per controller, stay far below the limit of a command line."""
_PAUSES = (0.05, 0.2, 1.0, 3.0)
"""Seconds before each further try to remove a cgroup."""
_HELPER_TIME = 60.0
_HELPER_LIMITS = Resources(cpus=1.0, memory=128 * 1024**2, swap=0, pids=64, tmp=1024**2, shm=1024**2, log=64 * 1024)


class DockerObserver:
    """Reads of containers; safe at any time, from any process."""

    def __init__(
        self,
        api: Api,
        info: Callable[[], EngineInfo],
        helper_image: Callable[[], str | None],
        cgroup_root: Path = CGROUP_ROOT,
    ) -> None:
        self._api = api
        self._info = info
        self._helper_image = helper_image
        self._root = cgroup_root

    def inspect(self, container: str) -> ContainerState:
        return containers.inspect(self._api, container)

    def find(self, labels: Mapping[str, str | None]) -> list[ContainerState]:
        return containers.find(self._api, label_filter(labels))

    def logs(self, container: str, *, follow: bool = False) -> Iterator[tuple[str, bytes]]:
        """Yield `(stream, chunk)` in constant memory.

        Following is a view of something that may go at any moment, so it just ends when the container or the engine
        does. Without `follow` a container that is missing, and a connection that is cut, are errors: evidence would
        be lost silently otherwise.
        """
        query = {"stdout": True, "stderr": True, "follow": follow}
        path, idle = f"/containers/{quote(container)}/logs", None if follow else IDLE
        try:
            yield from demultiplex(self._api.stream("GET", path, query=query, idle=idle))
        except EngineError:
            if not follow:
                raise

    def usage(self, container: str, cgroup_parent: str | None) -> Usage:
        info = self._info()
        if info.rootless:
            return unmeasured("a rootless engine keeps its cgroups where they cannot be read back")
        if not info.local:
            return unmeasured("the engine runs on another machine, whose cgroups cannot be read from here")
        if not cgroup_parent:
            return unmeasured(f"container {container[:12]} had no parent cgroup of its own")
        return read_usage(self._root, info.cgroup_version, cgroup_parent)

    def release(self, cgroup_parents: Iterable[str]) -> None:
        """Remove parent cgroups, ourselves where we may, else by one helper container for a hundred of them.

        Raises:
            EngineError: if some are still there; `find_stale_parents` finds them later.
        """
        parents = list(cgroup_parents)
        stop_slices(parents)
        left = remove_parents(self._root, parents)
        image = self._helper_image() if left else None
        for pause in _PAUSES if left else ():
            time.sleep(pause)  # the kernel may still be clearing away what has only just ended
            left = remove_parents(self._root, left)
            if image is not None:
                for start in range(0, len(left), _BATCH):
                    self._help(image, left[start : start + _BATCH])
                left = remove_parents(self._root, left)
            if not left:
                break
        if left:
            raise EngineError(
                f"{len(left)} cgroups of finished attempts could not be removed, the first is {left[0]}",
                why="something still runs in them"
                if image
                else "this user may not, and no image of ours is there to help",
                hint="`runner clean` tries again",
            )

    def _help(self, image: str, parents: Sequence[str]) -> None:
        """Remove cgroups as the engine's root, in a container that can do nothing else."""
        places = [path.relative_to(self._root) for parent in parents for path in folders(self._root, parent)]
        hands = DockerContainers(self._api)
        helper = hands.create(
            ContainerSpec(
                name=f"{PROJECT}-helper-{secrets.token_hex(6)}",
                image=image,
                argv=("rmdir", "--", *(f"{_INSIDE}/{place}" for place in places)),
                env={"PATH": "/usr/bin:/bin"},
                user="0:0",
                workdir="/",
                mounts=(Mount(source=str(self._root), target=_INSIDE),),
                resources=_HELPER_LIMITS,
                capabilities=("DAC_OVERRIDE",),  # a hierarchy's top folder is writable for nobody (mode 0555)
                labels={**owner.current().labels(), LABEL_KIND: "helper"},
            )
        )
        try:
            hands.start(helper)
            hands.wait(helper, _HELPER_TIME)
        finally:
            hands.remove(helper)
