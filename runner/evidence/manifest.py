"""An archive's manifest, its last member: what is in the archive with digests, and what is not and why."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runner.evidence.tarformat import TarFile, TarFolder, TarLink, TarMember
from runner.evidence.walk import RawPath, show_path

MANIFEST = "manifest.json"
VERSION = 1
LARGEST = 256 * 1024**2
"""Bytes of a manifest: more than a million members."""
MOST = 2_000_000
"""Members of an archive: lines of a manifest that somebody made up are short, and each takes room once it is read."""
_LONGEST_LINE = 1024 * 1024
_MEMBERS = b'"members": '
_JSON = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A path of the run directory that is not in the archive."""

    path: RawPath
    reason: str

    def __str__(self) -> str:
        return f"{show_path(self.path)}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A member, and the sha256 of its content if it is a file."""

    member: TarMember
    sha256: str = ""


def encode(
    listed: Iterable[Listed], skipped: Sequence[Skipped], derivable: Sequence[tuple[RawPath, RawPath]] = ()
) -> bytes:
    """Return the manifest: JSON with one line per member, in the order in which the members stand.

    A path or link target that is not UTF-8 stands in base64 under `path_base64` or `target_base64` instead.

    Args:
        listed: the members.
        skipped: what is not there, and is nowhere in the archive.
        derivable: paths that are not there because another member has the same in another form, and which.
    """
    lines = [f"{{{_described(one)}}}" for one in listed]
    missing = [f'{{{_named("path", one.path)}, "reason": {_JSON(one.reason)}}}' for one in skipped]
    others = [f"{{{_named('path', path)}, {_named('from', origin)}}}" for path, origin in derivable]
    head = f'"derivable": {_lines(others)},\n' if others else ""
    text = f'{{"version": {VERSION},\n{head}"members": {_lines(lines)},\n"skipped": {_lines(missing)}}}\n'
    return text.encode("utf-8", "backslashreplace")


def decode(data: bytes) -> list[Listed]:
    """Return the members a manifest lists, which may be anybody's: it is read line by line, as `encode` writes it.

    Raises:
        ValueError: if it is not one, is of another version, or lists a path twice or more than MOST members.
    """
    stream = io.BytesIO(data)
    lines = iter(lambda: stream.readline(_LONGEST_LINE), b"")
    first = next(lines, b"")
    if (version := _value(first.strip().removesuffix(b",") + b"}").get("version")) != VERSION:
        raise ValueError(f"its version is {version!r}, this program knows {VERSION}")
    found: dict[RawPath, Listed] = {}
    for one in _members(lines):
        if one.member.path in found:
            raise ValueError(f"it lists {show_path(one.member.path)} twice")
        if len(found) == MOST:
            raise ValueError(f"it lists more than {MOST} members")
        found[one.member.path] = one
    return list(found.values())


def _members(lines: Iterator[bytes]) -> Iterator[Listed]:
    for line in lines:
        if line.startswith(_MEMBERS):
            break
    else:
        raise ValueError("it lists no members")
    if line.startswith(_MEMBERS + b"[]"):
        return
    for line in lines:
        if line.startswith(b"]"):
            return
        try:
            yield _listed(_value(line.strip().removesuffix(b",")))
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"it has no usable {error}") from error
    raise ValueError("it ends too soon")


def _value(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("a line of it is no JSON object")  # noqa: TRY004  what is wrong is the file, not a type of ours
    return found


def _lines(items: Sequence[str]) -> str:
    return "[\n" + ",\n".join(items) + "\n]" if items else "[]"


def _described(listed: Listed) -> str:
    """Return a member's fields; put together by hand, which takes a quarter of the time that an encoder does."""
    member = listed.member
    name = _named("path", member.path)
    match member:
        case TarFile(size=size, executable=executable):
            can = "true" if executable else "false"
            return f'{name}, "type": "file", "size": {size}, "executable": {can}, "sha256": "{listed.sha256}"'
        case TarFolder():
            return f'{name}, "type": "directory"'
        case TarLink(target=target):
            return f'{name}, "type": "link", {_named("target", target)}'


def _listed(one: dict[str, Any]) -> Listed:
    path = _bytes(one, "path")
    match one["type"]:
        case "file":
            file = TarFile(path=path, size=int(one["size"]), executable=bool(one["executable"]))
            return Listed(member=file, sha256=str(one["sha256"]))
        case "directory":
            return Listed(member=TarFolder(path=path))
        case "link":
            return Listed(member=TarLink(path=path, target=_bytes(one, "target")))
        case other:
            raise ValueError(f"{show_path(path)} is of unknown type {other!r}")


def _named(key: str, value: bytes) -> str:
    """Return a field of bytes."""
    try:
        return f'"{key}": {_JSON(value.decode("utf-8"))}'
    except UnicodeDecodeError:
        return f'"{key}_base64": "{base64.b64encode(value).decode("ascii")}"'


def _bytes(one: dict[str, Any], key: str) -> bytes:
    return one[key].encode("utf-8") if key in one else base64.b64decode(one[f"{key}_base64"], validate=True)
