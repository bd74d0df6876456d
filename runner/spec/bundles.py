"""Git bundles that a scenario's workspace begins with: read as far as their list of references, no git needed for it.

Format: gitformat-bundle(5), versions 2 and 3: a line that names the version, `@capability` lines (version 3), `-<id>`
lines of commits that the reader has to have already, `<id> <reference>` lines, an empty line, and a pack.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.spec.complaints import Complaint, choose_from
from runner.spec.located import KeyPath, Located
from runner.spec.recipes import leaves_folder
from runner.spec.scenario import WorkspaceStart

_MAX_BYTES = 1024**2
"""Bytes of a bundle: every record of a run holds it."""
_MAX_HEAD = 64 * 1024
_SIGNATURES = (b"# v2 git bundle", b"# v3 git bundle")
_LISTED = re.compile(r"([0-9a-f]{40}) (\S.*)")
_SPELLINGS = ("{}", "refs/{}", "refs/heads/{}", "refs/tags/{}")
"""How a reference may be meant, in this order, as gitrevisions(7) has it."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle's list of references, and where its pack begins."""

    references: Mapping[str, str]
    """Full name -> id of what it names."""
    pack: int
    """Position of the pack's first byte."""


def read_bundle(data: bytes) -> Bundle:
    """Read the head of a bundle.

    Raises:
        ValueError: if it is none, or does not hold all that its references need.
    """
    head, found, _ = data[:_MAX_HEAD].partition(b"\n\n")
    signature, *lines = head.split(b"\n")
    if signature not in _SIGNATURES or not found:
        raise ValueError("it is no git bundle of version 2 or 3")
    references: dict[str, str] = {}
    for line in lines:
        text = line.decode("utf-8", "backslashreplace")
        if text.startswith("-"):
            raise ValueError(f"it needs commit {text[1:41]}, which is not in it")
        if text.startswith("@"):
            if text != "@object-format=sha1":
                raise ValueError(f"it needs what is not supported: {text[1:]}")
            continue
        listed = _LISTED.fullmatch(text)
        if listed is None:
            raise ValueError(f"its list of references has {text[:80]!r}")
        references[listed[2]] = listed[1]
    return Bundle(references=references, pack=len(head) + 2)


def referred(bundle: Bundle, name: str) -> tuple[str, str]:
    """Return the full name of a reference and the id of what it names.

    Raises:
        KeyError: if the bundle has none of that name.
    """
    full = next(one for one in [*(each.format(name) for each in _SPELLINGS), ""] if one in bundle.references or not one)
    return full, bundle.references[full]


def read_start(start: WorkspaceStart, located: Located) -> tuple[WorkspaceStart, list[Complaint]]:
    """Return where a workspace begins with the bundle itself in the place of its file, and what is wrong with it.

    Args:
        start: as it was written.
        located: where; the bundle's file is relative to it.
    """
    path: KeyPath = ("start", "content" if start.bundle is None else "bundle")
    where = located.where(path)
    name = f"bundle: `{start.bundle}`" if start.bundle is not None else "the content of `start`"
    try:
        data = _data(start, located.path.parent)
        bundle = read_bundle(data)
    except ValueError as error:
        hint = "make one with: git bundle create NAME.bundle BRANCH"
        return start, [Complaint(what=f"{name}: {error}", where=where, hint=hint)]
    try:
        referred(bundle, start.ref)
    except KeyError:
        hint = choose_from(start.ref, bundle.references, "it has no references")
        what = f"the bundle has no reference `{start.ref}`"
        return start, [Complaint(what=what, where=located.where(("start", "ref")), hint=hint)]
    content = base64.b64encode(data).decode("ascii")
    return start.model_copy(update={"bundle": None, "content": content}), []


def bundle_bytes(content: str) -> bytes:
    """Return the bundle that a text in base64 stands for.

    Raises:
        ValueError: if it is no base64.
    """
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is no base64: {error}") from None


def bundle_sha256(data: bytes) -> str:
    """Return the sha256 of a bundle, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _data(start: WorkspaceStart, folder: Path) -> bytes:
    if start.bundle is None:
        return bundle_bytes(start.content or "")
    if leaves_folder(folder, start.bundle):
        raise ValueError("it leaves the scenario's folder")
    try:
        if (folder / start.bundle).is_file() and (folder / start.bundle).stat().st_size > _MAX_BYTES:
            raise ValueError("it is larger than 1MiB; leave out history and large files")
        return (folder / start.bundle).read_bytes()
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
