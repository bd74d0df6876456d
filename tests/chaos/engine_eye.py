"""What an engine has, seen from outside: its API over its socket, in a few lines that share nothing with the runner's."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from support.waiting import looking

KIND = "org.codegen-runner.kind"
DECOY = "chaos.decoy"
_API = "/v1.41"
_SECONDS = 20.0
_PAUSE = 0.25
_HERE = re.compile(rb"here is ([0-9a-f]{16})\b")


class _Line(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


class Unhappy(ValueError):
    """The engine answered with an error."""


@dataclass(frozen=True)
class Eye:
    """Looks at an engine, and touches containers in it as its other users may."""

    socket: Path

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """Make one call and return the answer's body.

        Raises:
            OSError: if nobody answers.
            Unhappy: if the answer is an error.
        """
        line = _Line(self.socket)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            line.request(method, _API + path, json.dumps(body) if body is not None else None, headers)
            answer = line.getresponse()
            data = answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            line.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise Unhappy(f"{method} {path}: {answer.status} {data.decode('utf-8', 'replace').strip()}")
        return data

    def containers(self, *, everything: bool = True) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ask("GET", f"/containers/json?all={int(everything)}"))
        return found

    def ours(self, *, everything: bool = True) -> list[dict[str, Any]]:
        """Return containers that a runner made, decoys not among them."""
        return [one for one in self.containers(everything=everything) if _is_ours(one["Labels"])]

    def volumes(self) -> list[dict[str, Any]]:
        """Return all volumes but decoys."""
        found = json.loads(self.ask("GET", "/volumes"))["Volumes"] or []
        return [one for one in found if DECOY not in (one["Labels"] or {})]

    def networks(self) -> set[str]:
        return {one["Name"] for one in json.loads(self.ask("GET", "/networks"))}

    def kill(self, container: str, signal: str) -> bool:
        """Send a signal to a container; say whether it was there to get it."""
        try:
            self.ask("POST", f"/containers/{container}/kill?signal={signal}")
        except Unhappy:
            return False
        return True

    def told(self, container: str) -> list[str]:
        """Return the numbers that a container has told so far; there is one, or none yet."""
        data = self.ask("GET", f"/containers/{container}/logs?stdout=1&tail=20")
        return [one.decode() for one in _HERE.findall(data)]

    def add_decoy(self, image: str, name: str, labels: Mapping[str, str], *, runs: bool) -> str:
        """Put somebody else's container there; return its id."""
        body = {
            "Image": image,
            "Cmd": ["sleep", "1000000"],
            "Labels": {**labels, DECOY: name},
            "HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always" if runs else "no"}},
        }
        made = json.loads(self.ask("POST", f"/containers/create?name={quote(name)}", body))["Id"]
        if runs:
            self.ask("POST", f"/containers/{made}/start")
        return str(made)

    def revive_decoys(self) -> None:
        """Start containers that the engine itself failed to start again when it came back: it says why, and a stop does not."""
        for one in self.containers():
            if DECOY in one["Labels"] and one["State"] == "exited":
                state = json.loads(self.ask("GET", f"/containers/{one['Id']}/json"))["State"]
                if state["Error"]:
                    self.ask("POST", f"/containers/{one['Id']}/start")

    def remove_decoys(self) -> None:
        for one in self.containers():
            if DECOY in one["Labels"]:
                self.ask("DELETE", f"/containers/{one['Id']}?force=1")


def _is_ours(labels: Mapping[str, str]) -> bool:
    return any(name.startswith(KIND) for name in labels) and DECOY not in labels


@dataclass
class Witness:
    """Writes down which containers ran and what they told, as long as its block lasts."""

    eye: Eye
    told: dict[str, str] = field(default_factory=dict)
    """Number -> name of the container that told it."""
    names: set[str] = field(default_factory=set)
    """Every container seen."""

    def watching(self) -> contextlib.AbstractContextManager[None]:
        """Look again and again inside the block."""

        def look() -> None:
            with contextlib.suppress(OSError, Unhappy):
                self.look()

        return looking(look, _PAUSE)

    def look(self) -> None:
        """Look once."""
        known = set(self.told.values())
        for one in self.eye.ours():
            name = one["Names"][0].lstrip("/") if one["Names"] else one["Id"]
            self.names.add(name)
            if name not in known:
                # A name is used again by the attempt that takes an earlier one's place; the number tells them apart.
                self.told |= dict.fromkeys(self.eye.told(one["Id"]), name)
