"""`llm/connections.jsonl`: one line per connection that a step made, or tried to make, to anything but the model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runner.gateway.lines import append_line

NAME = "connections.jsonl"
"""Name of the file, beside calls.jsonl."""

Kind = Literal["tunnel", "http", "package"]


class Connection(BaseModel):
    """One connection: where to, whether it was allowed, what it carried, how it ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    time: str = Field(description="When it was asked for, UTC, ISO 8601.")
    run: str = Field(description="Id of the run.")
    step: str = Field(description="Name of the step.")
    index: int = Field(description="1-based position of the step.")
    attempt: int = Field(description="Number of the attempt, from 1.")
    kind: Kind = Field(description="tunnel: CONNECT; http: one plain request; package: a page or file of the index.")
    host: str = Field(description="Host that was asked for; empty for a package, or if none could be made out.")
    port: int = Field(description="Port that was asked for; 0 where there is no host.")
    package: str = Field("", description="For a package: its name, and the file's after a slash.")
    sha256: str | None = Field(None, description="For a package's file: digest of the bytes that were served.")
    allowed: bool = Field(description="Whether it was let through.")
    status: int = Field(description="HTTP status that the step got from the gateway.")
    reason: str = Field("", description="Why it was not let through, or why it failed, in a sentence.")
    bytes_up: int = Field(description="Bytes that the step sent, without the request's head.")
    bytes_down: int = Field(description="Bytes that the step got from there, without the gateway's own words.")
    seconds: float = Field(description="Wall time.")
    ended: Literal["done", "refused", "unreachable", "idle", "broken", "closed"] = Field(
        description="done: both sides had finished; refused: not allowed; unreachable: nobody answered; idle: nothing "
        "moved for too long; broken: one side broke off; closed: the session was over first."
    )


def append_connection(path: Path, connection: Connection) -> None:
    """Add a connection to the file in one write, whoever else writes to it.

    Raises:
        OSError: if the disk does not take it.
    """
    append_line(path, connection.model_dump_json(), sync=False)


def read_connections(path: Path) -> list[Connection]:
    """Read the connections of a run; a line that a crash cut short is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(Connection.model_validate_json(line))
        except ValidationError:
            continue
    return found
