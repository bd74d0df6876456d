"""Images and volumes on a Docker engine."""

from __future__ import annotations

import collections
import contextlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any

from runner.engine.api import LONG_IDLE, SLOW_DEADLINE, Api, label_filter, quote
from runner.engine.containers import volume_options
from runner.engine.protocol import EngineInfo, ImageInfo
from runner.errors import EngineError, ImageError

_NOT_FOUND = 404
_CONFLICT = 409
_LAST_LINES = 30
_DIGEST = 64
_ARCHIVE = {"Content-Type": "application/x-tar"}


class DockerVolumes:
    """Named volumes over folders of the engine's host."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def create(self, name: str, *, device: str, labels: Mapping[str, str]) -> None:
        """Create a volume over the host folder `device`; the same volume existing already is fine.

        One that carries other labels, an ended runner's, is made anew, so that it is never taken for nobody's.

        Raises:
            EngineError: if a volume of that name lies over another folder, or is in use with other labels.
        """
        found = self._create(name, device, labels)
        if (found.get("Labels") or {}) != dict(labels) and (found.get("Options") or {}).get("device") == device:
            with contextlib.suppress(EngineError):  # a container of an earlier runner works in it, and goes on doing so
                self.remove(name)
                found = self._create(name, device, labels)
        other = (found.get("Options") or {}).get("device")
        if other != device:
            raise EngineError(
                f"a volume named {name} exists already over {other or 'a folder of the engine'}, not over {device}",
                hint="`runner clean` shows what earlier runs left, and removes what is nobody's",
            )

    def _create(self, name: str, device: str, labels: Mapping[str, str]) -> dict[str, Any]:
        body = {"Name": name, "Driver": "local", "DriverOpts": volume_options(device), "Labels": dict(labels)}
        found: dict[str, Any] = self._api.call("POST", "/volumes/create", body=body, idempotent=True)
        if not found.get("Options"):
            # After its start an engine knows of a volume that nobody has asked for yet by its name alone.
            found = self._api.call("GET", f"/volumes/{quote(name)}", idempotent=True)
        return found

    def remove(self, name: str) -> None:
        self._api.call("DELETE", f"/volumes/{quote(name)}", idempotent=True, fine=(_NOT_FOUND,))

    def find(self, labels: Mapping[str, str | None]) -> list[tuple[str, Mapping[str, str]]]:
        answer = self._api.call("GET", "/volumes", query={"filters": label_filter(labels)}, idempotent=True)
        return sorted((row["Name"], dict(row["Labels"] or {})) for row in answer["Volumes"] or [])


class DockerImages:
    """Images of a Docker engine, with either of its image stores."""

    def __init__(self, api: Api, info: Callable[[], EngineInfo]) -> None:
        self._api = api
        self._info = info
        self._digests: dict[str, str] = {}

    def inspect(self, reference: str) -> ImageInfo | None:
        answer = self._api.call("GET", f"/images/{quote(reference)}/json", idempotent=True, fine=(_NOT_FOUND,))
        if answer is None:
            return None
        return ImageInfo(
            id=answer["Id"],
            config_digest=self._config_digest(answer["Id"]),
            tags=tuple(sorted(answer["RepoTags"] or ())),
            labels=dict(answer["Config"].get("Labels") or {}),
            size=int(answer["Size"]),
            created=answer["Created"],
        )

    def find(self, labels: Mapping[str, str | None]) -> list[ImageInfo]:
        rows = self._api.call("GET", "/images/json", query={"filters": label_filter(labels)}, idempotent=True)
        found = (self.inspect(row["Id"]) for row in rows)
        return sorted((image for image in found if image is not None), key=lambda image: (image.tags, image.id))

    def build(
        self, context: IO[bytes], *, args: Mapping[str, str], labels: Mapping[str, str], tag: str
    ) -> Iterator[str]:
        """Build a tar context with the engine's own builder, without network and without its cache; yield log text.

        Raises:
            ImageError: on failure, with the last lines of the log.
        """
        query = {
            "t": tag,
            "buildargs": dict(args),
            "labels": dict(labels),
            "networkmode": "none",
            "nocache": True,
            "rm": True,
            "forcerm": True,
        }
        last: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        for message in _messages(self._work("/build", query, context)):
            if "error" in message:
                raise ImageError(f"building {tag} failed: {message['error'].strip()}", why="".join(last).strip())
            text = str(message.get("stream", ""))
            if text:
                last.append(text)
                yield text

    def transfer(self, archive: IO[bytes] | None = None, *, save: str | None = None) -> Iterator[bytes]:
        """Load an image archive, at once, and return what the engine says about it; or stream one image out.

        Raises:
            ImageError: if the engine refuses the archive.
            NotFound: if there is no image `save`.
        """
        if archive is None:
            return self._api.stream("GET", f"/images/{quote(save or '')}/get", idle=LONG_IDLE)
        return iter(self._load(archive))

    def _work(self, path: str, query: Mapping[str, object], archive: IO[bytes]) -> Iterator[bytes]:
        """Hand the engine an archive, and return what it says while it works on it."""
        return self._api.stream("POST", path, query=query, data=archive, headers=_ARCHIVE, idle=LONG_IDLE)

    def _load(self, archive: IO[bytes]) -> list[bytes]:
        said = []
        for message in _messages(self._work("/images/load", {"quiet": True}, archive)):
            if "error" in message:
                raise ImageError(f"the engine refused an image archive: {message['error'].strip()}")
            said.append(str(message.get("stream", "")).encode())
        return said

    def remove(self, reference: str) -> None:
        self._api.call(
            "DELETE",
            f"/images/{quote(reference)}",
            deadline=SLOW_DEADLINE,
            idempotent=True,
            fine=(_NOT_FOUND, _CONFLICT),
        )

    def _config_digest(self, image: str) -> str:
        """Return an image's config digest: its id, except with the containerd image store."""
        if not self._info().containerd_images:
            return image
        if image not in self._digests:
            with io.BufferedReader(_Pieces(self.transfer(save=image))) as stream:
                self._digests[image] = config_digest(stream)
        return self._digests[image]


def config_digest(archive: IO[bytes]) -> str:
    """Read the config digest of the one image in an archive, in either layout of `docker save`.

    Its `manifest.json` names the config's file after its digest: `<hex>.json`, or `blobs/sha256/<hex>`.

    Raises:
        ImageError: if the archive has no such manifest.
    """
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            if member.name == "manifest.json" and (file := tar.extractfile(member)) is not None:
                name = PurePosixPath(json.load(file)[0]["Config"]).name.removesuffix(".json")
                if len(name) == _DIGEST:
                    return f"sha256:{name}"
    raise ImageError("an image archive holds no manifest that names the image's config")


class _Pieces(io.RawIOBase):
    """A stream of pieces as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def _messages(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Read the engine's progress messages: JSON objects, one a line."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (json.loads(line) for line in lines if line.strip())
    if rest.strip():
        yield json.loads(rest)
